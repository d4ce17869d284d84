"""How far pgloader is, asked of Postgres: it says nothing itself before its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg


class Watch:
    """Reports the rows of each table, those of the running COPY included; for display only."""

    def __init__(
        self, connection: psycopg.Connection, tables: Sequence[str], progress: Callable[[str, int], None]
    ) -> None:
        self._connection = connection
        self._tables = list(tables)
        self._progress = progress
        self._rows: dict[str, int] = {}

    def __call__(self) -> None:
        """Look once. The connection must be in autocommit mode."""
        rows = self._connection.execute(
            "SELECT c.relname, pg_stat_get_tuples_inserted(c.oid) + coalesce(sum(p.tuples_processed), 0)::bigint"
            " FROM pg_class c LEFT JOIN pg_stat_progress_copy p ON p.relid = c.oid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s) GROUP BY c.oid, c.relname",
            (self._tables,),
        )
        for table, count in rows:
            if count > self._rows.get(table, 0):
                self._rows[table] = count
                self._progress(table, count)
