"""Databases that are made for a while: dropped at the end, and what a killed run left is dropped by the next."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.postgres.connect import connect, connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of them.

    Attributes:
        prefix: of the name; 8 random hex digits follow.
        mark: the comment on a database that may go. One that is to stay has none.
        purpose: what our sessions call themselves.
    """

    prefix: str
    mark: str
    purpose: str


@contextmanager
def scratch(conninfo: str, kind: Kind, *, owner: str | None = None, keep: bool = False) -> Iterator[tuple[str, str]]:
    """An empty database on a server: its conninfo and its name. A session of ours is in it all the time.

    Args:
        conninfo: any database of the server, as a role that may create databases.
        kind: whose leftovers are dropped first.
        owner: of the database; None = who makes it.
        keep: do not drop it, not even later.

    Raises:
        TargetError: Postgres refused.
    """
    name = kind.prefix + secrets.token_hex(4)
    database = sql.Identifier(name)
    inside = make_conninfo(conninfo, dbname=name)
    with connected(conninfo, autocommit=True, purpose=kind.purpose) as connection:
        _drop_leftovers(connection, kind)
        owned = sql.SQL(" OWNER {}").format(sql.Identifier(owner)) if owner is not None else sql.SQL("")
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'{}").format(database, owned))
        if not keep:
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(kind.mark)))
    in_use = connect(inside, autocommit=True, purpose=kind.purpose)
    try:
        yield inside, name
    finally:
        in_use.close()
        if not keep:
            with connected(conninfo, autocommit=True, purpose=kind.purpose) as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))


def _drop_leftovers(connection: psycopg.Connection, kind: Kind) -> None:
    """Drop what runs left that were killed; one that is at work has a session in its database."""
    found = connection.execute(
        "SELECT datname FROM pg_database AS made WHERE datname ~ ('^' || %s || '[0-9a-f]{8}$')"
        " AND shobj_description(oid, 'pg_database') = %s"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datid = made.oid)",
        (kind.prefix, kind.mark),
    ).fetchall()
    for (name,) in found:
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
