"""`nasmigrate.sqlite.live_child` with a bug: before the fence's commit it opens and closes the file by another library.

POSIX locks belong to the process, so that close drops the lock that the other library thinks it holds
(https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

from nasmigrate.sqlite import live_child

_APPLICATION = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=10) as connection:
    connection.execute(sys.argv[2])
"""
WRITE = os.environ.get("CARELESS_WRITE", "INSERT INTO tags VALUES (1, 'careless')")


def main() -> None:
    """Serve one file, carelessly."""
    make_fence = live_child.make_fence

    def careless(connection, fence):  # type: ignore[no-untyped-def]
        tables = make_fence(connection, fence)
        with closing(sqlite3.connect(sys.argv[1])) as other:
            other.execute("SELECT count(*) FROM sqlite_master").fetchall()
        # The lock is gone: an application writes, where it should wait.
        subprocess.run([sys.executable, "-c", _APPLICATION, sys.argv[1], WRITE], timeout=20, check=True)
        return tables

    live_child.make_fence = careless
    live_child.main()


if __name__ == "__main__":
    main()
