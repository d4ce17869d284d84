"""Rows whose parent is missing, foreign key by foreign key.

`PRAGMA foreign_key_check` raises for the whole database when one key points to a parent that is not unique
(trap T94); asking per key keeps one broken key from hiding the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import apsw

from nasmigrate.schema.evidence import KEYS_KEPT, Orphans
from nasmigrate.schema.model import ForeignKey, SourceSchema, Table
from nasmigrate.schema.plan import Plan, PlanKept
from nasmigrate.sqlite.quarantine import kept_condition
from nasmigrate.sqlite.quoting import quote_ident

Kept = Mapping[str, tuple[PlanKept, ...]]
"""Table -> the parents that its rows must have, or they are set aside."""


def find_orphans(
    connection: apsw.Connection, schema: SourceSchema, kept: Kept | None = None
) -> dict[tuple[str, int], Orphans]:
    """(table, position of the foreign key) -> its orphans; keys without orphans are left out.

    With `kept`, a parent that is set aside is none. Rows that are set aside count for the keys that set them aside.
    """
    kept = kept or {}
    found = {}
    for table in schema.tables:
        for position, key in enumerate(table.foreign_keys):
            # Keys that point to nothing, or to another number of columns, are a finding of their own.
            if len(key.parent_columns) != len(key.columns):
                continue
            try:
                parent = schema.table(key.parent)
            except KeyError:
                continue
            orphans = _orphans(connection, table, key, parent, kept)
            if orphans.count or orphans.respelled:
                found[table.name, position] = orphans
    return found


def new_orphans(connection: apsw.Connection, schema: SourceSchema, plan: Plan, touched: Collection[str]) -> list[str]:
    """Rows without parent in the foreign keys that Postgres has as well, where a table of the key was touched.

    Keys that are not carried had such rows before, or cannot be checked. Each is said as `table(columns): keys`.
    """
    found = []
    for planned in plan.tables:
        table = schema.table(planned.name)
        # What is not valid, or set aside, was there before; Postgres lets nothing be added to it.
        aside = {(one.columns, one.parent) for one in planned.kept}
        carried = {(key.columns, key.parent) for key in planned.foreign_keys if not key.not_valid} - aside
        for key in table.foreign_keys:
            columns = tuple(table.column(column).name for column in key.columns)
            if not any(name.lower() == key.parent.lower() for name in touched) and table.name not in touched:
                continue
            if (columns, _declared(schema, key.parent)) not in carried:
                continue
            orphans = _orphans(connection, table, key, schema.table(key.parent))
            if orphans.count:
                found.append(f"{table.name}({', '.join(columns)}): {'; '.join(orphans.keys)}")
    return found


def _declared(schema: SourceSchema, name: str) -> str | None:
    """A table's name as it was declared, None when there is no such table."""
    return next((table.name for table in schema.tables if table.name.lower() == name.lower()), None)


def _orphans(
    connection: apsw.Connection, table: Table, key: ForeignKey, parent: Table, kept: Kept | None = None
) -> Orphans:
    kept = kept or {}
    condition = _condition(table, key, parent, kept)
    count = _count(connection, condition)
    keys: list[str] = []
    if count:
        names: Sequence[str] = table.primary_key or key.columns
        columns = ", ".join(f"c.{quote_ident(name)}" for name in names)
        keys = [
            ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
            for values in connection.execute(f"SELECT {columns} {condition} LIMIT {KEYS_KEPT}")
        ]
    folded = any(parent.column(name).collation != "BINARY" for name in key.parent_columns)
    respelled = _count(connection, _condition(table, key, parent, kept, by_bytes=True)) - count if folded else 0
    return Orphans(count=count, keys=tuple(keys), respelled=respelled)


def _count(connection: apsw.Connection, condition: str) -> int:
    row = connection.execute(f"SELECT count(*) {condition}").fetchone()
    return int(row[0]) if row else 0


def _condition(table: Table, key: ForeignKey, parent: Table, kept: Kept, *, by_bytes: bool = False) -> str:
    """FROM and WHERE of the rows whose parent is missing."""
    # The parent's column stands left of "=", so that its collation and affinity decide, as SQLite itself does.
    collation = " COLLATE BINARY" if by_bytes else ""
    match = " AND ".join(
        f"p.{quote_ident(theirs)}{collation} = c.{quote_ident(ours)}"
        for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
    )
    present = " AND ".join(f"c.{quote_ident(ours)} IS NOT NULL" for ours in key.columns)
    above = kept_condition("p", kept.get(parent.name, ()))
    if above:
        match += f" AND {above}"
    exists = f"SELECT 1 FROM main.{quote_ident(parent.name)} p WHERE {match}"  # noqa: S608 - quoted names only
    condition = f"FROM main.{quote_ident(table.name)} c WHERE {present} AND NOT EXISTS ({exists})"
    columns = tuple(table.column(name).name for name in key.columns)
    mine = [one for one in kept.get(table.name, ()) if (one.columns, one.parent) != (columns, parent.name)]
    staying = kept_condition("c", mine)
    return f"{condition} AND {staying}" if staying else condition
