"""Tables that others made, as a target for rows: what stands there, what they hold, and whether their keys hold.

Nothing here changes an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import psycopg
from psycopg import sql

from nasmigrate.postgres.catalogue_read import FoundColumn, FoundTable, read_tables
from nasmigrate.schema.existing import ExistingColumn, ExistingKey, ExistingTable

_PUBLIC = "public"
_NAMED = 5
"""Keys of rows without parent that are named."""

_NUMBERED = """
SELECT c.relname::text, a.attname::text
FROM pg_attrdef d
JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
JOIN pg_class c ON c.oid = d.adrelid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE c.relnamespace = to_regnamespace('public')
"""
"""Columns whose default takes the next number of a sequence."""

_LABELS = """
SELECT c.relname::text, a.attname::text, array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_enum e ON e.enumtypid = a.atttypid
WHERE c.relnamespace = to_regnamespace('public') AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY 1, 2
"""


def read_existing(connection: psycopg.Connection) -> dict[str, ExistingTable]:
    """Every relation of schema `public` by name, with the number of rows of tables."""
    found = read_tables(connection)
    numbered = set(connection.execute(_NUMBERED).fetchall())
    labels = {(table, column): tuple(names) for table, column, names in connection.execute(_LABELS).fetchall()}
    return {
        name: ExistingTable(
            name=name,
            kind=table.kind,
            columns=tuple(_column(table, column, numbered, labels) for column in table.columns),
            foreign_keys=tuple(_keys(table)),
            rows=_count(connection, name) if table.kind.endswith("table") else 0,
        )
        for name, table in found.items()
    }


def _column(
    table: FoundTable,
    column: FoundColumn,
    numbered: set[tuple[str, str]],
    labels: Mapping[tuple[str, str], tuple[str, ...]],
) -> ExistingColumn:
    place = table.name, column.name
    return ExistingColumn(
        name=column.name,
        type=column.type,
        not_null=column.not_null,
        filled=column.default_sql is not None or bool(column.identity),
        computed_sql=column.default_sql if column.generated else None,
        numbered=bool(column.identity) or place in numbered,
        labels=labels.get(place, ()),
    )


def _keys(table: FoundTable) -> Iterable[ExistingKey]:
    for key in table.constraints:
        if key.type == "f" and key.parent is not None:
            schema = "" if key.parent_schema == _PUBLIC else f"{key.parent_schema}."
            yield ExistingKey(
                name=key.name,
                child=table.name,
                columns=tuple(key.columns),
                parent=schema + key.parent,
                parent_columns=tuple(key.parent_columns),
            )


def _count(connection: psycopg.Connection, name: str) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(_PUBLIC, name))).fetchone()
    return int(row[0]) if row else 0


def lock_tables(connection: psycopg.Connection, names: Sequence[str]) -> None:
    """Keep others from writing to tables until the transaction ends; they can read."""
    if names:
        tables = sql.SQL(", ").join(sql.Identifier(_PUBLIC, name) for name in names)
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(tables))


def delete_rows(connection: psycopg.Connection, name: str) -> int:
    """Delete all rows of one table, and how many there were. Its keys must not act: see `postgres.quiet`."""
    return connection.execute(sql.SQL("DELETE FROM ONLY {}").format(sql.Identifier(_PUBLIC, name))).rowcount


def orphans(connection: psycopg.Connection, key: ExistingKey) -> list[str]:
    """Rows of a foreign key's table that have no parent, at most five, each by the values of the key.

    As MATCH SIMPLE, a NULL in the key asks for no parent.
    """
    parent = sql.Identifier(*([_PUBLIC, key.parent] if "." not in key.parent else key.parent.split(".", 1)))
    rows = connection.execute(
        sql.SQL(
            "SELECT {columns} FROM ONLY {child} c WHERE {present} AND NOT EXISTS (SELECT FROM {parent} p WHERE {match})"
            " LIMIT {limit}"
        ).format(
            columns=sql.SQL(", ").join(sql.Identifier("c", name) for name in key.columns),
            child=sql.Identifier(_PUBLIC, key.child),
            present=sql.SQL(" AND ").join(
                sql.SQL("{} IS NOT NULL").format(sql.Identifier("c", name)) for name in key.columns
            ),
            parent=parent,
            match=sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("c", ours))
                for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
            ),
            limit=sql.Literal(_NAMED),
        )
    ).fetchall()
    return [", ".join(f"{name}={value}" for name, value in zip(key.columns, row, strict=True)) for row in rows]
