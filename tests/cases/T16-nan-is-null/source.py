import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, float("nan")), (2, 1.5)])
        connection.commit()
