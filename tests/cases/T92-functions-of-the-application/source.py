"""A CHECK and a trigger that call functions which the application registers on its own connections."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA = """
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL CHECK (email REGEXP '^[^@]+@[^@]+$'));
CREATE TABLE posts (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL, slug TEXT);
CREATE TRIGGER posts_slug AFTER INSERT ON posts
BEGIN UPDATE posts SET slug = slug(new.title) WHERE id = new.id; END;
INSERT INTO people VALUES (1, 'ann@example.org'), (2, 'bob@example.org');
INSERT INTO posts (id, title) VALUES (1, 'First Words');
"""


def build(path: Path) -> None:
    """Write the file with the functions at hand; nothing of them is in it but their names."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("regexp", 2, lambda pattern, text: bool(re.search(pattern, text)))
        connection.create_function("slug", 1, lambda text: text.lower().replace(" ", "-"))
        connection.executescript(SCHEMA)
