"""Dumps databases together with their fingerprints: both from one snapshot, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from nasmigrate.backup.fingerprint import Fingerprint, take_fingerprint
from nasmigrate.backup.manifest import FileFacts, file_facts
from nasmigrate.backup.tools import Tools
from nasmigrate.core.errors import BackupRefused, ToolFailed
from nasmigrate.postgres.connect import connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """One dumped database. `roles` are those that own something in it or were granted something."""

    name: str
    owner: str
    roles: tuple[str, ...]
    file: FileFacts
    fingerprint: Fingerprint


def dump_database(tools: Tools, server: str, name: str, file: Path) -> Dump:
    """pg_dump in the custom format, and the fingerprint of the very same snapshot.

    Args:
        tools: of the server's version.
        server: conninfo of the server, from here.
        name: the database.
        file: to make; must not exist.

    Raises:
        ToolFailed: pg_dump could not.
        TargetError: the database cannot be read.
    """
    with connected(make_conninfo(server, dbname=name), purpose="nasmigrate backup") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        snapshot = _one(connection, "SELECT pg_export_snapshot()")
        fingerprint = take_fingerprint(connection)
        # The transaction stays open until pg_dump has taken its snapshot over, and read it all.
        tools.run("pg_dump", ("--format=custom", f"--snapshot={snapshot}"), database=name, stdout=file)
        owner = _one(connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
        roles = connection.execute(
            "SELECT DISTINCT r.rolname FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid"
            " WHERE d.refclassid = 'pg_authid'::regclass"
            " AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
        ).fetchall()
    return Dump(
        name=name,
        owner=owner,
        roles=tuple(role for (role,) in roles),
        file=file_facts(file),
        fingerprint=fingerprint,
    )


def dump_globals(tools: Tools, file: Path) -> bool:
    """The roles as a script; whether their passwords (as verifiers) are in it, which takes a superuser.

    Raises:
        ToolFailed: pg_dumpall could not.
    """
    words = ("--globals-only", "--no-tablespaces")
    try:
        tools.run("pg_dumpall", words, stdout=file)
    except ToolFailed as error:
        if "permission denied" not in str(error.details.get("stderr")):
            raise
        file.unlink(missing_ok=True)
        tools.run("pg_dumpall", (*words, "--no-role-passwords"), stdout=file)
        return False
    return True


def check_databases(wanted: Sequence[str], there: Collection[str]) -> None:
    """Refuse to begin when a database that is to be backed up is not among those that are `there`.

    Raises:
        BackupRefused: naming all that are missing.
    """
    missing = [name for name in wanted if name not in there]
    if missing:
        raise BackupRefused(
            f"database {', '.join(missing)} does not exist, so this would be no whole backup; nothing was written",
            checks=[f"missing database {name}" for name in missing],
            hint="[backup] databases names what to back up",
        )


def _one(connection: psycopg.Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None  # noqa: S101 - these queries give one row
    return str(row[0])
