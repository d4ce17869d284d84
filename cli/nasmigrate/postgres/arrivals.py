"""Whether the application has come to Postgres: sessions of its role that began since the opening."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from nasmigrate.postgres.connect import mapped_errors

_QUERY = """
SELECT count(*) FILTER (WHERE since), count(*) FILTER (WHERE NOT since) FROM (
    SELECT coalesce(backend_start >= opened_at, true) AS since FROM pg_stat_activity, nasmigrate.control
    WHERE usename = %s AND datname = current_database()
) s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Sessions of the application's role in this database: those that began since the opening, and earlier ones.

    A role without pg_read_all_stats is not shown when the sessions of others began; they count as `since`.
    """

    since: int
    earlier: int


def arrivals(connection: psycopg.Connection, role: str) -> Arrivals:
    """Count them; the transaction is ended.

    Raises:
        TargetError: the target cannot be asked.
    """
    with mapped_errors("looking for the application's sessions"):
        row = connection.execute(_QUERY, (role,)).fetchone()
        connection.commit()
    since, earlier = row or (0, 0)
    return Arrivals(since=since, earlier=earlier)
