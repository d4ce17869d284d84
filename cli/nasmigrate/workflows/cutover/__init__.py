"""`nasmigrate cutover`: the live application moves to Postgres. The phases are those of `core/phases.py`.

`run.py` is the order of the night; `watchdog.py` is a program of its own, so nothing is imported here.
"""
