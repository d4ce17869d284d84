"""Databases for tests on the embedded server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


@contextmanager
def fresh_database(dsn: str) -> Iterator[str]:
    """Create a database with a name of its own from template0; drop it at the end, even if still in use.

    Args:
        dsn: conninfo of a superuser's connection to the server.

    Yields:
        The conninfo of the new database.
    """
    name = f"test_{uuid4().hex[:16]}"
    identifier = sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
