"""A table with one column more than Postgres takes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE wide ({', '.join(f'c{number} INT' for number in range(1601))})")
        connection.execute("INSERT INTO wide (c0) VALUES (1)")
        connection.commit()
