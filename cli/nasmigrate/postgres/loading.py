"""Tables that another program fills: it commits by itself, so until a table is proven its rows may be any part of it.

A table is marked before the program begins and unmarked once its rows were compared with the source's. What is still
marked when a run is taken up again is emptied, ledger and originals with it, and begun anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg
from psycopg import sql

from nasmigrate.core.errors import RunLocked

PURPOSE = "nasmigrate pgloader"
"""Name of the other program's sessions in pg_stat_activity."""
_PATIENCE = 15.0
"""Seconds for sessions that were told to end."""


def mark_loading(connection: psycopg.Connection, run_id: str, tables: Sequence[str]) -> None:
    """Say, into the current transaction, that another program begins to fill these tables."""
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO nasmigrate.loading VALUES (%s, %s)", [(run_id, table) for table in tables])


def unmark_loading(connection: psycopg.Connection, run_id: str) -> None:
    """Say, into the current transaction, that all the run's tables are proven."""
    connection.execute("DELETE FROM nasmigrate.loading WHERE run_id = %s", (run_id,))


def empty_unproven(connection: psycopg.Connection, run_id: str) -> list[str]:
    """Empty the tables that are still marked, and commit; sessions of the other program are ended first.

    Only tables that this run created and nothing refers to yet can be marked, so no row of anyone else's goes.

    Raises:
        RunLocked: a session of the other program does not end.
    """
    rows = connection.execute("SELECT table_name FROM nasmigrate.loading WHERE run_id = %s ORDER BY 1", (run_id,))
    tables = [row[0] for row in rows]
    connection.commit()
    if not tables:
        return []
    _end_sessions(connection)
    for table in tables:
        connection.execute(sql.SQL("TRUNCATE ONLY {}").format(sql.Identifier("public", table)))
    connection.execute(
        "DELETE FROM nasmigrate.chunk WHERE run_id = %s AND table_name = ANY (%s)",
        (run_id, tables),
    )
    connection.execute("DELETE FROM nasmigrate.originals WHERE table_name = ANY (%s)", (tables,))
    unmark_loading(connection, run_id)
    connection.commit()
    return tables


def _end_sessions(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        row = connection.execute(
            "SELECT count(*), count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            (PURPOSE,),
        ).fetchone()
        connection.commit()
        if row is None or not row[0]:
            return
        if time.monotonic() > deadline:
            raise RunLocked(
                "pgloader of an earlier run still writes to this target",
                hint=f"end it; pg_stat_activity shows its sessions as `{PURPOSE}`",
            )
        time.sleep(0.1)
