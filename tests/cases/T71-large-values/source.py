import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB, s TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)",
            [(1, bytes(16_000_000), "x"), (2, b"", "y" * 16_000_000), (3, b"small", "z")],
        )
        connection.commit()
