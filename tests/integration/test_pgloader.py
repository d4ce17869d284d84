"""`--engine pgloader` with the real pgloader: what it loads is proven, and what it gets wrong is never a success."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from data_samples import generate
from support import cases
from support.copies import gates
from support.judge import judge
from support.pipeline import failed_gates
from support.postgres import fresh_database
from support.processes import nasmigrate, nasmigrate_signalled, wait_until_alone
from support.servers import postgres

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import ToolFailed, ToolLied
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.transfer.pgloader import LIMITS, engine
from nasmigrate.workflows.copy import copy

ROWS = 60_000


def copied(folder: Path, database: str, *, resume: bool = False, engine: str = "pgloader") -> Result:
    """A copy of `app.db` in the folder, by its settings."""
    loaded = load_config(folder, environ={}, flags={"transfer.engine": engine})
    context = Context(config=loaded.config, base=folder, reporter=Silent(), show_values=True)
    target = Target(conninfo=database, display="the target")
    return copy(context, folder / "app.db", target, round_trip=True, resume=resume)


def rows_of(database: str, table: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM public.{table}".encode()).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything goes through pgloader, what it cannot carry too."""
    monkeypatch.setattr(engine, "limits_of", lambda *_: [])


# -- the clean sample ----------------------------------------------------------------------------------------------


def test_the_clean_sample_arrives_and_is_proven(tmp_path: Path, database: str) -> None:
    rows = generate.generate(tmp_path / "app.db")
    result = copied(tmp_path, database)
    assert set(gates(result).values()) == {"pass"}, result.gates
    assert result.exit_code == 0
    assert result.environment["engine"].endswith(f"carried {len(rows)} tables")
    assert judge(tmp_path / "app.db", database).differences == []
    assert result.run_directory is not None
    left = {path.name for path in Path(result.run_directory).iterdir()}
    assert left >= {"pgloader.load", "pgloader.log", "pgloader.csv", "pgloader.out"}
    assert "pgloader.db" not in left
    for path in Path(result.run_directory).glob("pgloader.*"):
        assert path.stat().st_mode & 0o077 == 0, path
    # As after any copy: the ledger is there, and verify needs no more.
    again = nasmigrate(tmp_path, "verify", "app.db", database, "--round-trip")
    assert again.returncode == 0, again.stdout + again.stderr


# -- what it cannot carry ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """A source that a line of the capability table is about."""

    limit: str
    script: str
    settings: str = ""


NAMES = "a name with other characters than letters, digits, space and _ $ -"
BEYOND = (
    Beyond(limit="NUL in text", script="CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT);"
           "INSERT INTO t VALUES (1, 'a'), (2, char(97, 0, 98))"),
    Beyond(limit="text that is not UTF-8", script="CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT);"
           "INSERT INTO t VALUES (1, 'a'), (2, CAST(x'ff41' AS TEXT)), (3, 'b')"),
    Beyond(limit="text in bytea", script="CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);"
           "INSERT INTO t VALUES (1, x'00ff'), (2, 'aGVsbG8=')"),
    Beyond(limit="a number in bytea", script="CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);"
           "INSERT INTO t VALUES (1, x'00ff'), (2, 7)"),
    Beyond(limit="a REAL in text", script="CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
           "INSERT INTO t VALUES (1, 'a'), (2, 1.5)"),
    Beyond(limit="a REAL in numeric", script="CREATE TABLE t (id INTEGER PRIMARY KEY, n DECIMAL(10, 2));"
           "INSERT INTO t VALUES (1, 3), (2, 0.0000001)"),
    Beyond(limit="infinity", script="CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL);"
           "INSERT INTO t VALUES (1, 1.5), (2, 9e999)"),
    Beyond(limit="a mapping rule", script="CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER);"
           "INSERT INTO t VALUES (1, 1704067200000)", settings='[columns."t.at"]\nrule = "epoch-ms"\n'),
    Beyond(limit="a generated column that Postgres does not compute", script="CREATE TABLE t (id INTEGER PRIMARY KEY,"
           " a INTEGER, b TEXT AS (hex(a)) STORED); INSERT INTO t (id, a) VALUES (1, 5)"),
    Beyond(limit="rows that are set aside", script="CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);"
           "CREATE TABLE t (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p); INSERT INTO t VALUES (1, 1), (2, 7)",
           settings='[columns."t.p"]\nrule = "orphans=quarantine"\n'),
    Beyond(limit="another name in Postgres", script="CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);"
           "INSERT INTO t VALUES (1, 'x')", settings='[names.columns]\n"t.a" = "b"\n'),
    Beyond(limit=NAMES, script='CREATE TABLE "it\'s" (id INTEGER PRIMARY KEY, s TEXT);'
           """INSERT INTO "it's" VALUES (1, 'a')"""),
)  # fmt: skip


def test_each_line_of_the_table_is_shown() -> None:
    assert {beyond.limit for beyond in BEYOND} == {limit.name for limit in LIMITS}


@pytest.fixture(params=BEYOND, ids=lambda beyond: beyond.limit)
def beyond(request: pytest.FixtureRequest, tmp_path: Path) -> Beyond:
    """A line's source, as `app.db` of the test's folder."""
    chosen: Beyond = request.param
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(chosen.script)
    (tmp_path / "nasmigrate.toml").write_text(chosen.settings)
    return chosen


def test_what_it_cannot_carry_goes_the_native_way(beyond: Beyond, tmp_path: Path, database: str) -> None:
    result = copied(tmp_path, database)
    assert failed_gates(result) == []
    assert beyond.limit in result.environment["engine"]
    if "[names" not in beyond.settings:  # the judge looks for the source's names
        assert judge(tmp_path / "app.db", database).differences == []


@pytest.mark.usefixtures("without_limits")
def test_it_truly_cannot_carry_it(beyond: Beyond, tmp_path: Path, database: str) -> None:
    """The table is not wider than need be; and where it were too narrow, the proof would say so all the same."""
    with pytest.raises((ToolLied, ToolFailed)) as caught:
        copied(tmp_path, database)
    assert int(caught.value.exit_code) == 10
    if isinstance(caught.value, ToolLied):
        assert " id=" in caught.value.message
    # The tables it had are emptied and copied the native way.
    assert failed_gates(copied(tmp_path, database, resume=True, engine="native")) == []


# -- twenty classes of cases ---------------------------------------------------------------------------------------

CLASSES = (
    "T01-real-is-double", "T02-beyond-int4", "T04-text-in-integer", "T05-blob-in-number", "T09-decimal",
    "T15-infinity", "T17-negative-zero", "T18-denormals", "T20-beyond-2-53", "T24-boolean-domain",
    "T33-rule-epoch-ms", "T36-mixed-classes", "T37-one-offset", "T45-fine-fractions", "T47-times",
    "T49-nul-in-text", "T51-invalid-utf8", "T53-utf-16-file", "T54-text-in-blob", "T56-blob-in-text",
    "T60-no-type", "T63-json-as-written", "T66-uuid-forms", "T72-copy-specials", "T182-prisma", "T186-knex",
)  # fmt: skip


@pytest.mark.usefixtures("without_limits")
@pytest.mark.parametrize("name", CLASSES)
def test_no_class_of_cases_ends_well_with_other_data(name: str, tmp_path: Path, database: str) -> None:
    """Whatever pgloader is given, also what the table would keep from it: it comes out equal, or not with 0."""
    cases.build(name, tmp_path / "app.db")
    settings = cases.CASES / name / "nasmigrate.toml"
    if settings.exists():
        shutil.copy(settings, tmp_path / "nasmigrate.toml")
    try:
        result = copied(tmp_path, database)
    except (ToolLied, ToolFailed):
        return
    assert failed_gates(result) == []
    assert judge(tmp_path / "app.db", database).differences == []


# -- the program ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with a small source."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');"
        )
    return tmp_path


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called pgloader, alone in front of the others on PATH."""
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "pgloader"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


SAYS_VERSION = """[ "$1" = --version ] && { echo 'pgloader version "3.6.9"'; exit 0; }"""


def test_its_absence_is_one_clear_error(small: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(small))
    done = nasmigrate(small, "copy", "app.db", database, "--engine", "pgloader")
    assert done.returncode == 10
    assert "pgloader is not on PATH" in done.stderr
    assert "--engine native" in done.stderr
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'nasmigrate'").fetchone() == (0,)


def test_it_does_not_go_into_existing_tables(small: Path, database: str) -> None:
    """They are somebody else's, and may not be emptied when it failed."""
    done = nasmigrate(small, "copy", "app.db", database, "--into-existing", "--engine", "pgloader")
    assert done.returncode == 2
    assert "--engine native" in done.stderr


@pytest.mark.parametrize("says", ['pgloader version "4.0.1"', "nothing of the kind", 'pgloader version "3.5.2"'])
def test_another_version_is_refused(small: Path, database: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(small, f"echo '{says}'", monkeypatch)
    done = nasmigrate(small, "copy", "app.db", database, "--engine", "pgloader")
    assert done.returncode == 10
    assert "3.6 is needed" in done.stderr


def test_one_that_does_nothing_and_ends_with_0_has_lied(
    small: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stand_in(small, f"{SAYS_VERSION}\nexit 0", patch)
        done = nasmigrate(small, "copy", "app.db", database, "--engine", "pgloader")
    assert done.returncode == 10
    assert "missing row t id=1; missing row t id=2" in done.stderr
    assert "NM1004" in done.stderr
    resumed = nasmigrate(small, "copy", "app.db", database, "--resume", "--engine", "native")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert rows_of(database, "t") == 2


def test_one_that_fails_is_named_with_its_code(small: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stand_in(small, f"{SAYS_VERSION}\necho 'FATAL it broke on \"secret value\"'; exit 7", patch)
        done = nasmigrate(small, "copy", "app.db", database, "--engine", "pgloader")
    assert done.returncode == 10
    assert "ended with 7" in done.stderr
    assert "it broke on" in done.stderr
    assert "secret value" not in done.stderr
    resumed = nasmigrate(small, "copy", "app.db", database, "--resume", "--engine", "pgloader")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr


# -- in the middle of its work -------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder with a source that keeps pgloader busy for seconds."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"value {n} " * 40) for n in range(ROWS)))
        connection.commit()
    return tmp_path


def pgloaders_in(folder: Path) -> list[int]:
    """Processes of pgloader that work below the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or (entry / "exe").readlink().name != "pgloader":
                continue
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def loading(folder: Path) -> Callable[[], bool]:
    """Whether pgloader is at its work: it has opened the database and copies."""

    def ready() -> bool:
        logs = list((folder / ".nasmigrate" / "runs").glob("*/pgloader.out"))
        return bool(logs) and "Migrating into" in logs[-1].read_text(errors="replace")

    return ready


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_ends_with_us_and_is_begun_anew(large: Path, database: str, number: signal.Signals) -> None:
    words = ("copy", "app.db", database, "--engine", "pgloader")
    code, errors = nasmigrate_signalled(large, words, number, loading(large), delay=0.3)
    limit = time.monotonic() + 20
    while pgloaders_in(large):
        assert time.monotonic() < limit, "pgloader outlives the command"
        time.sleep(0.05)
    if number is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130, errors
        assert "--resume" in errors
        assert "Traceback" not in errors
    with psycopg.connect(database, autocommit=True) as watcher:
        wait_until_alone(watcher)
        assert watcher.execute("SELECT table_name FROM nasmigrate.loading").fetchall() == [("t",)]
    done = nasmigrate(large, "copy", "app.db", database, "--resume", "--engine", "pgloader")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_of(database, "t") == ROWS


# -- connections ---------------------------------------------------------------------------------------------------

SECRET = "s3cret word'\""


def test_a_password_goes_through_the_environment_only(small: Path) -> None:
    """Debian's server with SCRAM; the password from a file."""
    secret = small / "password"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with postgres(authentication="scram-sha-256", password=SECRET) as server:
        with psycopg.connect(server.dsn, password=SECRET, autocommit=True) as connection:
            connection.execute("CREATE DATABASE app TEMPLATE template0")
        url = f"postgresql://postgres@127.0.0.1:{server.port}/app"
        words = ("copy", "app.db", url, "--password-file", str(secret), "--engine", "pgloader")
        done = nasmigrate(small, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "pgloader 3.6.7~devel carried 1 tables" in done.stderr
    written = [path for path in small.rglob("*") if path.is_file() and path != secret]
    assert any(path.name == "pgloader.load" for path in written)
    assert [path for path in written if SECRET in path.read_text(errors="replace")] == []


def test_an_encrypted_connection_stays_one(small: Path) -> None:
    """A server that takes encrypted connections only; to verify its certificate is more than pgloader is asked for."""
    with postgres(authentication="trust", certificate=True) as server:
        (server.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 trust\n")
        server.run("SELECT pg_reload_conf()", "CREATE DATABASE app TEMPLATE template0")
        dsn = server.as_user("postgres", dbname="app", sslmode="require")
        done = nasmigrate(small, "copy", "app.db", dsn, "--engine", "pgloader")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "carried 1 tables" in done.stderr
        server.run("CREATE DATABASE other TEMPLATE template0")
        verified = server.as_user(
            "postgres", dbname="other", sslmode="verify-ca", sslrootcert=str(server.data / "server.crt")
        )
        done = nasmigrate(small, "copy", "app.db", verified, "--engine", "pgloader")
        assert done.returncode == 6, done.stderr
        assert "cannot verify" in done.stderr
        assert nasmigrate(small, "copy", "app.db", verified, "--resume").returncode == 0


def test_resumed_with_the_native_engine_after_a_lie_nothing_is_there_twice(
    small: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that pgloader left behind do not meet the ones that are copied again."""
    with fresh_database(server.dsn) as database:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "run_program", _half(database))
            with pytest.raises(ToolLied) as caught:
                copied(small, database)
        assert "missing row t id=2" in caught.value.message
        assert rows_of(database, "t") == 1
        assert failed_gates(copied(small, database, resume=True, engine="native")) == []
        assert rows_of(database, "t") == 2


def _half(database: str) -> Callable[..., object]:
    def run(*_: object, **__: object) -> object:
        with psycopg.connect(database) as connection:
            connection.execute("INSERT INTO public.t VALUES (1, 'a')")
        return engine.Ended(code=0, said="")

    return run
