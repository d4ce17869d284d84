"""A STORED column that a function of the application computes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    """Write the file with the function at hand; nothing of it is in it but its name."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("slug", 1, lambda text: text.lower().replace(" ", "-"), deterministic=True)
        connection.executescript(
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, slug TEXT AS (slug(title)) STORED);"
            "INSERT INTO posts (title) VALUES ('First Words');"
        )
