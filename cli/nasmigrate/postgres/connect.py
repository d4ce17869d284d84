"""One way to connect: pinned session settings, errors mapped at this edge."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nasmigrate.core.errors import (
    CannotConnect,
    ConnectionLost,
    DiskFull,
    NasmigrateError,
    PreflightError,
    Standby,
    TargetError,
)
from nasmigrate.core.redaction import redact

MINIMUM_VERSION = 140000
"""PostgreSQL 14: infinity in numeric, and TID range scans."""

# Without a handler Python writes psycopg's warnings of a lost connection to stderr; the error says it better.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SETTINGS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "30s",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "search_path": "public",
    "client_encoding": "UTF8",
    "client_min_messages": "warning",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "jit": "off",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
}
"""Set for every session; a role's or database's own settings must not change what is done, read or hashed."""
_SETTINGS_SINCE = {170000: {"transaction_timeout": "0"}}
"""Those that older servers do not know, by the version that brought them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a connection says of its server; `collation` is the database's own, as `provider: name`."""

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
        PreflightError: the server, the database or the role has no connection left.
        TargetError: the server refuses a setting.
    """
    try:
        connection = psycopg.connect(
            conninfo, autocommit=True, application_name=purpose, connect_timeout=10, prepare_threshold=None
        )
    except psycopg.Error as error:
        if _is_crowded(error):
            raise PreflightError(
                f"TARGET_SLOTS: the server has no connection to give: {redact(str(error)).strip()}",
                checks=["TARGET_SLOTS"],
                hint="end other sessions, or raise max_connections or the CONNECTION LIMIT of the role or database",
            ) from error
        raise CannotConnect(
            f"cannot connect to Postgres: {redact(str(error)).strip()}",
            hint="check host, port, database and user; `nasmigrate doctor` tries each; a stack: nasmigrate stack up",
        ) from error
    settings = dict(_SETTINGS)
    for version, more in _SETTINGS_SINCE.items():
        if connection.info.server_version >= version:
            settings |= more
    statements = [
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in settings.items()
    ]
    try:
        # In one message: a role's own timeouts hold for the first of them only.
        connection.execute(sql.SQL("; ").join(statements))
        connection.autocommit = autocommit
    except psycopg.Error as error:
        connection.close()
        raise TargetError(f"the server refuses a session setting: {redact(str(error)).strip()}") from error
    return connection


def _is_crowded(error: psycopg.Error) -> bool:
    """Whether a connection was refused for their number (sqlstate 53300, which libpq keeps to itself)."""
    return any(words in str(error) for words in ("too many clients", "too many connections", "connection slots"))


@contextmanager
def connected(conninfo: str, *, autocommit: bool = False, purpose: str = "nasmigrate") -> Iterator[psycopg.Connection]:
    """A connection that is closed at the end, whatever happens; psycopg's errors become ours."""
    connection = connect(conninfo, autocommit=autocommit, purpose=purpose)
    try:
        with mapped_errors("talking to Postgres"):
            yield connection
    finally:
        connection.close()


POOLED = (
    "TARGET_POOLED: a connection pooler (pgbouncer in transaction or statement mode, or the like) is between here and"
    " the server: locks, settings and snapshots of a session are lost there"
)
POOLED_REMEDY = "give the server's own host and port, as the pooler's configuration names them"
_STATEMENT_MODE = "statement pooling mode"
"""pgbouncer's words for a BEGIN in that mode; it then ends the session."""

_LOST = ("08", "57P")
"""sqlstates of a broken connection and of a server that stops; none is given when it just vanished."""


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone; psycopg's OperationalError is also a full disk or a lock that was not granted."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate is None or error.sqlstate.startswith(_LOST))


DISK_FULL = "53100"


def disk_full(doing: str, error: psycopg.Error) -> DiskFull:
    """The error for a server whose disk ran full."""
    return DiskFull(
        f"the server's disk is full while {doing}: {redact(error.diag.message_primary or '').strip()}",
        hint="make room on the server's disk",
        details={"sqlstate": error.sqlstate},
    )


@contextmanager
def mapped_errors(doing: str) -> Iterator[None]:
    """Turn psycopg's errors into ours, with sqlstate and the object the server named."""
    try:
        yield
    except NasmigrateError:
        raise
    except psycopg.Error as error:
        if _STATEMENT_MODE in str(error):
            raise PreflightError(POOLED, checks=["TARGET_POOLED"], hint=POOLED_REMEDY) from error
        if is_lost(error):
            raise ConnectionLost(
                f"the connection to Postgres broke while {doing}: {redact(str(error)).strip()}",
                hint="look at the server's log (a stack: nasmigrate stack up); nothing that was not committed is there",
                details={"sqlstate": error.sqlstate},
            ) from error
        if error.sqlstate == DISK_FULL:
            raise disk_full(doing, error) from error
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
        " current_setting('server_encoding'), to_jsonb(d), current_database(), current_user, pg_is_in_recovery()"
        " FROM pg_database d WHERE datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - the database we are connected to has a row
    return ServerFacts(
        version=row[0],
        version_number=row[1],
        encoding=row[2],
        collation=_collation(row[3]),
        database=row[4],
        user=row[5],
        in_recovery=row[6],
    )


_PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}


def _collation(database: dict[str, object]) -> str:
    """The default collation from a row of pg_database.

    Its columns differ: 14 knows libc alone, 15 and 16 say daticulocale, later ones datlocale.
    """
    provider = str(database.get("datlocprovider") or "c")
    name = database.get("datlocale") or database.get("daticulocale") or database["datcollate"]
    return f"{_PROVIDERS.get(provider, provider)}: {name}"


def refuse_standby(facts: ServerFacts) -> None:
    """Refuse a server that nobody can write to.

    Raises:
        Standby: a read-only standby.
    """
    if facts.in_recovery:
        raise Standby(
            f"the server of database {facts.database!r} is a read-only standby", hint="connect to the primary"
        )


def server_problems(facts: ServerFacts) -> list[tuple[str, str]]:
    """Why a copy cannot be proven on this server, each with what to do about it."""
    problems = []
    if facts.encoding != "UTF8":
        problems.append(
            (
                f"TARGET_ENCODING: database {facts.database!r} is {facts.encoding}, it must be UTF8",
                "create a database with ENCODING 'UTF8' TEMPLATE template0",
            )
        )
    if facts.version_number < MINIMUM_VERSION:
        problems.append(
            (
                f"TARGET_VERSION: the server is {facts.version}, at least {MINIMUM_VERSION // 10000} is needed",
                "use a supported server",
            )
        )
    return problems


def check_server(facts: ServerFacts) -> None:
    """Refuse a server we cannot prove a copy on.

    Raises:
        Standby: a read-only standby.
        PreflightError: another encoding than UTF8, or too old; all reasons at once.
    """
    refuse_standby(facts)
    problems = server_problems(facts)
    if problems:
        raise PreflightError(
            "; ".join(text for text, _ in problems),
            checks=[text for text, _ in problems],
            hint="; ".join(remedy for _, remedy in problems),
        )
