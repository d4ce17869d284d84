"""Targets as they are found: each that cannot be used is refused before the first write, with what to do about it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg
import pytest
from data_samples import generate
from support import cases
from support.copies import copied, gates, verified
from support.judge import judge
from support.pipeline import failed_gates
from support.postgres import fresh_database
from support.processes import nasmigrate
from support.servers import Server, embedded_programs, folder_of, pgbouncer, postgres, standby_of

from nasmigrate.core.errors import CopyFailed, DiskFull, PreflightError, Standby, TargetError
from nasmigrate.postgres import connect as connect_module
from nasmigrate.postgres import preflight
from nasmigrate.postgres.connect import ServerFacts, check_server, connected
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.postgres.server_programs import server_account
from nasmigrate.workflows import load, space
from nasmigrate.workflows.state import naming_state


@pytest.fixture(scope="module")
def old() -> Iterator[Server]:
    """Debian's server, the oldest that is tested, for the whole module."""
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def crowded() -> Iterator[Server]:
    """A server with room for very few."""
    with postgres(
        settings={"max_connections": "8", "superuser_reserved_connections": "2", "max_wal_senders": "0"}
    ) as running:
        yield running


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A small source."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, at DATETIME, r REAL, b BLOB);"
            "INSERT INTO t VALUES (1, 'a', '2024-02-29 10:00:00', 0.1, x'00ff'), (2, 'é', NULL, 1e300, NULL);"
        )
    return tmp_path / "app.db"


def is_untouched(dsn: str) -> bool:
    """Nothing of ours is there."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname IN ('public', 'nasmigrate')"
        ).fetchone()
    return row == (0,)


# -- encodings and collations --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_another_encoding_is_refused(app: Path, old: Server, encoding: str) -> None:
    name = f"in_{encoding.lower()}"
    old.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    dsn = old.as_user("postgres", dbname=name)
    done = nasmigrate(app.parent, "copy", app.name, dsn)
    assert done.returncode == 6, done.stderr
    assert f"TARGET_ENCODING: database '{name}' is {encoding}" in done.stderr
    assert "ENCODING 'UTF8'" in done.stderr
    assert is_untouched(dsn)


@pytest.mark.parametrize(
    ("how", "collation", "noted"),
    [
        ("LOCALE 'C'", "libc: C", False),
        ("LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C.UTF-8'", "icu: de-u-co-phonebk", True),
    ],
)
def test_the_collation_is_recorded_and_text_sorts_as_in_sqlite(
    app: Path, old: Server, how: str, collation: str, noted: bool
) -> None:
    with closing(sqlite3.connect(app)) as connection, connection:
        connection.execute("CREATE TABLE words (w TEXT PRIMARY KEY)")
        connection.executemany("INSERT INTO words VALUES (?)", [(word,) for word in ("b", "Z", "ä", "a", "_", "É")])
        order = connection.execute("SELECT w FROM words ORDER BY w").fetchall()
    name = f"sorted_{'icu' if noted else 'c'}"
    old.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {how}")
    dsn = old.as_user("postgres", dbname=name)
    result = copied(app.parent, app, dsn)
    assert failed_gates(result) == []
    assert result.environment["collation"] == collation
    notes = [finding for finding in result.findings if finding.code == "TARGET_COLLATION"]
    assert [(note.severity, note.subject) for note in notes] == ([("note", name)] if noted else [])
    assert not noted or collation in notes[0].message
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT w FROM words ORDER BY w").fetchall() == order


# -- servers -------------------------------------------------------------------------------------------------------


def test_a_standby_is_refused(app: Path) -> None:
    with postgres(settings={"wal_level": "replica", "max_wal_senders": "4"}) as primary, standby_of(primary) as standby:
        done = nasmigrate(app.parent, "copy", app.name, standby.dsn)
        assert done.returncode == 8, done.stderr
        assert "read-only standby" in done.stderr
        assert "primary" in done.stderr
        with connected(standby.dsn) as connection, pytest.raises(Standby):
            preflight.check_may_create_databases(connection)


@pytest.mark.parametrize(("number", "refused"), [(130020, True), (140000, False), (180003, False)])
def test_a_server_that_is_too_old_is_refused(number: int, refused: bool) -> None:
    facts = ServerFacts(
        version=str(number // 10000), version_number=number, encoding="UTF8", collation="libc: C", database="d",
        user="u", in_recovery=False,
    )  # fmt: skip
    if not refused:
        check_server(facts)
        return
    with pytest.raises(PreflightError, match="TARGET_VERSION: the server is 13, at least 14 is needed") as caught:
        check_server(facts)
    assert caught.value.exit_code == 6


REPRESENTATIVE = (
    "T01-real-is-double", "T02-beyond-int4", "T09-decimal", "T15-infinity", "T17-negative-zero", "T24-boolean-domain",
    "T35-mixed-shapes", "T45-fine-fractions", "T49-nul-in-text", "T51-invalid-utf8", "T54-text-in-blob",
    "T63-json-as-written", "T66-rule-uuid-canonical", "T72-copy-specials", "T107-generated-columns",
    "T123-hostile-names", "T186-knex",
)  # fmt: skip


@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_the_cases_come_out_the_same_on_an_older_server(name: str, old: Server, tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    cases.build(name, source)
    settings = cases.CASES / name / "nasmigrate.toml"
    if settings.exists():
        shutil.copy(settings, tmp_path / "nasmigrate.toml")
    with fresh_database(old.dsn) as dsn:
        done = nasmigrate(tmp_path, "--json", "copy", source.name, dsn, "--round-trip")
        assert done.returncode == cases.load(name).exit, done.stdout + done.stderr
        assert '"status": "inconclusive"' not in done.stdout
        assert judge(source, dsn, cases.load(name).names).differences == []


def test_the_sample_is_proven_on_an_older_server(old: Server, tmp_path: Path) -> None:
    generate.generate(tmp_path / "app.db")
    with fresh_database(old.dsn) as dsn:
        result = copied(tmp_path, tmp_path / "app.db", dsn)
        assert set(gates(result).values()) == {"pass"}, result.gates
        assert result.environment["postgres"].startswith("15.")
        assert verified(tmp_path, tmp_path / "app.db", dsn).exit_code == 0


# -- connections ---------------------------------------------------------------------------------------------------


def test_fewer_free_connections_mean_fewer_at_work(app: Path, crowded: Server) -> None:
    with fresh_database(crowded.dsn) as dsn, ExitStack() as stack:
        # Of eight, one for each of ours and for the copy's own; one is left to work beside it.
        for _ in range(6):
            stack.enter_context(psycopg.connect(crowded.dsn))
        done = nasmigrate(app.parent, "copy", app.name, dsn)
        assert done.returncode == 0, done.stderr
        assert "1 connections free: fewer work at once" in done.stderr


def test_no_free_connection_is_refused_before_anything_is_done(app: Path, crowded: Server) -> None:
    with fresh_database(crowded.dsn) as dsn, ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(psycopg.connect(crowded.dsn))
        done = nasmigrate(app.parent, "copy", app.name, dsn)
        assert done.returncode == 6, done.stderr
        assert "TARGET_SLOTS: no connection is free" in done.stderr
        assert "max_connections" in done.stderr
        stack.enter_context(psycopg.connect(crowded.dsn))
        done = nasmigrate(app.parent, "copy", app.name, dsn)
        assert done.returncode == 6, done.stderr
        assert "TARGET_SLOTS: the server has no connection to give" in done.stderr
        stack.close()
        assert is_untouched(dsn)


@pytest.mark.parametrize("where", ["role", "database"])
def test_the_limit_of_a_role_or_a_database_counts(app: Path, old: Server, where: str) -> None:
    name = f"limited_by_{where}"
    limit = "CONNECTION LIMIT 1"
    old.run(
        f"CREATE ROLE {name} LOGIN {limit if where == 'role' else ''}",
        f"CREATE DATABASE {name} TEMPLATE template0 OWNER {name}",
        *([f"ALTER DATABASE {name} {limit}"] if where == "database" else []),
    )
    done = nasmigrate(app.parent, "copy", app.name, old.as_user(name, dbname=name))
    assert done.returncode == 6, done.stderr
    assert "TARGET_SLOTS" in done.stderr
    assert is_untouched(old.as_user("postgres", dbname=name))


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_loses_sessions_is_refused(app: Path, old: Server, mode: str) -> None:
    with fresh_database(old.dsn) as dsn, pgbouncer(old, mode) as port:
        done = nasmigrate(app.parent, "copy", app.name, f"{dsn} port={port}")
        assert done.returncode == 6, done.stderr
        assert "TARGET_POOLED" in done.stderr
        assert "server's own host and port" in done.stderr
        assert is_untouched(dsn)


def test_a_pooler_that_keeps_sessions_is_no_obstacle(app: Path, old: Server) -> None:
    with fresh_database(old.dsn) as dsn, pgbouncer(old, "session") as port:
        done = nasmigrate(app.parent, "copy", app.name, f"{dsn} port={port}")
        assert done.returncode == 0, done.stderr


# -- settings of a role --------------------------------------------------------------------------------------------

TIMEOUTS = {
    "statement_timeout": "'20ms'", "idle_in_transaction_session_timeout": "'20ms'", "idle_session_timeout": "'20ms'",
    "lock_timeout": "'1ms'",
}  # fmt: skip
HOSTILE = {
    "DateStyle": "'German, DMY'", "TimeZone": "'Asia/Kathmandu'", "extra_float_digits": "-15", "bytea_output": "escape",
    "IntervalStyle": "sql_standard", "client_encoding": "LATIN1", "standard_conforming_strings": "off",
    "transform_null_equals": "on", "quote_all_identifiers": "on", "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable", "search_path": "traps, pg_catalog", "row_security": "on",
    "client_min_messages": "debug1",
}  # fmt: skip


def role(server: Server, name: str, settings: dict[str, str]) -> str:
    """A role that owns a database of its name, with settings; the conninfo."""
    server.run(
        f"CREATE ROLE {name} LOGIN",
        f"CREATE DATABASE {name} TEMPLATE template0 OWNER {name}",
        *(f"ALTER ROLE {name} SET {setting} = {value}" for setting, value in settings.items()),
    )
    return server.as_user(name, dbname=name)


def test_timeouts_of_a_role_do_not_end_the_copy(old: Server, tmp_path: Path) -> None:
    generate.generate(tmp_path / "app.db")
    dsn = role(old, "hurried", TIMEOUTS)
    result = copied(tmp_path, tmp_path / "app.db", dsn)
    assert set(gates(result).values()) == {"pass"}, result.gates


def test_timeouts_that_only_newer_servers_know_neither(app: Path, server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE newest LOGIN SUPERUSER")
        try:
            connection.execute("ALTER ROLE newest SET transaction_timeout = '20ms'")
            with fresh_database(server.dsn) as dsn:
                result = copied(app.parent, app, f"{dsn} user=newest")
                assert failed_gates(result) == []
        finally:
            connection.execute("DROP ROLE newest")


def test_settings_of_a_role_change_nothing(old: Server, tmp_path: Path) -> None:
    """The outcome is the one on a server that nobody set anything on, to the fingerprint."""
    generate.generate(tmp_path / "app.db", variant="quirky")
    dsn = role(old, "hostile", HOSTILE)
    old.run(
        "CREATE SCHEMA traps",
        "CREATE FUNCTION traps.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "CREATE FUNCTION traps.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "GRANT USAGE ON SCHEMA traps TO PUBLIC",
        dbname="hostile",
    )
    with fresh_database(old.dsn) as plain:
        usual = copied(tmp_path, tmp_path / "app.db", plain)
    with pytest.raises(PreflightError, match="traps"):
        copied(tmp_path, tmp_path / "app.db", dsn)
    old.run("DROP SCHEMA traps CASCADE", dbname="hostile")
    result = copied(tmp_path, tmp_path / "app.db", dsn)
    assert failed_gates(result) == []
    assert result.fingerprint == usual.fingerprint
    assert verified(tmp_path, tmp_path / "app.db", dsn).fingerprint == usual.fingerprint
    assert judge(tmp_path / "app.db", old.as_user("postgres", dbname="hostile")).differences == []


def test_a_setting_that_the_server_refuses_ends_it(app: Path, old: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = role(old, "forbidden", {})
    monkeypatch.setattr(connect_module, "_SETTINGS", {**connect_module._SETTINGS, "log_statement": "none"})
    with pytest.raises(TargetError, match=r'refuses a session setting: permission denied.*"log_statement"') as caught:
        copied(app.parent, app, dsn)
    assert caught.value.exit_code == 8


# -- rights --------------------------------------------------------------------------------------------------------


def test_missing_rights_are_named_with_the_grant(app: Path, old: Server) -> None:
    old.run("CREATE ROLE guest LOGIN", "CREATE DATABASE theirs TEMPLATE template0")
    dsn = old.as_user("guest", dbname="theirs")
    done = nasmigrate(app.parent, "copy", app.name, dsn)
    assert done.returncode == 6, done.stderr
    grants = ('GRANT CREATE ON DATABASE "theirs" TO "guest"', 'GRANT CREATE, USAGE ON SCHEMA public TO "guest"')
    for grant in grants:
        assert grant in done.stderr
    assert is_untouched(old.as_user("postgres", dbname="theirs"))
    old.run(*grants, dbname="theirs")
    done = nasmigrate(app.parent, "copy", app.name, dsn)
    assert done.returncode == 0, done.stderr


def test_doctor_tells_all_of_it_beforehand(app: Path, old: Server) -> None:
    old.run("CREATE ROLE patient LOGIN", "CREATE DATABASE clinic TEMPLATE template0")
    (app.parent / "nasmigrate.toml").write_text(
        f"[source]\npath = 'app.db'\n[target]\ndsn = \"{old.as_user('patient', dbname='clinic')}\"\n"
    )
    told = nasmigrate(app.parent, "doctor")
    assert told.returncode == 6, told.stdout
    assert told.stdout.count("TARGET_RIGHTS") == 2
    assert 'GRANT CREATE ON DATABASE "clinic" TO "patient"' in told.stdout
    old.run("ALTER DATABASE clinic OWNER TO patient")
    old.run("ALTER SCHEMA public OWNER TO patient", dbname="clinic")
    told = nasmigrate(app.parent, "doctor")
    assert told.returncode == 0, told.stdout
    assert "connections are free" in told.stdout


def test_a_database_without_the_schema_public(app: Path, old: Server) -> None:
    old.run("CREATE ROLE orderly LOGIN", "CREATE DATABASE orderly TEMPLATE template0 OWNER orderly")
    old.run("DROP SCHEMA public", dbname="orderly")
    done = nasmigrate(app.parent, "copy", app.name, old.as_user("orderly", dbname="orderly"))
    assert done.returncode == 6, done.stderr
    assert 'CREATE SCHEMA public AUTHORIZATION "orderly"' in done.stderr


def test_a_rehearsal_needs_a_role_that_may_create_databases(app: Path, old: Server) -> None:
    old.run("CREATE ROLE modest LOGIN")
    done = nasmigrate(app.parent, "rehearse", app.name, "--target", old.as_user("modest"))
    assert done.returncode == 6, done.stderr
    assert 'ALTER ROLE "modest" CREATEDB' in done.stderr


# -- room ----------------------------------------------------------------------------------------------------------


def test_too_little_room_at_the_server_is_seen_before(app: Path, old: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh_database(old.dsn) as dsn, connected(dsn) as connection, pytest.raises(PreflightError) as caught:
        preflight.check_target(connection, dsn, source_bytes=10**15)
    assert "DISK_SPACE" in caught.value.message
    assert str(old.data) in caught.value.message


def test_what_two_want_of_one_disk_is_added_up(old: Server, small_disk: Path) -> None:
    """3 x a quarter of what is free fits at the server; with 3 x more beside it on the same disk it does not."""
    size = shutil.disk_usage(old.data).free // 4

    def checked(beside: Path) -> str:
        with fresh_database(old.dsn) as dsn, connected(dsn) as connection:
            try:
                preflight.check_target(
                    connection, dsn, source_bytes=size, beside=preflight.Beside(folder=beside, factor=space.DISK_FACTOR)
                )
            except PreflightError as error:
                return error.message
        return ""

    assert checked(small_disk) == ""
    message = checked(old.data)
    assert "DISK_SPACE" in message
    assert f"3 x the source, and 3 x for {old.data} on the same disk" in message


def test_too_little_room_here_is_seen_before(app: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "DISK_FACTOR", 10**12)
    with pytest.raises(PreflightError, match=r"DISK_SPACE.*wanted") as caught:
        copied(app.parent, app, database)
    assert caught.value.exit_code == 6
    assert is_untouched(database)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of its own for the server's tables, with little room."""
    with folder_of(server_account()) as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=18m,mode=0777", "tmpfs", str(folder)], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def cramped(old: Server, small_disk: Path) -> Iterator[str]:
    """A database on that disk: conninfo of its superuser."""
    place = small_disk / "tables"
    place.mkdir()
    shutil.chown(place, server_account().uid or -1)
    old.run(
        f"CREATE TABLESPACE small LOCATION '{place}'",
        "CREATE DATABASE cramped TEMPLATE template0 TABLESPACE small",
        # It changes catalogues now and then; the next connection has to write a file, and a full disk refuses it.
        "ALTER SYSTEM SET autovacuum = off",
        "SELECT pg_reload_conf()",
    )
    # The database's own pages are on the disk before it is full, and so is the cache of a first connection.
    old.run("SELECT 1", "CHECKPOINT", dbname="cramped")
    try:
        yield old.as_user("postgres", dbname="cramped")
    finally:
        old.run(
            "DROP DATABASE cramped WITH (FORCE)",
            "DROP TABLESPACE small",
            "ALTER SYSTEM RESET autovacuum",
            "SELECT pg_reload_conf()",
        )


def test_a_disk_that_runs_full_in_the_middle_ends_with_the_state(
    cramped: str, small_disk: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, randomblob(2000))", ((n,) for n in range(10_000)))
    with pytest.raises(DiskFull) as caught:
        copied(tmp_path, tmp_path / "app.db", cramped, chunk_rows=500)
    assert caught.value.exit_code == 9
    assert "of 10,000 rows, whole chunks of 1 of 1 tables" in caught.value.message
    assert "--resume" in (caught.value.hint or "")
    # With room it goes on from there, and is proven.
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    done = nasmigrate(tmp_path, "copy", "app.db", cramped, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_full_disk_that_lets_nobody_in_is_said(cramped: str, small_disk: Path) -> None:
    """A connection that cannot write its cache of the catalogues is refused."""
    for cache in small_disk.rglob("pg_internal.init"):
        cache.unlink()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        with pytest.raises(DiskFull) as caught, naming_state(cramped):
            raise DiskFull("no room")
        assert "the target cannot be asked what it holds" in caught.value.message
        assert "could not write init file" in caught.value.message
        assert "--resume" in (caught.value.hint or "")
    finally:
        filler.unlink()


# -- one bad row ---------------------------------------------------------------------------------------------------

TRAPS = {
    "a check": ("ALTER TABLE t ADD CONSTRAINT odd CHECK (v <> 'bad')", "odd"),
    "a unique index": ("CREATE UNIQUE INDEX once ON t (v) WHERE v = 'bad'", "once"),
    "NOT NULL": ("ALTER TABLE t ALTER n SET NOT NULL", "t.n"),
    "a trigger": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 'bad' THEN"
        " RAISE 'not this one'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER no AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()",
        "not this one",
    ),
    "an index row too large": ("CREATE INDEX wide ON t (w)", "index row"),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without one"])
def test_one_row_that_postgres_refuses_is_named(
    tmp_path: Path, database: str, trap: str, keyed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something in the target that the plan does not know refuses row 777; nothing of the table is lost for it."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute(f"CREATE TABLE t (id INTEGER {'PRIMARY KEY' if keyed else ''}, v TEXT, n INTEGER, w TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, 'ok', 1, 'w')", ((n,) for n in range(1, 2001)))
        connection.execute("INSERT INTO t VALUES (2001, 'bad', 1, 'w')")
        wide = "".join(chr(33 + n * 7919 % 90) + chr(200 + n * 104729 % 20000) for n in range(9000))
        connection.execute("UPDATE t SET v = 'bad', n = NULL, w = ? WHERE id = 777", (wide,))
        if trap == "a unique index":
            connection.execute("UPDATE t SET v = 'bad' WHERE id = 5")
    statements, said = TRAPS[trap]
    build = load.engine_of

    def with_trap(run: object, conninfo: str, source: object) -> object:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statements.encode())
        return build(run, conninfo, source)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "engine_of", with_trap)
    with pytest.raises(CopyFailed) as caught:
        copied(tmp_path, tmp_path / "app.db", database, chunk_rows=300 if keyed else 50_000)
    assert caught.value.exit_code == 9
    assert ("id=777" if keyed else "row 777 as the file has them") in caught.value.message
    assert said in caught.value.message
    assert "whole chunks" in caught.value.message
    with psycopg.connect(database) as connection:
        kept = connection.execute("SELECT count(*) FROM t").fetchone()
        ledger = connection.execute("SELECT coalesce(sum(rows), 0) FROM nasmigrate.chunk").fetchone()
    assert kept == ledger


def test_one_row_that_existing_tables_refuse_is_named_and_they_are_as_they_were(tmp_path: Path, database: str) -> None:
    """A seed that was there, chunks that went in before it, and the locks are as before the copy."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, 'ok')", ((n,) for n in range(1, 2001)))
        connection.execute("UPDATE t SET v = 'bad' WHERE id = 777")
    (tmp_path / "nasmigrate.toml").write_text('[existing.seeds]\nt = "replace"\n[transfer]\nchunk_rows = 300\n')
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, v text, CONSTRAINT odd CHECK (v <> 'bad'))")
        connection.execute("INSERT INTO t VALUES (777, 'a seed')")
        done = nasmigrate(tmp_path, "copy", "app.db", database, "--into-existing")
        assert done.returncode == 12, done.stderr
        assert "Postgres refused t at id=777" in done.stderr
        assert "odd" in done.stderr
        assert connection.execute("SELECT * FROM t").fetchall() == [(777, "a seed")]


# -- after the load ------------------------------------------------------------------------------------------------


def test_every_table_has_statistics_and_a_lost_index_is_seen(tmp_path: Path, database: str) -> None:
    rows = generate.generate(tmp_path / "app.db")
    assert copied(tmp_path, tmp_path / "app.db", database).exit_code == 0
    with psycopg.connect(database, autocommit=True) as connection:
        estimates = dict(
            connection.execute(
                "SELECT relname, reltuples::bigint FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind = 'r'"
            ).fetchall()
        )
        assert estimates == rows
        analysed = connection.execute("SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'public'").fetchall()
        assert rows.keys() <= {name for (name,) in analysed}
        index = connection.execute(
            "SELECT indexname FROM pg_indexes i WHERE schemaname = 'public' AND NOT EXISTS"
            " (SELECT FROM pg_constraint WHERE conname = indexname) ORDER BY 1 LIMIT 1"
        ).fetchone()
        assert index is not None
        connection.execute(f'DROP INDEX public."{index[0]}"'.encode())
    result = verified(tmp_path, tmp_path / "app.db", database)
    assert (result.exit_code, gates(result)["objects"]) == (3, "fail")
    assert index[0] in str(result.differences)


def test_the_newest_server_is_the_embedded_one() -> None:
    """Cases run on it everywhere else; here on the oldest."""
    assert (embedded_programs() / "postgres").is_file()
