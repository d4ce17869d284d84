"""The copy of the snapshot that pgloader gets: it opens files for writing, and creates one that is missing."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import apsw


def write_source(snapshot: Path, path: Path, tables: Collection[str]) -> None:
    """Copy the snapshot, and let the copy's schema name these tables only, with their indexes.

    pgloader loads every table that it finds, `sqlite_stat1` and shadow tables too, and its own choice of tables is by
    LIKE patterns. Only the schema's rows are removed, not the tables' pages: that takes no time.
    """
    shutil.copyfile(snapshot, path)
    path.chmod(0o600)
    with closing(apsw.Connection(str(path))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        connection.execute(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA writable_schema = ON"
        ).fetchall()
        wanted = [(table,) for table in tables]
        connection.execute("CREATE TEMP TABLE wanted (name TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO wanted VALUES (?)", wanted)
        connection.execute(
            "DELETE FROM main.sqlite_schema WHERE type NOT IN ('table', 'index')"
            " OR (tbl_name NOT IN (SELECT name FROM wanted) AND tbl_name <> 'sqlite_sequence')"
        )
