"""After the rows: identity sequences beyond every used key, and fresh statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
from psycopg import sql

from nasmigrate.core.result import Difference
from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable

MAX_BIGINT = 2**63 - 1


_BY_DEFAULT = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(s.relname)
FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.adrelid = %s::regclass AND a.attname = %s
"""
"""A sequence that nobody owns, but from which a default takes its numbers."""


def _numbered(plan: Plan) -> Iterator[tuple[PlanTable, PlanColumn]]:
    """The columns whose rows a sequence numbers; a schema made by others may have several in a table."""
    for table in plan.tables:
        for column in table.columns:
            if column.identity:
                yield table, column


def _sequence(connection: psycopg.Connection, table: PlanTable, column: PlanColumn) -> str | None:
    """The column's sequence as a qualified name, None when there is none."""
    place = table_name(table).as_string(connection), column.target
    row = connection.execute("SELECT pg_get_serial_sequence(%s, %s)", place).fetchone()
    if row is None or row[0] is None:
        row = connection.execute(_BY_DEFAULT, place).fetchone()
    return row[0] if row else None


def _highest(
    connection: psycopg.Connection, table: PlanTable, column: PlanColumn, high_water: Mapping[str, int]
) -> int:
    """The highest number that was ever used, 0 when none was."""
    row = connection.execute(
        sql.SQL("SELECT max({}) FROM ONLY {}").format(sql.Identifier(column.target), table_name(table))
    ).fetchone()
    return max((row[0] if row else None) or 0, high_water.get(table.name, 0))


def set_sequences(connection: psycopg.Connection, plan: Plan, high_water: Mapping[str, int]) -> None:
    """Set each sequence so that the next value is above max(key) and above `sqlite_sequence`.

    Args:
        connection: where.
        plan: which columns are numbered.
        high_water: table -> `sqlite_sequence.seq`; ids up to it were used once and must not return.
    """
    for table, column in _numbered(plan):
        sequence = _sequence(connection, table, column)
        if sequence is None:
            continue
        used = _highest(connection, table, column, high_water)
        if used < 1:
            connection.execute("SELECT setval(%s::regclass, 1, false)", (sequence,))
        else:
            connection.execute("SELECT setval(%s::regclass, %s, true)", (sequence, min(used, MAX_BIGINT)))


def sequence_values(connection: psycopg.Connection, plan: Plan) -> dict[str, int]:
    """Table -> the last number its identity sequence gave out, 0 when none; tables without a sequence are left out."""
    found = {}
    for table in plan.tables:
        sequence = _sequence(connection, table, table.identity) if table.identity is not None else None
        if sequence is not None:
            found[table.name] = _next_value(connection, sequence) - 1
    return found


def check_sequences(
    connection: psycopg.Connection, plan: Plan, high_water: Mapping[str, int]
) -> tuple[list[Difference], int]:
    """Sequences whose next value would collide with a used key, and how many were looked at."""
    differences = []
    checked = 0
    for table, column in _numbered(plan):
        checked += 1
        sequence = _sequence(connection, table, column)
        if sequence is None:
            differences.append(_difference(table, column, "a numbered column", "no sequence"))
            continue
        following = _next_value(connection, sequence)
        used = _highest(connection, table, column, high_water)
        if following <= used and used < MAX_BIGINT:
            differences.append(_difference(table, column, f"next value above {used}", f"next value is {following}"))
    return differences, checked


def _next_value(connection: psycopg.Connection, sequence: str) -> int:
    """What nextval would give; the sequence's own relation is asked, since nextval uses a number up."""
    schema, name = _parts(connection, sequence)
    row = connection.execute(
        sql.SQL("SELECT s.last_value::numeric + CASE WHEN s.is_called THEN 1 ELSE 0 END FROM {}.{} s").format(
            sql.Identifier(schema), sql.Identifier(name)
        )
    ).fetchone()
    return int(row[0]) if row else 0


def _difference(table: PlanTable, column: PlanColumn, source: str, target: str) -> Difference:
    return Difference(
        kind="sequence", table=table.name, column=column.name, source=source, target=target, found_by="sequences"
    )


def _parts(connection: psycopg.Connection, sequence: str) -> tuple[str, str]:
    row = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = %s::regclass",
        (sequence,),
    ).fetchone()
    assert row is not None  # noqa: S101 - regclass resolved
    return row[0], row[1]


def analyze(connection: psycopg.Connection, plan: Plan) -> None:
    """ANALYZE every table of the plan, so that the application's first queries have statistics."""
    if plan.tables:
        names = sql.SQL(", ").join(table_name(table) for table in plan.tables)
        connection.execute(sql.SQL("ANALYZE {}").format(names))
