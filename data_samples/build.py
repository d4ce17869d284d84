"""Where samples are written: a private temporary name first, the asked-for name only when complete."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, get_args

Journal = Literal["wal", "delete"]

ENCODINGS = ("UTF-8", "UTF-16le", "UTF-16be")
"""What `PRAGMA encoding` answers."""


@contextmanager
def new_database(
    path: str | Path, *, force: bool = False, journal: Journal = "delete", encoding: str = "UTF-8"
) -> Iterator[sqlite3.Connection]:
    """Give a connection to a new database that becomes `path` when the block ends without an error.

    One transaction is open for the whole block; rows go in at the speed of an unlogged file, because a
    half-made sample is thrown away, never repaired. Foreign keys are not enforced, as is SQLite's default.

    Args:
        path: file to make; its folder must exist.
        force: replace an existing file.
        journal: the journal mode that the finished file's header asks for.
        encoding: one of ENCODINGS.

    Raises:
        ValueError: another encoding or journal mode.
        FileExistsError: `path` exists and `force` is false, or a journal lies beside it. A leftover -wal
            would be replayed into the new file, so it is refused even with `force`.
        FileNotFoundError: the folder of `path` does not exist.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"no encoding {encoding!r}; there are {', '.join(ENCODINGS)}")
    if journal not in get_args(Journal):
        raise ValueError(f"no journal mode {journal!r}; there are {', '.join(get_args(Journal))}")
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder")
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists; --force replaces it")
    for suffix in ("-wal", "-journal"):
        leftover = target.with_name(target.name + suffix)
        if leftover.exists():
            raise FileExistsError(f"{leftover} exists: close what uses {target.name} first")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA encoding = '{encoding}'")  # a pragma takes no bound value
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -65536")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA journal_mode = {'WAL' if journal == 'wal' else 'DELETE'}")
        partial.replace(target)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def statements(sql: str) -> Iterator[str]:
    """Split a script into its statements, triggers included; comments go with the statement after them."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""


def row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows of each ordinary table, in order of creation; shadow tables of virtual tables are left out."""
    names = [
        name
        for schema, name, kind, *_ in connection.execute("PRAGMA table_list")
        if schema == "main" and kind == "table" and not name.startswith("sqlite_")
    ]
    order = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema ORDER BY rowid")]
    counts: dict[str, int] = {}
    for name in sorted(names, key=order.index):
        quoted = '"' + name.replace('"', '""') + '"'
        counts[name] = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # noqa: S608
    return counts


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    """Insert a stream of whole rows into `table`, generated columns excepted."""
    width = len(connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall())
    quoted = '"' + table.replace('"', '""') + '"'
    marks = ",".join("?" * width)
    connection.executemany(f"INSERT INTO {quoted} VALUES ({marks})", rows)  # noqa: S608


def summary(path: Path, counts: Mapping[str, int]) -> str:
    """Lines for the terminal: each table's rows, then the file."""
    lines = [f"{count:>10,}  {table}" for table, count in counts.items()]
    total = f"{sum(counts.values()):,} rows, {path.stat().st_size:,} bytes: {path}"
    return "\n".join([*lines, total]) + "\n"
