"""Databases with an owner of their own, made idempotently, closed to every role but those that are let in.

Init scripts of a container run only on an empty data directory, and a failed one leaves half of its work; so roles and
databases are made from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.core.errors import PreflightError
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.roles import password_statement


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDatabase:
    """What a database is to be: its owner, and whether that role may log in (then it needs a password)."""

    name: str
    owner: str
    owner_logs_in: bool = False


def ensure_database(server: str, wanted: NewDatabase, *, password: str | None = None) -> bool:
    """Make the database and its owner where they are not there; close it to PUBLIC. Repeatable.

    New ones are UTF8 and sort by code point as SQLite's BINARY does: from PostgreSQL 17 on with the builtin locale
    C.UTF-8, which no update of the C library changes; before that with C.

    Args:
        server: conninfo of a superuser, to any database of the server.
        wanted: what it is to be.
        password: of an owner who logs in. Set each time, as a SCRAM verifier, so that the file with the secret is what
            counts, not the day the role was made.

    Returns:
        Whether the database was made now.

    Raises:
        PreflightError: it is there, but is not UTF8 or belongs to another role; or the owner is a superuser.
        TargetError: Postgres refused.
    """
    with connected(server, autocommit=True, purpose="nasmigrate set-up") as connection:
        _ensure_owner(connection, wanted, password)
        row = connection.execute(
            "SELECT pg_encoding_to_char(encoding), pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s",
            (wanted.name,),
        ).fetchone()
        if row is not None:
            _check(wanted, *row)
        else:
            connection.execute(_create(connection, wanted))
        # Every role may connect to every database by default, Kill Bill's to the marketplace's.
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(wanted.name)))
    with connected(make_conninfo(server, dbname=wanted.name), autocommit=True, purpose="nasmigrate set-up") as inside:
        inside.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # it had that up to PostgreSQL 14
        inside.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(sql.Identifier(wanted.owner)))
    return row is None


def _ensure_owner(connection: psycopg.Connection, wanted: NewDatabase, password: str | None) -> None:
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (wanted.owner,)).fetchone()
    if row is None:
        connection.execute(
            sql.SQL("CREATE ROLE {} {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS").format(
                sql.Identifier(wanted.owner), sql.SQL("LOGIN" if wanted.owner_logs_in else "NOLOGIN")
            )
        )
    elif row[0]:
        raise PreflightError(
            f"role {wanted.owner!r}, which is to own database {wanted.name!r}, is a superuser",
            hint="one wrong address would let it drop another database's tables; use a role of its own",
        )
    if wanted.owner_logs_in and password is not None:
        connection.execute(password_statement(connection, wanted.owner, password))


def _create(connection: psycopg.Connection, wanted: NewDatabase) -> sql.Composed:
    locale = (
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'"
        if connection.info.server_version >= 170000
        else "LOCALE 'C'"
    )
    return sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' {}").format(
        sql.Identifier(wanted.name), sql.Identifier(wanted.owner), sql.SQL(locale)
    )


def _check(wanted: NewDatabase, encoding: str, owner: str) -> None:
    checks = []
    if encoding != "UTF8":
        checks.append(f"TARGET_ENCODING: database {wanted.name!r} is {encoding}, it must be UTF8")
    if owner != wanted.owner:
        checks.append(f"database {wanted.name!r} belongs to role {owner!r}, not to {wanted.owner!r}")
    if checks:
        raise PreflightError(
            f"database {wanted.name!r} is there, but is not as it must be",
            checks=checks,
            hint="give another name, or ALTER DATABASE … OWNER TO …; nothing was changed",
        )
