"""What a command leaves for its reader: text for the terminal and one HTML file, both from a `Result`.

`text.render(result)` and `html.render(result)` are pure: no files, no network, no clock.
"""
