"""The roles of a target: who owns it, who may write, and whose membership lets the application write.

- The **owner** (NOLOGIN) owns the tables; the operator, as whom the tool connects, is a member of it.
- The **writer** (NOLOGIN) may read and write rows, and use sequences.
- The **application's** role (LOGIN) owns nothing and has no right of its own. One membership, given at cutover and
  taken back at rollback, lets it write: see `role_switch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nasmigrate.core.errors import ConfigError, OperatorNotAllowed

SCHEMA = "public"
"""Where the revisions make the application's tables."""

NAME_LIMIT = 63
"""Bytes of an identifier (NAMEDATALEN - 1); the server cuts longer ones off with a notice only."""

TABLE_RIGHTS = sql.SQL("SELECT, INSERT, UPDATE, DELETE")
SEQUENCE_RIGHTS = sql.SQL("USAGE, SELECT, UPDATE")
_PLAIN = sql.SQL("NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleNames:
    """The roles of one target, as they are called on its server."""

    owner: str
    writer: str
    application: str


def role_names(
    database: str, application: str | None = None, *, owner: str | None = None, writer: str | None = None
) -> RoleNames:
    """The given names, the others derived from the database's: `shop_owner`, `shop_rw`, `shop_app`.

    Roles belong to the whole server, so two databases need names of their own.

    Raises:
        ConfigError: two are equal, one is empty, holds NUL, or is longer than a name may be.
    """
    names = RoleNames(
        owner=owner if owner is not None else f"{database}_owner",
        writer=writer if writer is not None else f"{database}_rw",
        application=application if application is not None else f"{database}_app",
    )
    every = (names.owner, names.writer, names.application)
    for name in every:
        if not name or "\0" in name or len(name.encode()) > NAME_LIMIT:
            raise ConfigError(
                f"role {name!r}: a role's name has 1 to {NAME_LIMIT} bytes",
                hint="name the roles in nasmigrate.toml",
                code="NM0521",
            )
    if len(set(every)) < len(every):
        raise ConfigError(
            f"roles {', '.join(every)}: owner, writer and application must be three roles",
            hint="name the roles in nasmigrate.toml",
            code="NM0521",
        )
    return names


def missing_roles(connection: psycopg.Connection, names: RoleNames) -> tuple[str, ...]:
    """The statements that are still to be run, in order, ready for psql; none when all is as it must be.

    A superuser can run them all. They hold no password: a login role made by hand needs one yet.
    """
    return _lines(connection, _missing(connection, names, by_operator=False))


def set_up_roles(connection: psycopg.Connection, names: RoleNames, *, password: str | None = None) -> tuple[str, ...]:
    """Create what is missing, in the caller's transaction; of what is there, only a given password is set. Repeatable.

    Args:
        connection: to the target, as the operator.
        names: the three roles.
        password: the application's role gets it, also where the role is there; None leaves the role's password alone.
            It leaves this machine as a SCRAM verifier, so that no log of the server ever sees it.

    Returns:
        What was run, but for the password.

    Raises:
        OperatorNotAllowed: the operator may not; nothing was done, and the error carries the exact SQL to run.
    """
    statements = tuple(_missing(connection, names, by_operator=True))
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
            if password is not None:
                connection.execute(password_statement(connection, names.application, password))
    except psycopg.errors.InsufficientPrivilege as error:
        raise not_allowed(connection, missing_roles(connection, names), error) from error
    return _lines(connection, statements)


def password_statement(connection: psycopg.Connection, role: str, password: str) -> sql.Composed:
    """ALTER ROLE … PASSWORD with a SCRAM verifier made here, in place of the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))


def not_allowed(connection: psycopg.Connection, lines: Sequence[str], error: psycopg.Error) -> OperatorNotAllowed:
    """The error that hands the statements to somebody who may run them."""
    return OperatorNotAllowed(
        f"role {connection.info.user!r} may not set up the roles of database {connection.info.dbname!r}:"
        f" {error.diag.message_primary}",
        checks=lines,
        hint="let a superuser run the lines above in this database, then try again",
    )


def _missing(connection: psycopg.Connection, names: RoleNames, *, by_operator: bool) -> Iterator[sql.Composed]:
    """The statements still to be run, by the operator or by somebody else on the operator's behalf."""
    owner, writer, application = map(sql.Identifier, (names.owner, names.writer, names.application))
    for name, login in ((names.owner, "NOLOGIN"), (names.writer, "NOLOGIN"), (names.application, "LOGIN")):
        if not role_exists(connection, name):
            yield sql.SQL("CREATE ROLE {} {} {}").format(sql.Identifier(name), sql.SQL(login), _PLAIN)
    for name in (names.owner, names.writer):
        yield from _operator_membership(connection, name, by_operator=by_operator)
    if _has_acl(connection, "public", "CREATE", _SCHEMA_ACL):  # it had up to PostgreSQL 14
        yield sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(SCHEMA))
    # The owner needs USAGE for the checks of foreign keys, which run as the table's owner.
    for name, right in ((names.owner, "USAGE"), (names.owner, "CREATE"), (names.writer, "USAGE")):
        if not _has_acl(connection, name, right, _SCHEMA_ACL):
            yield sql.SQL("GRANT {} ON SCHEMA {} TO {}").format(
                sql.SQL(right), sql.Identifier(SCHEMA), sql.Identifier(name)
            )
    if not _has_acl(connection, names.application, "CONNECT", _DATABASE_ACL):
        yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(connection.info.dbname), application)
    for letter, what, rights in (("r", "TABLES", TABLE_RIGHTS), ("S", "SEQUENCES", SEQUENCE_RIGHTS)):
        if not _has_default(connection, names, letter):
            yield sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {} TO {}").format(
                owner, sql.Identifier(SCHEMA), rights, sql.SQL(what), writer
            )


def _operator_membership(connection: psycopg.Connection, name: str, *, by_operator: bool) -> Iterator[sql.Composed]:
    """What lets the operator act as the role `name` and grant it; a superuser may anyway."""
    row = connection.execute(
        "SELECT rolname, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row is not None  # noqa: S101 - the role we are has a row
    operator, superuser, creates_roles = row
    if superuser:
        return
    there = role_exists(connection, name)
    modern = connection.info.server_version >= 160000
    # Who may create roles may grant them before 16, and has ADMIN on those it made since.
    admin = (
        _has_role(connection, operator, name, "MEMBER WITH ADMIN OPTION") if there else creates_roles and by_operator
    ) or (creates_roles and not modern)
    wanted = ("USAGE", "SET") if modern else ("USAGE",)
    if admin and there and all(_has_role(connection, operator, name, right) for right in wanted):
        return
    # Granting ADMIN to oneself is refused, so it is asked for only where it is missing.
    options = [*([] if admin else ["ADMIN TRUE"]), "INHERIT TRUE", "SET TRUE"]
    words = f" WITH {', '.join(options)}" if modern else ("" if admin else " WITH ADMIN OPTION")
    yield sql.SQL("GRANT {} TO {}{}").format(sql.Identifier(name), sql.Identifier(operator), sql.SQL(words))


_SCHEMA_ACL = "SELECT coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'public'"
_DATABASE_ACL = "SELECT coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()"


def _has_acl(connection: psycopg.Connection, role: str, right: str, acl: str) -> bool:
    """Whether the right is granted to the role itself: what PUBLIC has may be taken away at any time.

    `public` means PUBLIC; a role cannot have that name.
    """
    return _truth(
        connection,
        f"SELECT EXISTS (SELECT FROM aclexplode(({acl})) a LEFT JOIN pg_roles r ON r.oid = a.grantee"  # noqa: S608
        " WHERE coalesce(r.rolname, 'public') = %s AND a.privilege_type = %s)",
        (role, right),
    )


def _has_default(connection: psycopg.Connection, names: RoleNames, letter: str) -> bool:
    return _truth(
        connection,
        "SELECT EXISTS (SELECT FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole,"
        " aclexplode(d.defaclacl) a JOIN pg_roles w ON w.oid = a.grantee WHERE o.rolname = %s AND w.rolname = %s"
        " AND d.defaclnamespace = %s::regnamespace AND d.defaclobjtype = %s AND a.privilege_type = 'UPDATE')",
        (names.owner, names.writer, SCHEMA, letter),
    )


def _has_role(connection: psycopg.Connection, member: str, role: str, right: str) -> bool:
    return _truth(connection, "SELECT pg_has_role(%s, %s, %s)", (member, role, right))


def role_exists(connection: psycopg.Connection, role: str) -> bool:
    """Whether the server has that role."""
    return _truth(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", (role,))


def _truth(connection: psycopg.Connection, query: str, values: tuple[object, ...]) -> bool:
    row = connection.execute(query.encode(), values).fetchone()
    return bool(row and row[0])


def _lines(connection: psycopg.Connection, statements: Iterable[sql.Composed]) -> tuple[str, ...]:
    return tuple(f"{statement.as_string(connection)};" for statement in statements)
