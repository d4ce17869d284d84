"""Kill Bill's database: made, filled with its own DDL once, and asked whether Kill Bill really uses it.

Kill Bill's DDL begins each table with DROP TABLE IF EXISTS, with names such as users, invoices and payments, and a
second run of the bridge drops its domains with every column that uses them. So both are guarded by what is there, and
by the name of the database that the session is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.core.errors import KillBillError, PreflightError, TargetError
from nasmigrate.killbill.ddl import Ddl, statements
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.databases import NewDatabase, ensure_database

_EVENT_TRIGGER = "update_serial_to_bigint_oncreate"
_LOCK = 0x6E61736B  # "nask"
"""Key of the advisory lock under which the DDL is run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """What was done now; all False when everything was there. `tables` is how many the database has."""

    made_database: bool
    ran_bridge: bool
    ran_modules: bool
    tables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Kill Bill process that has written to this database. Times are UTC, as Kill Bill stores them."""

    name: str
    booted: datetime
    active: bool


def set_up_database(
    server: str, ddl: Ddl, *, password: str | None, database: str = "killbill", owner: str = "killbill"
) -> SetUp:
    """Make Kill Bill's database, its owner and its tables; what is there stays as it is.

    Args:
        server: conninfo of a superuser, to any database of the server (an event trigger takes one).
        ddl: of the Kill Bill that will run.
        password: of the owner, as whom Kill Bill connects.
        database: its name.
        owner: NOSUPERUSER, so that a wrong address cannot lead Kill Bill to other tables.

    Raises:
        PreflightError: the database holds something that is not Kill Bill's; nothing was run.
        KillBillError: the tables are not as the DDL says; nothing was committed.
        TargetError: Postgres refused.
    """
    made = ensure_database(server, NewDatabase(name=database, owner=owner, owner_logs_in=True), password=password)
    with connected(make_conninfo(server, dbname=database), purpose="nasmigrate set-up") as connection:
        connection.execute("SET search_path = public")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        _assert_database(connection, database)
        ready = _is_there(connection, "SELECT to_regclass('public.node_infos') IS NOT NULL")
        bridged = _is_there(
            connection, "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = %s)", (_EVENT_TRIGGER,)
        )
        if not ready:
            _refuse_other_tables(connection, database)
            if not bridged:
                connection.execute(ddl.bridge.encode())
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
            for _, text in ddl.modules:
                for statement in statements(text):
                    connection.execute(statement.encode())
            connection.execute("RESET ROLE")
            _prove(connection, ddl)
        elif not bridged:
            raise KillBillError(
                f"database {database!r} has Kill Bill's tables, but not its bridge (event trigger {_EVENT_TRIGGER})",
                hint="the tables were made without it, so their ids are 32 bits wide; make the database anew",
            )
        tables = _count_tables(connection)
        connection.commit()
    return SetUp(made_database=made, ran_bridge=not (ready or bridged), ran_modules=not ready, tables=tables)


def nodes(connection: psycopg.Connection) -> tuple[Node, ...]:
    """The Kill Bill processes that use this database, the last booted first; none = Kill Bill is not on Postgres.

    Kill Bill's health check is green on its embedded H2 database, too; a row here is the proof.
    """
    if not _is_there(connection, "SELECT to_regclass('public.node_infos') IS NOT NULL"):
        return ()
    rows = connection.execute(
        "SELECT node_name, boot_date, is_active FROM public.node_infos ORDER BY boot_date DESC"
    ).fetchall()
    return tuple(Node(name=name, booted=booted, active=bool(active)) for name, booted, active in rows)


def _assert_database(connection: psycopg.Connection, database: str) -> None:
    row = connection.execute("SELECT current_database()").fetchone()
    if row is None or row[0] != database:
        # A pooler, or a service file, led somewhere else.
        raise TargetError(f"asked for database {database!r}, but the session is in {row[0] if row else 'none'!r}")


def _refuse_other_tables(connection: psycopg.Connection, database: str) -> None:
    found = [
        name
        for (name,) in connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (SELECT FROM pg_depend d"
            " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
        )
    ]
    if found:
        raise PreflightError(
            f"database {database!r} holds {len(found)} tables that are not Kill Bill's; its DDL would drop"
            " those with names like its own",
            checks=[f"table {name}" for name in found[:20]],
            hint="give Kill Bill a database of its own; nothing was touched",
        )


def _prove(connection: psycopg.Connection, ddl: Ddl) -> None:
    """Every table is there, and the bridge made the ids 64 bits wide."""
    missing = [
        name
        for name in ddl.tables
        if not _is_there(connection, "SELECT to_regclass('public.' || quote_ident(%s)) IS NOT NULL", (name,))
    ]
    if missing:
        raise KillBillError(f"Kill Bill's DDL did not make {', '.join(missing[:5])}")
    narrow = connection.execute(
        "SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND attname = 'record_id'"
        " AND atttypid <> 'bigint'::regtype ORDER BY 1 LIMIT 1"
    ).fetchone()
    if narrow is not None:
        raise KillBillError(f"{narrow[0]}.record_id is not a bigint: the bridge's event trigger did not run")


def _count_tables(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchone()
    return int(row[0]) if row else 0


def _is_there(connection: psycopg.Connection, query: str, values: tuple[object, ...] = ()) -> bool:
    row = connection.execute(query.encode(), values).fetchone()
    return bool(row and row[0])
