"""Kill Bill's database is made from its own WAR, once, and never where anything else lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.debian_server import debian_server
from support.small_war import BRIDGE, write_war

from nasmigrate.core.errors import KillBillError, PreflightError
from nasmigrate.killbill.database import nodes, set_up_database
from nasmigrate.killbill.ddl import MODULES, Ddl, read_ddl, statements
from nasmigrate.postgres.databases import NewDatabase, ensure_database
from nasmigrate.postgres.embedded import EmbeddedServer


@pytest.fixture
def ddl(tmp_path: Path) -> Ddl:
    return read_ddl(write_war(tmp_path / "killbill.war"))


@pytest.fixture(scope="module")
def older() -> Iterator[str]:
    with debian_server() as conninfo:
        yield conninfo


@pytest.fixture
def name(server: EmbeddedServer) -> Iterator[str]:
    """A name for a database and its owner on the embedded server; both are gone afterwards."""
    name = f"kb_{uuid4().hex[:12]}"
    yield name
    with closing(psycopg.connect(server.dsn, autocommit=True)) as connection:
        for what in ("DATABASE", "ROLE"):
            connection.execute(sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(what), sql.Identifier(name)))


def ask(dsn: str, database: str, query: str) -> list[tuple[object, ...]]:
    with closing(psycopg.connect(make_conninfo(dsn, dbname=database), autocommit=True)) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_everything_is_made_as_its_owner_once(server: EmbeddedServer, name: str, ddl: Ddl) -> None:
    first = set_up_database(server.dsn, ddl, password="s3cret", database=name, owner=name)
    assert (first.made_database, first.ran_bridge, first.ran_modules, first.tables) == (
        True,
        True,
        True,
        len(ddl.tables),
    )
    ask(server.dsn, name, "INSERT INTO users (created_date) VALUES (now())")
    again = set_up_database(server.dsn, ddl, password="s3cret", database=name, owner=name)
    assert (again.made_database, again.ran_bridge, again.ran_modules, again.tables) == (
        False,
        False,
        False,
        first.tables,
    )
    assert ask(server.dsn, name, "SELECT count(*) FROM users") == [(1,)]
    assert ask(
        server.dsn,
        name,
        "SELECT DISTINCT pg_get_userbyid(relowner), atttypid::regtype::text FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid WHERE relkind = 'r' AND attname = 'record_id'"
        " AND relnamespace = 'public'::regnamespace",
    ) == [(name, "bigint")]


def test_the_database_is_closed_to_others_and_sorts_by_code_point(server: EmbeddedServer, name: str) -> None:
    assert ensure_database(server.dsn, NewDatabase(name=name, owner=name, owner_logs_in=True), password="x")
    assert not ensure_database(server.dsn, NewDatabase(name=name, owner=name, owner_logs_in=True), password="y")
    assert ask(
        server.dsn,
        name,
        "SELECT datlocprovider, datlocale, has_database_privilege('public', datname, 'CONNECT'),"
        " has_database_privilege('public', datname, 'TEMP') FROM pg_database WHERE datname = current_database()",
    ) == [("b", "C.UTF-8", False, False)]


def test_an_older_server_gets_the_c_locale(older: str, ddl: Ddl) -> None:
    done = set_up_database(older, ddl, password="x")
    assert done.ran_bridge
    assert ask(older, "killbill", "SELECT datcollate FROM pg_database WHERE datname = 'killbill'") == [("C",)]
    assert ask(older, "killbill", "SELECT has_schema_privilege('public', 'public', 'CREATE')") == [(False,)]


def test_another_applications_tables_are_never_dropped(server: EmbeddedServer, name: str, ddl: Ddl) -> None:
    """Kill Bill's DDL has DROP TABLE IF EXISTS users, invoices, payments: the marketplace's own names."""
    ensure_database(server.dsn, NewDatabase(name=name, owner=name))
    ask(server.dsn, name, "CREATE TABLE invoices AS SELECT 1 AS mine")
    with pytest.raises(PreflightError) as raised:
        set_up_database(server.dsn, ddl, password="x", database=name, owner=name)
    assert raised.value.checks == ("table invoices",)
    assert ask(server.dsn, name, "SELECT mine FROM invoices") == [(1,)]


def test_a_crash_between_bridge_and_tables_is_gone_on_from(server: EmbeddedServer, name: str, ddl: Ddl) -> None:
    ensure_database(server.dsn, NewDatabase(name=name, owner=name))
    ask(server.dsn, name, ddl.bridge)
    done = set_up_database(server.dsn, ddl, password="x", database=name, owner=name)
    assert (done.ran_bridge, done.ran_modules) == (False, True)


def test_tables_without_the_bridge_are_refused(server: EmbeddedServer, name: str, ddl: Ddl) -> None:
    ensure_database(server.dsn, NewDatabase(name=name, owner=name))
    ask(server.dsn, name, "CREATE TABLE node_infos (record_id serial)")
    with pytest.raises(KillBillError, match="not its bridge"):
        set_up_database(server.dsn, ddl, password="x", database=name, owner=name)


def test_a_bridge_that_does_nothing_is_caught_before_the_commit(
    server: EmbeddedServer, name: str, tmp_path: Path
) -> None:
    harmless = BRIDGE.replace("AS $$\nDECLARE", "AS $$ BEGIN END $$;/*").replace(
        "END\n$$;\nCREATE EVENT", "*/CREATE EVENT"
    )
    ddl = read_ddl(write_war(tmp_path / "other.war", bridge=harmless))
    with pytest.raises(KillBillError, match="is not a bigint"):
        set_up_database(server.dsn, ddl, password="x", database=name, owner=name)
    assert ask(server.dsn, name, "SELECT to_regclass('node_infos')") == [(None,)]


def test_an_owner_who_is_a_superuser_and_a_database_of_another_are_refused(server: EmbeddedServer, name: str) -> None:
    with pytest.raises(PreflightError, match="is a superuser"):
        ensure_database(server.dsn, NewDatabase(name=name, owner="postgres"))
    ensure_database(server.dsn, NewDatabase(name=name, owner=name))
    with pytest.raises(PreflightError) as raised:
        ensure_database(server.dsn, NewDatabase(name=name, owner="pg_monitor"))
    assert f"belongs to role '{name}'" in raised.value.checks[0]


def test_nodes_are_the_proof_that_kill_bill_is_on_postgres(server: EmbeddedServer, name: str, ddl: Ddl) -> None:
    ensure_database(server.dsn, NewDatabase(name=name, owner=name))
    with closing(psycopg.connect(make_conninfo(server.dsn, dbname=name), autocommit=True)) as connection:
        assert nodes(connection) == ()
        set_up_database(server.dsn, ddl, password="x", database=name, owner=name)
        assert nodes(connection) == ()
        connection.execute("INSERT INTO node_infos (node_name, boot_date) VALUES ('nas', '2026-01-02 03:04:05')")
        (node,) = nodes(connection)
    assert (node.name, node.booted, node.active) == ("nas", datetime(2026, 1, 2, 3, 4, 5), True)


def test_the_ddl_is_read_from_the_war_or_its_folder(tmp_path: Path) -> None:
    packed = read_ddl(write_war(tmp_path / "killbill.war"))
    assert packed == read_ddl(write_war(tmp_path / "ROOT", unpacked=True))
    assert packed.version == "0.22.26"
    assert [module for module, _ in packed.modules] == list(MODULES)
    assert {"accounts", "invoices", "node_infos", "users"} < set(packed.tables)
    assert len(packed.sha256) == 64


def test_what_is_no_war_of_kill_bill_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.war").write_text("no archive")
    for path, said in (
        (tmp_path / "text.war", "cannot be read as a WAR"),
        (tmp_path / "nowhere.war", "cannot be read as a WAR"),
        (write_war(tmp_path / "part.war", leave_out="util"), "no WEB-INF/lib/killbill-util"),
    ):
        with pytest.raises(KillBillError, match=said):
            read_ddl(path)


def test_statements_end_at_a_semicolon_outside_quotes_and_comments() -> None:
    text = """/* a; */; SELECT ';', ";" -- c;
    ; CREATE FUNCTION f() AS $x$ a; $y$ b; $x$; DO $$ ; $$; 1-1/2 ;"""
    assert [" ".join(statement.split()) for statement in statements(text)] == [
        """SELECT ';', ";" -- c;""",
        "CREATE FUNCTION f() AS $x$ a; $y$ b; $x$",
        "DO $$ ; $$",
        "1-1/2",
    ]
