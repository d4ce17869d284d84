import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, at DATETIME)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?)", ((row, row, "2024-01-02 03:04:05") for row in range(1, 100_001))
        )
        connection.execute("INSERT INTO t VALUES (100001, 'odd', '2024-02-30 00:00:00')")
        connection.commit()
