"""R0: whether Postgres still has the shape it was opened with, and what SQLite has no place for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from nasmigrate.postgres.catalogue import catalogue_facts
from nasmigrate.postgres.catalogue_read import user_objects
from nasmigrate.postgres.copy_out import SCHEMA
from nasmigrate.schema.plan import Plan

LEFT_BEHIND = "left-behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What changed since the opening.

    `tables` and `columns` (table, column) are new, so that SQLite has no place for them; `broken` are changes with
    which nothing can come home: a table or column that is gone, or has another type.
    """

    tables: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    broken: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words."""
        return (
            *self.broken,
            *(f"table {table} came after the cutover" for table in self.tables),
            *(f"column {table}.{column} came after the cutover" for table, column in self.columns),
        )


def drift_since(connection: psycopg.Connection, plan: Plan, recorded: Mapping[str, str]) -> Drift:
    """Compare the catalogue with the one recorded before the opening. Indexes and defaults may have changed.

    Args:
        connection: to the target; a transaction is left open.
        plan: the tables that were copied.
        recorded: `catalogue_facts` of that time.
    """
    now = catalogue_facts(connection, plan.relations)
    broken = [
        f"{key} is {_type(now[key])}, it was {_type(recorded[key])}" if key in now else f"{key} is gone"
        for key in recorded
        if key.startswith("column ") and _type(recorded[key]) != _type(now.get(key, ""))
    ]
    broken += [f"{key} is gone" for key in recorded if key.startswith("table ") and key not in now]
    known = {table.target: {column.target for column in table.columns} for table in plan.tables}
    rows = connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0"
        " AND NOT a.attisdropped ORDER BY 1, a.attnum"
    ).fetchall()
    columns = tuple((table, column) for table, column in rows if table in known and column not in known[table])
    there = {table for table, _ in rows}
    tables = tuple(
        sorted(
            name
            for name in there | {name for (name,) in _empty_tables(connection)}
            if name not in known and f"table {SCHEMA}.{name}" in set(user_objects(connection))
        )
    )
    return Drift(tables=tables, columns=columns, broken=tuple(broken))


def leave_behind(connection: psycopg.Connection, plan: Plan, drift: Drift, folder: Path) -> tuple[Path, ...]:
    """Write what came after the cutover to CSV files (0600): new tables whole, new columns with their rows' keys.

    Args:
        connection: sees the rows as they come home.
        plan: gives the keys.
        drift: what is new.
        folder: is made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    files = []
    for table in drift.tables:
        everything = sql.SQL("SELECT * FROM {}").format(sql.Identifier(SCHEMA, table))
        files.append(_csv(connection, everything, folder / f"{_file_name(table)}.csv"))
    by_table: dict[str, list[str]] = {}
    for table, column in drift.columns:
        by_table.setdefault(table, []).append(column)
    for table, columns in by_table.items():
        planned = next(known for known in plan.tables if known.target == table)
        key = [planned.column(name).target for name in planned.key] or [column.target for column in planned.columns]
        some = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(sql.Identifier, [*key, *columns])), sql.Identifier(SCHEMA, table)
        )
        files.append(_csv(connection, some, folder / f"{_file_name(table)}.new-columns.csv"))
    return tuple(files)


def _type(fact: str) -> str:
    """A column's fact without its default."""
    return fact.partition(" default ")[0]


def _empty_tables(connection: psycopg.Connection) -> list[tuple[str]]:
    """Tables without any column."""
    return connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()


def _csv(connection: psycopg.Connection, query: sql.Composed, file: Path) -> Path:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER true)").format(query)
    with os.fdopen(descriptor, "wb") as stream, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    return file


def _file_name(table: str) -> str:
    """A plain file name; names in Postgres may hold anything."""
    return "".join(character if character.isalnum() or character in "_-" else "_" for character in table)[:100] or "_"
