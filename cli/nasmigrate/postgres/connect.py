"""One way to connect: pinned session settings, errors mapped at this edge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nasmigrate.core.errors import (
    CannotConnect,
    ConnectionLost,
    NasmigrateError,
    PreflightError,
    Standby,
    TargetError,
)
from nasmigrate.core.redaction import redact

MINIMUM_VERSION = 140000
"""PostgreSQL 14: infinity in numeric, and TID range scans."""

_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "client_encoding": "UTF8",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "30s",
    "client_min_messages": "warning",
    "jit": "off",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
}
"""Set for every session; a role's or database's own settings must not change what is read or hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a connection says of its server."""

    version: str
    version_number: int
    encoding: str
    collation: str
    database: str
    user: str
    in_recovery: bool


def connect(conninfo: str, *, autocommit: bool = False, purpose: str = "nasmigrate") -> psycopg.Connection:
    """A new connection with pinned settings. `conninfo` may hold a password; messages never do.

    Raises:
        CannotConnect: no connection could be made.
        TargetError: the server refuses a setting.
    """
    try:
        connection = psycopg.connect(
            conninfo, autocommit=True, application_name=purpose, connect_timeout=10, prepare_threshold=None
        )
    except psycopg.Error as error:
        raise CannotConnect(
            f"cannot connect to Postgres: {redact(str(error)).strip()}",
            hint="check host, port, database and user; `nasmigrate doctor` tries each",
        ) from error
    try:
        for name, value in _SETTINGS.items():
            connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        connection.autocommit = autocommit
    except psycopg.Error as error:
        connection.close()
        raise TargetError(f"the server refuses a session setting: {redact(str(error)).strip()}") from error
    return connection


@contextmanager
def connected(conninfo: str, *, autocommit: bool = False, purpose: str = "nasmigrate") -> Iterator[psycopg.Connection]:
    """A connection that is closed at the end, whatever happens; psycopg's errors become ours."""
    connection = connect(conninfo, autocommit=autocommit, purpose=purpose)
    try:
        with mapped_errors("talking to Postgres"):
            yield connection
    finally:
        connection.close()


_LOST = ("08", "57P")
"""sqlstates of a broken connection and of a server that stops; none is given when it just vanished."""


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone; psycopg's OperationalError is also a full disk or a lock that was not granted."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate is None or error.sqlstate.startswith(_LOST))


@contextmanager
def mapped_errors(doing: str) -> Iterator[None]:
    """Turn psycopg's errors into ours, with sqlstate and the object the server named."""
    try:
        yield
    except NasmigrateError:
        raise
    except psycopg.Error as error:
        if is_lost(error):
            raise ConnectionLost(
                f"the connection to Postgres broke while {doing}: {redact(str(error)).strip()}",
                hint="look at the server's log; nothing that was not committed is there",
                details={"sqlstate": error.sqlstate},
            ) from error
        diagnostics = error.diag
        raise TargetError(
            f"Postgres refused while {doing}: {redact(str(error)).strip()}",
            details={
                "sqlstate": error.sqlstate,
                "table": diagnostics.table_name,
                "column": diagnostics.column_name,
                "constraint": diagnostics.constraint_name,
            },
        ) from error


def server_facts(connection: psycopg.Connection) -> ServerFacts:
    """Ask the server what it is."""
    row = connection.execute(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
        " current_setting('server_encoding'), datcollate, current_database(), current_user, pg_is_in_recovery()"
        " FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - the database we are connected to has a row
    return ServerFacts(
        version=row[0],
        version_number=row[1],
        encoding=row[2],
        collation=row[3],
        database=row[4],
        user=row[5],
        in_recovery=row[6],
    )


def check_server(facts: ServerFacts) -> None:
    """Refuse a server we cannot prove a copy on.

    Raises:
        Standby: a read-only standby.
        PreflightError: another encoding than UTF8, or too old; all reasons at once.
    """
    if facts.in_recovery:
        raise Standby(
            f"the server of database {facts.database!r} is a read-only standby", hint="connect to the primary"
        )
    checks = []
    if facts.encoding != "UTF8":
        checks.append(f"TARGET_ENCODING: database {facts.database!r} is {facts.encoding}, it must be UTF8")
    if facts.version_number < MINIMUM_VERSION:
        checks.append(f"TARGET_VERSION: the server is {facts.version}, at least 14 is needed")
    if checks:
        raise PreflightError(
            "; ".join(checks),
            checks=checks,
            hint="create a database with ENCODING 'UTF8' TEMPLATE template0 on a supported server",
        )
