"""Rows changed on Postgres as an application does, spread evenly over a table; for benchmarks of the way home."""

from __future__ import annotations

import psycopg
from psycopg import sql


def spread_keys(rows: str) -> str:
    """SQL that makes room in a table of SQLite whose integer key `id` has no gaps: all keys are even afterwards."""
    return f"UPDATE {rows} SET id = -id; UPDATE {rows} SET id = -2 * id; VACUUM;"


def home_changes(conninfo: str, table: str, update: str, *, every: int, number: int) -> int:
    """Of every `every` rows one is updated and one inserted, of twice as many one deleted; how many that came to.

    Args:
        conninfo: of the database.
        table: with an integer key `id`, even for all rows that were copied.
        update: what an UPDATE sets, in SQL.
        every: at least 4 times the calls made on one table.
        number: of the call, from 0 on; each finds rows of its own.
    """
    name, residue = sql.Identifier(table), 3 * number

    def place(step: int) -> sql.Composed:
        return sql.SQL("id % 2 = 0 AND id / 2 % {} = {}").format(sql.Literal(every), sql.Literal(residue + step))

    with psycopg.connect(conninfo) as connection:
        statements = (
            sql.SQL("UPDATE {} SET {} WHERE {}").format(name, sql.SQL(update), place(0)),
            sql.SQL(
                "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record({0},"
                " jsonb_build_object('id', id + 1))).* FROM {0} WHERE {1} ON CONFLICT DO NOTHING"
            ).format(name, place(1)),
            sql.SQL("DELETE FROM {} WHERE {} AND id / {} % 2 = 0").format(name, place(2), sql.Literal(2 * every)),
        )
        return sum(connection.execute(statement).rowcount for statement in statements)
