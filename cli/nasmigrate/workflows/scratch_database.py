"""The database a rehearsal works in: made, dropped at the end; what a killed one left is dropped by the next."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.postgres.connect import connect, connected
from nasmigrate.postgres.preflight import check_may_create_databases

PREFIX = "nasmigrate_rehearsal_"
MARK = "nasmigrate: scratch database of a rehearsal; the next one drops it when nobody is connected to it"
"""The comment on a database that may go. One that is to stay has none."""


@contextmanager
def scratch_database(conninfo: str, *, keep: bool) -> Iterator[tuple[str, str]]:
    """An empty database on a server: its conninfo and its name.

    Args:
        conninfo: any database of the server, as a role that may create databases.
        keep: do not drop it, not even later.

    Raises:
        PreflightError: the role may not create databases.
        TargetError: Postgres refused.
    """
    name = PREFIX + secrets.token_hex(4)
    database = sql.Identifier(name)
    inside = make_conninfo(conninfo, dbname=name)
    with connected(conninfo, autocommit=True) as connection:
        check_may_create_databases(connection)
        _drop_leftovers(connection)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(database))
        if not keep:
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(MARK)))
    in_use = connect(inside, autocommit=True, purpose="nasmigrate rehearse")
    try:
        yield inside, name
    finally:
        in_use.close()
        if not keep:
            with connected(conninfo, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))


def _drop_leftovers(connection: psycopg.Connection) -> None:
    """Drop what rehearsals left that ended with their server; one that is at work has a session in its database."""
    found = connection.execute(
        "SELECT datname FROM pg_database AS made WHERE datname ~ ('^' || %s || '[0-9a-f]{8}$')"
        " AND shobj_description(oid, 'pg_database') = %s"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datid = made.oid)",
        (PREFIX, MARK),
    ).fetchall()
    for (name,) in found:
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
