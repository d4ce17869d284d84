"""`nasmigrate demo`: a cutover and a rollback under a live writer, and the count of what it was told.

`run.py` is the demo; `writer.py` is a program of its own, so nothing is imported here.
"""
