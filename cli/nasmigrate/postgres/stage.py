"""Rows on their way into the target: binary COPY into a table, or into a temporary one that a statement reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import psycopg
from psycopg import sql

from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.copy_format import HEADER, TRAILER
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Rows, row_of_fields


def make_stage(connection: psycopg.Connection, name: str, table: PlanTable, columns: Sequence[str]) -> sql.Identifier:
    """An empty temporary table with some columns of a table, types and collations included; its qualified name."""
    stage = sql.Identifier("pg_temp", name)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} WITH NO DATA").format(
            sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns)), table_name(table)
        )
    )
    return stage


def copy_in(
    connection: psycopg.Connection, where: sql.Composable, columns: Sequence[str], rows: Iterable[bytes]
) -> None:
    """COPY rows, as binary COPY writes them and in any cut, into these columns of a table."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        where, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for block in rows:
            copy.write(block)
        copy.write(TRAILER)


def columns_of(sets: Iterable[Rows], positions: Sequence[int]) -> Iterator[bytes]:
    """Some columns of all these rows, again as rows."""
    for rows in sets:
        for fields in rows:
            yield row_of_fields([fields[position] for position in positions])
