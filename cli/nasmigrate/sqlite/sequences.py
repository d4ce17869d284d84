"""The table in which SQLite remembers the largest rowid an AUTOINCREMENT table ever had."""

from __future__ import annotations

from collections.abc import Mapping

import apsw


def high_water(connection: apsw.Connection) -> dict[str, int]:
    """Table -> `sqlite_sequence.seq`; empty where no table has AUTOINCREMENT."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone() is None:
        return {}
    rows = connection.execute("SELECT name, max(seq) FROM sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name")
    return {str(name): int(seq) for name, seq in rows}


def raise_sequences(connection: apsw.Connection, tables: Mapping[str, int]) -> None:
    """`sqlite_sequence` := max(itself, what the sequence of Postgres gave out last), for each AUTOINCREMENT table."""
    for table, last in tables.items():
        rows = connection.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ? RETURNING 1", (last, table)
        ).fetchall()
        if not rows:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))
