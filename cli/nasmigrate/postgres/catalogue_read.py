"""Read pg_catalog: what stands in schema `public`, and what makes a database non-empty.

The functions that print a definition leave out the schema of what the search path can see, and print constants as
the session prints values; so the settings that decide it are pinned while reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

_PINNED = {
    "search_path": "pg_catalog",
    "quote_all_identifiers": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}

_RELATIONS = """
SELECT c.relname::text AS name,
       CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
            WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'sequence' END AS kind,
       c.relpersistence <> 'p' AS unlogged, c.relrowsecurity AS row_security,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition
FROM pg_class c
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND (d.deptype = 'e' OR (c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0)))
"""
"""Sequences that belong to a column are part of it."""

_COLUMNS = """
SELECT c.relname::text AS table_name, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS not_null, a.attidentity::text AS identity, a.attgenerated::text AS generated,
       CASE WHEN a.attcollation <> t.typcollation THEN l.collname::text END AS collation,
       pg_get_expr(d.adbin, d.adrelid) AS default_sql
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""

_INDEXES = """
SELECT c.relname::text AS table_name, x.relname::text AS name, m.amname::text AS method,
       i.indisunique AS is_unique, i.indisprimary AS is_primary, i.indisvalid AND i.indisready AS usable,
       i.indpred IS NOT NULL AS partial, i.indnatts > i.indnkeyatts AS including,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
       coalesce(u.condeferrable, false) AS is_deferrable, u.oid IS NOT NULL AS is_constraint,
       pg_get_indexdef(i.indexrelid) AS definition, k.terms
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam
LEFT JOIN pg_constraint u ON u.conindid = i.indexrelid AND u.conrelid = i.indrelid AND u.contype IN ('u', 'p')
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(a.attname, (i.indoption[s.n - 1] & 1) = 1, (i.indoption[s.n - 1] & 2) = 2)
                    ORDER BY s.n) AS terms
    FROM generate_series(1, i.indnkeyatts) AS s (n)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[s.n - 1] AND a.attnum > 0
) AS k
WHERE c.relnamespace = to_regnamespace('public')
ORDER BY c.relname, x.relname
"""
"""A term is (column or null for an expression, descending, nulls first): bits 1 and 2 of indoption."""

_CONSTRAINTS = """
SELECT c.relname::text AS table_name, o.conname::text AS name, o.contype::text AS type,
       pg_get_constraintdef(o.oid) AS definition, o.convalidated AS validated,
       o.condeferrable AS is_deferrable, o.condeferred AS is_deferred, o.connoinherit AS no_inherit,
       coalesce((to_jsonb(o) ->> 'conenforced')::boolean, true) AS enforced,
       o.confupdtype::text AS on_update, o.confdeltype::text AS on_delete, o.confmatchtype::text AS match,
       p.relname::text AS parent, pn.nspname::text AS parent_schema,
       ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (n, i)
             JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n ORDER BY k.i) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k (n, i)
             JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.n ORDER BY k.i) AS parent_columns,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = o.oid AND t.tgenabled = 'D') AS disabled
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid
LEFT JOIN pg_class p ON p.oid = o.confrelid
LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE c.relnamespace = to_regnamespace('public') AND o.contype NOT IN ('n', 't')
ORDER BY c.relname, o.conname
"""
"""Type `n` (since 18) is NOT NULL, which is read with the column; `t` is a constraint trigger."""

_TRIGGERS = """
SELECT c.relname::text AS table_name, t.tgname::text AS name,
       pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'D' THEN ' -- disabled' ELSE '' END AS definition
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = to_regnamespace('public') AND NOT t.tgisinternal
UNION ALL
SELECT c.relname::text, 'rule ' || r.rulename, pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p')
UNION ALL
SELECT c.relname::text, 'policy ' || l.polname,
       concat_ws(' ', l.polcmd, pg_get_expr(l.polqual, l.polrelid), pg_get_expr(l.polwithcheck, l.polrelid))
FROM pg_policy l JOIN pg_class c ON c.oid = l.polrelid
WHERE c.relnamespace = to_regnamespace('public')
ORDER BY 1, 2
"""

_USER_OBJECTS = """
WITH object AS (
    SELECT 'pg_class'::regclass::oid AS class, c.oid, c.relnamespace AS namespace, c.relname::text AS name,
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'f' THEN 'foreign table'
                WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'sequence' END AS kind
    FROM pg_class c WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    UNION ALL
    SELECT 'pg_type'::regclass::oid, t.oid, t.typnamespace, t.typname::text, 'type'
    FROM pg_type t
    WHERE (t.typtype IN ('b', 'd', 'e', 'r')
           OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 'pg_proc'::regclass::oid, p.oid, p.pronamespace, p.proname::text, 'function'
    FROM pg_proc p
)
SELECT DISTINCT o.kind || ' ' || n.nspname || '.' || o.name AS name
FROM object o JOIN pg_namespace n ON n.oid = o.namespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'nasmigrate') AND n.nspname !~ '^pg_(toast|temp_)'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid
                  AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
ORDER BY 1
"""
"""`e`: member of an extension. `i`: made for another object, such as the functions of a range type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundColumn:
    """A column; `type` as `format_type` prints it, `collation` None if it is the type's own."""

    name: str
    type: str
    not_null: bool
    identity: str
    generated: str
    collation: str | None
    default_sql: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTerm:
    """A term of an index; `column` is None for an expression."""

    column: str | None
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIndex:
    """An index; `usable` is valid and ready, `is_constraint` says that a UNIQUE or PRIMARY KEY stands on it."""

    name: str
    method: str
    is_unique: bool
    is_primary: bool
    usable: bool
    partial: bool
    including: bool
    nulls_not_distinct: bool
    is_deferrable: bool
    is_constraint: bool
    terms: tuple[FoundTerm, ...]
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConstraint:
    """A constraint; `type`, `on_update`, `on_delete` and `match` are the letters of pg_constraint.

    `disabled`: a trigger that enforces it was switched off, so it holds nothing although it stands there.
    """

    name: str
    type: str
    definition: str
    validated: bool
    is_deferrable: bool
    is_deferred: bool
    no_inherit: bool
    enforced: bool
    on_update: str
    on_delete: str
    match: str
    parent: str | None
    parent_schema: str | None
    columns: list[str]
    parent_columns: list[str]
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A relation of schema `public`; `kind` in words. `triggers` holds rules and policies too.

    `definition` is the SELECT of a view, None for what is none.
    """

    name: str
    kind: str
    definition: str | None = None
    columns: list[FoundColumn] = field(default_factory=list)
    indexes: list[FoundIndex] = field(default_factory=list)
    constraints: list[FoundConstraint] = field(default_factory=list)
    triggers: dict[str, str] = field(default_factory=dict)


def read_tables(connection: psycopg.Connection[Any]) -> dict[str, FoundTable]:
    """Read every relation of schema `public`, by name, but for members of extensions."""
    tables: dict[str, FoundTable] = {}
    with _pinned_settings(connection) as cursor:
        for row in cursor.execute(_RELATIONS):
            words = ("unlogged " if row["unlogged"] else "", row["kind"], " with row security" * row["row_security"])
            tables[row["name"]] = FoundTable(name=row["name"], kind="".join(words), definition=row["definition"])
        for table, row in _of_tables(cursor, _COLUMNS, tables):
            table.columns.append(FoundColumn(**row))
        for table, row in _of_tables(cursor, _INDEXES, tables):
            terms = tuple(FoundTerm(column=c, descending=d, nulls_first=n) for c, d, n in row.pop("terms"))
            table.indexes.append(FoundIndex(**row, terms=terms))
        for table, row in _of_tables(cursor, _CONSTRAINTS, tables):
            table.constraints.append(FoundConstraint(**row))
        for table, row in _of_tables(cursor, _TRIGGERS, tables):
            table.triggers[row["name"]] = row["definition"]
    return tables


def user_objects(connection: psycopg.Connection[Any]) -> list[str]:
    """Return what makes a database non-empty, as `kind schema.name`, sorted.

    Tables, views, sequences, types and functions count; not those of system schemas, of our own schema
    `nasmigrate`, of extensions, nor what exists only as part of another object.
    """
    with _pinned_settings(connection) as cursor:
        return [row["name"] for row in cursor.execute(_USER_OBJECTS)]


def _of_tables(
    cursor: psycopg.Cursor[dict[str, Any]], query: str, tables: Mapping[str, FoundTable]
) -> Iterator[tuple[FoundTable, dict[str, Any]]]:
    for row in cursor.execute(query.encode()).fetchall():
        table = tables.get(row.pop("table_name"))
        if table is not None:
            yield table, row


@contextmanager
def _pinned_settings(connection: psycopg.Connection[Any]) -> Iterator[psycopg.Cursor[dict[str, Any]]]:
    """Read in one transaction with settings pinned; then put the caller's back, whose transaction may go on."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        before = {
            name: row["value"]
            for name in _PINNED
            for row in cursor.execute("SELECT current_setting(%s) AS value", (name,)).fetchall()
        }
        _set_local(cursor, _PINNED)
        yield cursor
        _set_local(cursor, before)


def _set_local(cursor: psycopg.Cursor[dict[str, Any]], settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        cursor.execute("SELECT set_config(%s, %s, true)", (name, value))
