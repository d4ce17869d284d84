"""The table in which SQLite remembers the largest rowid an AUTOINCREMENT table ever had."""

from __future__ import annotations

import apsw


def high_water(connection: apsw.Connection) -> dict[str, int]:
    """Table -> `sqlite_sequence.seq`; empty where no table has AUTOINCREMENT."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone() is None:
        return {}
    rows = connection.execute("SELECT name, max(seq) FROM sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name")
    return {str(name): int(seq) for name, seq in rows}
