import sqlite3
from contextlib import closing
from pathlib import Path


def build(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, j JSON)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "[" * 20_000 + "]" * 20_000), (2, "[[1]]")])
        connection.commit()
