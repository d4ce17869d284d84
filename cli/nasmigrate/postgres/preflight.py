"""What a target must be before the first write: checked all at once, nothing changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from nasmigrate.core.errors import PreflightError
from nasmigrate.postgres.connect import (
    POOLED,
    POOLED_REMEDY,
    ServerFacts,
    connected,
    refuse_standby,
    server_facts,
    server_problems,
)

DISK_FACTOR = 3
"""Free bytes wanted per byte of the source: tables and indexes, the write-ahead log, and room to build indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """A target that may be written to. `slots` are the connections that are free beside the one that asked."""

    facts: ServerFacts
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Files that take room while the server does: where, and how many times the source's size."""

    folder: Path
    factor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """A failed check, and what to do about it."""

    text: str
    remedy: str


def check_target(
    connection: psycopg.Connection,
    conninfo: str,
    *,
    source_bytes: int = 0,
    makes_tables: bool = True,
    beside: Beside | None = None,
) -> Fitness:
    """Everything a target is asked before the first write; the transaction is ended.

    Args:
        connection: a session in the target.
        conninfo: leads to the same database, for a second session.
        source_bytes: size of the source, 0 = not known.
        makes_tables: whether the tables are still to be made.
        beside: what is written on this machine at the same time.

    Raises:
        Standby: a read-only standby.
        PreflightError: all that is wrong, each with what to do.
    """
    facts = server_facts(connection)
    refuse_standby(facts)
    problems = [_Problem(text=text, remedy=remedy) for text, remedy in server_problems(facts)]
    slots = free_slots(connection)
    if slots < 1:
        problems.append(
            _Problem(
                text=f"TARGET_SLOTS: no connection is free for user {facts.user} in database {facts.database}"
                " beside this one",
                remedy="end other sessions, or raise max_connections or the CONNECTION LIMIT of the role or database",
            )
        )
    else:
        problems += _pooled(connection, conninfo)
    problems += _missing_rights(connection, facts, makes_tables=makes_tables)
    problems += _little_space(connection, source_bytes, beside)
    connection.commit()
    if problems:
        raise PreflightError(
            "; ".join(problem.text for problem in problems),
            checks=[problem.text for problem in problems],
            hint="; ".join(dict.fromkeys(problem.remedy for problem in problems)),
        )
    return Fitness(facts=facts, slots=slots)


def check_may_create_databases(connection: psycopg.Connection) -> None:
    """What a rehearsal on a given server needs: a scratch database.

    Raises:
        Standby: a read-only standby.
        PreflightError: the role may not create one.
    """
    facts = server_facts(connection)
    refuse_standby(facts)
    row = connection.execute("SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    if not (row and row[0]):
        raise PreflightError(
            f"TARGET_RIGHTS: {facts.user} may not create the scratch database of a rehearsal",
            checks=["TARGET_RIGHTS"],
            hint=f"ALTER ROLE {_quoted(connection, facts.user)} CREATEDB, or rehearse without --target",
        )


def free_slots(connection: psycopg.Connection) -> int:
    """How many more connections this role may open to this database now."""
    row = connection.execute(
        "SELECT rolsuper, rolconnlimit, datconnlimit, current_setting('max_connections')::int,"
        " current_setting('superuser_reserved_connections')::int"
        " + coalesce(current_setting('reserved_connections', true), '0')::int,"
        " (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL"
        "   AND coalesce(backend_type, 'client backend') = 'client backend'),"
        " (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid),"
        " (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid)"
        " FROM pg_roles r, pg_database d WHERE rolname = session_user AND datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - who is connected is in both
    superuser, of_role, of_database, most, reserved, used, in_database, by_role = row
    free = [most - used - (0 if superuser else reserved)]
    if not superuser:
        free += [limit - count for limit, count in ((of_role, by_role), (of_database, in_database)) if limit >= 0]
    return int(min(free))


def _pooled(connection: psycopg.Connection, conninfo: str) -> Iterator[_Problem]:
    """A pooler that gives a session another server process for each transaction.

    A direct connection is told the server process' own id at its start. Any pooler makes one up, also in session
    mode, which is no harm; so a second session then shows whether two of them can have one process, or one two.
    """
    if connection.info.backend_pid == _server_process(connection):
        return
    first = _server_process(connection)
    try:
        with connected(conninfo, purpose="nasmigrate pooler check") as other:
            between = _server_process(other, end=False)
            shared = between == first or _server_process(connection) != first
            other.rollback()
    finally:
        connection.rollback()
    if shared:
        yield _Problem(
            text=POOLED,
            remedy=POOLED_REMEDY,
        )


def _server_process(connection: psycopg.Connection, *, end: bool = True) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if end:
        connection.commit()
    return int(row[0]) if row else 0


def _missing_rights(connection: psycopg.Connection, facts: ServerFacts, *, makes_tables: bool) -> Iterator[_Problem]:
    row = connection.execute(
        "SELECT has_database_privilege(current_database(), 'CREATE'), p.oid IS NOT NULL,"
        " p.oid IS NOT NULL AND has_schema_privilege(p.oid, 'USAGE'),"
        " p.oid IS NOT NULL AND has_schema_privilege(p.oid, 'CREATE'),"
        " o.oid IS NOT NULL, o.oid IS NOT NULL AND pg_has_role(o.nspowner, 'USAGE')"
        " FROM (VALUES (1)) one LEFT JOIN pg_namespace p ON p.nspname = 'public'"
        " LEFT JOIN pg_namespace o ON o.nspname = 'nasmigrate'"
    ).fetchone()
    assert row is not None  # noqa: S101 - there is always one row
    may_create, has_public, may_use, may_fill, has_ours, is_ours = row
    role, database = _quoted(connection, facts.user), _quoted(connection, facts.database)
    if not may_create and not has_ours:
        yield _Problem(
            text=f"TARGET_RIGHTS: {facts.user} may not create a schema in database {facts.database}",
            remedy=f"GRANT CREATE ON DATABASE {database} TO {role}",
        )
    if has_ours and not is_ours:
        yield _Problem(
            text=f"TARGET_RIGHTS: the schema nasmigrate in database {facts.database} is another role's",
            remedy="connect as the role that began the copy",
        )
    if not has_public:
        yield _Problem(
            text=f"TARGET_RIGHTS: database {facts.database} has no schema public",
            remedy=f"CREATE SCHEMA public AUTHORIZATION {role}",
        )
    elif makes_tables and not (may_use and may_fill):
        yield _Problem(
            text=f"TARGET_RIGHTS: {facts.user} may not create tables in schema public",
            remedy=f"GRANT CREATE, USAGE ON SCHEMA public TO {role}",
        )


def _quoted(connection: psycopg.Connection, name: str) -> str:
    return sql.Identifier(name).as_string(connection)


def _little_space(connection: psycopg.Connection, source_bytes: int, beside: Beside | None) -> Iterator[_Problem]:
    """The disk of the server, where it is this machine's and the role may ask where."""
    if not source_bytes or not _is_here(connection):
        return
    row = connection.execute(
        "SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END"
    ).fetchone()
    if row is None or not row[0]:
        return
    data, factor, why = Path(row[0]) / "base", DISK_FACTOR, f"{DISK_FACTOR} x the source"
    try:
        disk = os.statvfs(data)
        if beside is not None and data.stat().st_dev == beside.folder.stat().st_dev:
            factor += beside.factor
            why += f", and {beside.factor} x for {beside.folder} on the same disk"
    except OSError:
        return
    free, needed = disk.f_bavail * disk.f_frsize, factor * source_bytes
    if free < needed:
        yield _Problem(
            text=f"DISK_SPACE: {free:,} bytes are free where the server keeps its data ({row[0]}), {needed:,} wanted"
            f" ({why})",
            remedy=f"free {needed - free:,} bytes there",
        )


def _is_here(connection: psycopg.Connection) -> bool:
    """Whether the server is on this machine; one in a container may say a path that is another's here."""
    host = connection.info.host
    return host.startswith("/") or connection.info.hostaddr in ("127.0.0.1", "::1")
