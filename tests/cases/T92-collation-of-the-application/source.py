"""A column that compares by a collation of the application's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    """Write the file with the collation at hand; nothing of it is in it but its name."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("german", lambda one, other: (one > other) - (one < other))
        connection.executescript(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE german, note TEXT);"
            "INSERT INTO people (name, note) VALUES ('Müller', 'a'), ('Mueller', 'b');"
        )
