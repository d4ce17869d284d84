"""After the rows: identity sequences beyond every used key, and fresh statistics."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from nasmigrate.core.result import Difference
from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.plan import Plan, PlanTable

MAX_BIGINT = 2**63 - 1


def _sequence(connection: psycopg.Connection, table: PlanTable) -> str | None:
    """The identity's sequence as a qualified name, None when there is none."""
    identity = table.identity
    assert identity is not None  # noqa: S101 - callers ask for tables with an identity only
    row = connection.execute(
        "SELECT pg_get_serial_sequence(%s, %s)",
        (table_name(table).as_string(connection), identity.target),
    ).fetchone()
    return row[0] if row else None


def _max_key(connection: psycopg.Connection, table: PlanTable) -> int | None:
    identity = table.identity
    assert identity is not None  # noqa: S101 - as above
    row = connection.execute(
        sql.SQL("SELECT max({}) FROM ONLY {}").format(sql.Identifier(identity.target), table_name(table))
    ).fetchone()
    return row[0] if row else None


def set_sequences(connection: psycopg.Connection, plan: Plan, high_water: Mapping[str, int]) -> None:
    """Set each identity sequence so that the next value is above max(key) and above `sqlite_sequence`.

    Args:
        connection: where.
        plan: which tables have an identity.
        high_water: table -> `sqlite_sequence.seq`; ids up to it were used once and must not return.
    """
    for table in plan.tables:
        if table.identity is None:
            continue
        sequence = _sequence(connection, table)
        used = max(_max_key(connection, table) or 0, high_water.get(table.name, 0))
        if sequence is None:
            continue
        if used < 1:
            connection.execute("SELECT setval(%s::regclass, 1, false)", (sequence,))
        else:
            connection.execute("SELECT setval(%s::regclass, %s, true)", (sequence, min(used, MAX_BIGINT)))


def sequence_values(connection: psycopg.Connection, plan: Plan) -> dict[str, int]:
    """Table -> the last number its identity sequence gave out, 0 when none; tables without a sequence are left out."""
    found = {}
    for table in plan.tables:
        sequence = _sequence(connection, table) if table.identity is not None else None
        if sequence is not None:
            found[table.name] = _next_value(connection, sequence) - 1
    return found


def check_sequences(
    connection: psycopg.Connection, plan: Plan, high_water: Mapping[str, int]
) -> tuple[list[Difference], int]:
    """Sequences whose next value would collide with a used key, and how many were looked at."""
    differences = []
    checked = 0
    for table in plan.tables:
        if table.identity is None:
            continue
        checked += 1
        sequence = _sequence(connection, table)
        if sequence is None:
            differences.append(
                Difference(
                    kind="sequence",
                    table=table.name,
                    column=table.identity.name,
                    source="an identity column",
                    target="no sequence",
                    found_by="sequences",
                )
            )
            continue
        following = _next_value(connection, sequence)
        used = max(_max_key(connection, table) or 0, high_water.get(table.name, 0))
        if following <= used and used < MAX_BIGINT:
            differences.append(
                Difference(
                    kind="sequence",
                    table=table.name,
                    column=table.identity.name,
                    source=f"next value above {used}",
                    target=f"next value is {following}",
                    found_by="sequences",
                )
            )
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
