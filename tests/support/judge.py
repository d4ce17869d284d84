"""An independent judge: SQLite file against Postgres database, with code that shares nothing with the package.

The standard library's sqlite3 with bytes for text on one side, plain text SELECTs on the other. It compares the
number of rows of every table, and the rows themselves over the columns whose mapping is simple: all values of one
storage class, in the Postgres type that class belongs to. What it cannot judge it leaves out, and it says how much it
did judge.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql


@dataclass(slots=True)
class Verdict:
    """What was compared and what differs. `values` counts values compared, NULLs included."""

    tables: int = 0
    values: int = 0
    differences: list[str] = field(default_factory=list)


def _double(value: float) -> bytes:
    return struct.pack("<d", value)


# Postgres type -> (typeof in SQLite, how a stored value reads, how Postgres' text reads).
_SIMPLE: dict[str, tuple[str, Callable[..., object], Callable[[str], object]]] = {
    "bigint": ("integer", int, int),
    "text": ("text", bytes, lambda text: text.encode("utf-8")),
    "double precision": ("real", _double, lambda text: _double(float(text))),
    "bytea": ("blob", bytes, lambda text: bytes.fromhex(text.removeprefix("\\x"))),
    "boolean": ("integer", int, lambda text: {"true": 1, "false": 0}[text]),
}


def judge(source: Path, conninfo: str) -> Verdict:
    """Compare every table of `source` with its namesake in the schema public."""
    verdict = Verdict()
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as file,
        psycopg.connect(conninfo) as server,
    ):
        file.text_factory = bytes
        server.execute("SET extra_float_digits = 1")
        server.execute("SET bytea_output = hex")
        tables = file.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'"
        ).fetchall()
        for (name,) in tables:
            _table(verdict, file, server, name.decode("utf-8"))
    return verdict


def _table(verdict: Verdict, file: sqlite3.Connection, server: psycopg.Connection, table: str) -> None:
    verdict.tables += 1
    quoted = _quote(table)
    (ours,) = file.execute(f"SELECT count(*) FROM {quoted}").fetchone()
    counted = server.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table))).fetchone()
    if counted != (ours,):
        verdict.differences.append(f"{table}: {ours} rows, Postgres has {counted}")
        return
    types = dict(
        server.execute(
            "SELECT column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = %s",
            (table,),
        ).fetchall()
    )
    # hidden: 0 ordinary, 2 and 3 generated. The judge looks at all of them.
    columns = [row[1].decode() for row in file.execute(f"PRAGMA table_xinfo({quoted})")]
    if sorted(columns) != sorted(types):
        verdict.differences.append(f"{table}: columns {sorted(columns)}, Postgres has {sorted(types)}")
        return
    simple = [column for column in columns if _is_simple(file, quoted, column, types[column])]
    if not simple:
        return
    readers = [_SIMPLE[types[column]] for column in simple]
    names = ", ".join(map(_quote, simple))
    left: Counter[tuple[object, ...]] = Counter(
        tuple(None if value is None else reader[1](value) for reader, value in zip(readers, row, strict=True))
        for row in file.execute(f"SELECT {names} FROM {quoted}")
    )
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in simple)
    right: Counter[tuple[object, ...]] = Counter(
        tuple(None if value is None else reader[2](value) for reader, value in zip(readers, row, strict=True))
        for row in server.execute(sql.SQL("SELECT {} FROM public.{}").format(texts, sql.Identifier(table))).fetchall()
    )
    verdict.values += ours * len(simple)
    verdict.differences += [f"{table} {simple}: only in SQLite: {row}" for row in (left - right)]
    verdict.differences += [f"{table} {simple}: only in Postgres: {row}" for row in (right - left)]


def _is_simple(file: sqlite3.Connection, table: str, column: str, pg_type: str) -> bool:
    if pg_type not in _SIMPLE:
        return False
    classes = {row[0].decode() for row in file.execute(f"SELECT DISTINCT typeof({_quote(column)}) FROM {table}")}
    return classes <= {_SIMPLE[pg_type][0], "null"}


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
