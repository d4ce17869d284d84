"""Restores a dump into an empty database, and a place of its own to try that in."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.backup.fingerprint import Fingerprint, take_fingerprint
from nasmigrate.backup.tools import Tools
from nasmigrate.core.errors import TargetNotEmpty
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.embedded import embedded_server
from nasmigrate.postgres.scratch import Kind, scratch

PROOF = Kind(
    prefix="nasmigrate_proof_",
    mark="nasmigrate: scratch database of a backup's proof; the next one drops it when nobody is connected to it",
    purpose="nasmigrate backup",
)
_RESTORE = ("--exit-on-error", "--single-transaction", "--no-tablespaces")
_ROLE = rb'(?:"(?:[^"]|"")+"|[^\s;"]+)'
_SUPERUSER = re.compile(rb"^ALTER ROLE (" + _ROLE + rb") WITH SUPERUSER ", re.M)
_GRANT = re.compile(rb"^(?P<what>GRANT .+) GRANTED BY (?P<by>" + _ROLE + rb");$", re.M)
_MEMBERSHIP = re.compile(rb"^GRANT (?P<role>" + _ROLE + rb") TO (?P<member>" + _ROLE + rb")(?: [^;]*)?;$", re.M)
_LITERAL = rb"'(?:[^']|'')*'"
_QUOTED = rb'"(?:[^"]|"")*"'
_OF_ROLE = re.compile(
    rb"^(?:CREATE ROLE|ALTER ROLE|COMMENT ON ROLE) (?P<role>" + _ROLE + rb")"
    rb"(?:" + _LITERAL + rb"|" + _QUOTED + rb"|[^;'\"])*;\n",
    re.M,
)
_BOOTSTRAP, _SCRATCH = "nasmigrate_bootstrap", "nasmigrate_scratch"


def restore_dump(tools: Tools, dump: Path, database: str) -> None:
    """Run pg_restore: all of the dump, or after an error nothing.

    Raises:
        ToolFailed: it could not; the database is as it was.
    """
    tools.run("pg_restore", _RESTORE, database=database, stdin=dump)


def restore_globals(tools: Tools, server: str, file: Path) -> None:
    """Make the script's roles that the server lacks, and grant all of its memberships: everything, or nothing.

    A role that is there stays as it is, its password too.

    Args:
        tools: that reach the server.
        server: conninfo of the same server, from here.
        file: what pg_dumpall wrote.

    Raises:
        ToolFailed: a statement was refused; nothing was made.
        TargetError: the server cannot be reached.
    """
    with connected(server, purpose="nasmigrate restore") as connection:
        there = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    with tempfile.NamedTemporaryFile(prefix="nasmigrate-roles-") as script:  # 0600: verifiers of passwords are in it
        script.write(without_roles(without_grantors(file.read_bytes()), there))
        script.flush()
        # psql takes --single-transaction only together with --file.
        words = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-")
        tools.run("psql", words, database="postgres", stdin=Path(script.name))


def without_roles(script: bytes, there: Collection[str]) -> bytes:
    """The roles' script without what makes, alters or comments on any of these roles; grants to them stay."""

    def kept(statement: re.Match[bytes]) -> bytes:
        return b"" if _name(statement["role"]) in there else statement[0]

    return _OF_ROLE.sub(kept, script)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memberships:
    """The memberships that a database's roles had. `missing` are statements that grant those a server lacks."""

    all: int
    missing: tuple[str, ...]


def memberships_of(server: str, file: Path, roles: Collection[str]) -> Memberships:
    """Compare who was a member of these roles with who is; a superuser has their rights without being one.

    Args:
        server: conninfo of the server.
        file: what pg_dumpall wrote.
        roles: those that a database names: membership in them decides who may read and write there.

    Raises:
        TargetError: the server cannot be asked.
    """
    with connected(server, purpose="nasmigrate restore") as connection:
        there = set(
            connection.execute(
                "SELECT r.rolname, m.rolname FROM pg_auth_members a"
                " JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member"
            ).fetchall()
        )
        superusers = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper")}
    wanted = {}
    for grant in _MEMBERSHIP.finditer(without_grantors(file.read_bytes())):
        pair = (_name(grant["role"]), _name(grant["member"]))
        if pair[0] in roles and pair[1] not in superusers:
            wanted[pair] = grant[0].decode(errors="replace")
    return Memberships(all=len(wanted), missing=tuple(line for pair, line in wanted.items() if pair not in there))


def _name(written: bytes) -> str:
    """A role's name as it is, of how a script writes it."""
    bare = written[1:-1].replace(b'""', b'"') if written.startswith(b'"') else written
    return bare.decode(errors="surrogateescape")


def without_grantors(script: bytes) -> bytes:
    """The roles' script without GRANTED BY where that names a superuser.

    What a superuser grants is granted by the role that made the cluster, and from PostgreSQL 16 on no other superuser
    may be named in its place; on another server that role has another name.
    """
    superusers = set(_SUPERUSER.findall(script))

    def shortened(grant: re.Match[bytes]) -> bytes:
        return grant["what"] + b";" if grant["by"] in superusers else grant[0]

    return _GRANT.sub(shortened, script)


def refuse_unless_empty(conninfo: str, display: str) -> None:
    """Refuse a database that holds anything besides what every new one holds.

    Raises:
        TargetNotEmpty: naming what is there.
    """
    with connected(conninfo, purpose="nasmigrate restore") as connection:
        found = [
            f"{kind} {name}"
            for kind, name in connection.execute(
                "SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END,"
                " format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname NOT LIKE 'pg\\_%'"
                " AND nspname <> 'information_schema'"
                " UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'"
                " AND nspname NOT IN ('information_schema', 'public')"
                " UNION ALL SELECT 'function', proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
                " WHERE nspname = 'public'"
                " UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger ORDER BY 1, 2"
            )
        ]
    if found:
        raise TargetNotEmpty(
            f"TARGET_NOT_EMPTY: {display} is not empty ({', '.join(found[:3])}); nothing was touched",
            checks=found[:50],
            hint="restore into a new database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
        )


def fingerprint_of(conninfo: str) -> Fingerprint:
    """The fingerprint of a database as it is now."""
    with connected(conninfo, purpose="nasmigrate backup") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return take_fingerprint(connection)


@contextmanager
def scratch_place(tools: Tools, server: str, globals_file: Path) -> Iterator[tuple[Tools, str]]:
    """Where dumps can be restored to be compared: a server of the same version that is thrown away.

    Where its programs are not on this machine, a new database on the server itself is taken instead.

    Args:
        tools: of the server that was dumped.
        server: conninfo of that server, from here.
        globals_file: the roles; they are restored, too, which proves them.

    Yields:
        Tools and the conninfo of an administrator there.
    """
    if not tools.can_run_a_server:
        yield tools, server
        return
    with embedded_server(programs=tools.directory) as scratch:
        # The dump may hold a role of the same name as the one that made the cluster; only another one can rename it.
        with psycopg.connect(scratch.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(sql.Identifier(_SCRATCH)))
        dsn = make_conninfo(scratch.dsn, user=_SCRATCH)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE postgres RENAME TO {}").format(sql.Identifier(_BOOTSTRAP)))
        there = tools.at(dsn)
        restore_globals(there, dsn, globals_file)
        yield there, dsn


@contextmanager
def scratch_database(administrator: str, owner: str) -> Iterator[str]:
    """A new database that is dropped at the end; yields its conninfo. What a killed proof left is dropped first."""
    with scratch(administrator, PROOF, owner=owner) as (conninfo, _):
        yield conninfo
