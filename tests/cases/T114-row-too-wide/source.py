"""Rows that fit a page of SQLite's overflow chain, and none of Postgres."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    names = [f"c{number}" for number in range(1200)]
    with closing(sqlite3.connect(path)) as connection:
        for table in ("wide", "sparse"):
            connection.execute(f"CREATE TABLE {table} ({', '.join(f'{name} INT' for name in names)})")
        connection.execute(f"INSERT INTO wide VALUES ({', '.join('1234567890123' for _ in names)})")
        connection.execute("INSERT INTO sparse (c7, c1100) VALUES (1, 2)")
        connection.commit()
