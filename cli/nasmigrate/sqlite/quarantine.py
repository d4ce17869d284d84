"""Rows that a plan sets aside because they have no parent: the condition in SQL, and the rows themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.plan import Plan, PlanKept, PlanTable
from nasmigrate.sqlite.open import mapped_errors
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.read import Selection, read


def kept_condition(table: str, kept: Sequence[PlanKept], depth: int = 0) -> str:
    """The condition that a row of `table`, in SQL a name or an alias, stays; '' when all of them do."""
    parts = []
    for number, one in enumerate(kept):
        alias = f"nasmigrate_parent_{depth}_{number}"
        # The parent's column stands left of "=", so that its collation and affinity decide, as SQLite itself does.
        match = [
            f"{alias}.{quote_ident(theirs)} = {table}.{quote_ident(ours)}"
            for ours, theirs in zip(one.columns, one.parent_columns, strict=True)
        ]
        above = kept_condition(alias, one.kept, depth + 1)
        condition = " AND ".join([*match, above] if above else match)
        exists = f"EXISTS (SELECT 1 FROM main.{quote_ident(one.parent)} AS {alias} WHERE {condition})"  # noqa: S608
        absent = [f"{table}.{quote_ident(ours)} IS NULL" for ours in one.columns]
        parts.append(f"({' OR '.join([*absent, exists])})")
    return " AND ".join(parts)


def aside_condition(table: PlanTable) -> str:
    """The condition that a row of a table with such a rule is set aside."""
    return f"NOT ({kept_condition(quote_ident(table.name), table.kept)})"


def rows_aside(connection: apsw.Connection, table: PlanTable, encoding: str) -> Iterator[tuple[SqliteValue, ...]]:
    """The rows of a table that are set aside, every value as it is stored."""
    names = tuple(column.name for column in table.columns if column.generated is None)
    selection = Selection(
        table=table.name,
        columns=names,
        # Any text may be invalid in rows that no codec has looked at.
        raw_text=frozenset(names),
        encoding=encoding,
        condition=aside_condition(table),
    )
    for batch in read(connection, selection):
        yield from batch


def count_aside(connection: apsw.Connection, table: PlanTable) -> int:
    """How many rows of a table are set aside."""
    if not table.kept:
        return 0
    sql = f"SELECT count(*) FROM main.{quote_ident(table.name)} WHERE {aside_condition(table)}"  # noqa: S608
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def highest_aside(connection: apsw.Connection, table: PlanTable) -> int:
    """The highest number that a row set aside has in the table's identity column; 0 when there is none."""
    if not table.kept or table.identity is None:
        return 0
    name = quote_ident(table.identity.name)
    sql = f"SELECT max({name}) FROM main.{quote_ident(table.name)} WHERE {aside_condition(table)}"  # noqa: S608
    row = connection.execute(sql).fetchone()
    return int(row[0] or 0) if row else 0


def with_aside(connection: apsw.Connection, plan: Plan, used: Mapping[str, int]) -> dict[str, int]:
    """The highest number that each table used (`used`, by table), those of rows set aside included."""
    highest = {table.name: highest_aside(connection, table) for table in plan.tables if table.kept}
    return {name: max(used.get(name, 0), highest.get(name, 0)) for name in used.keys() | highest.keys()}


def without_aside(snapshot: Path, plan: Plan, destination: Path) -> None:
    """Write a copy of a snapshot that lacks the rows set aside: what its views then give is what Postgres' may.

    Raises:
        SourceError: SQLite failed.
    """
    with (
        mapped_errors(destination, "write"),
        closing(apsw.Connection(str(snapshot), flags=apsw.SQLITE_OPEN_READONLY)) as source,
        closing(apsw.Connection(str(destination))) as copy,
    ):
        with copy.backup("main", source, "main") as backup:
            backup.step(-1)
        copy.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        copy.execute("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = OFF").fetchall()
        for table in plan.tables:
            if table.kept:
                name = quote_ident(table.name)
                copy.execute(f"DELETE FROM main.{name} WHERE {aside_condition(table)}")  # noqa: S608
