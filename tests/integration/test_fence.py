"""The fence and the process that puts it up: what the application sees, and what a crash leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from support.plants import CARELESS_CHILD

from nasmigrate.core.errors import FenceLost, SourceError, SourceLocked, StateError
from nasmigrate.sqlite.fence import FENCE_TABLE, MESSAGE, Fence, drop_fence, make_fence, read_fence, ways_home_closed
from nasmigrate.sqlite.live import FreezeExpired, LiveProcess, LockLost, fence_of, live_process
from nasmigrate.sqlite.live_child import LiveFile, Refused
from nasmigrate.sqlite.open import open_source

TARGET = {"system_identifier": "7000", "database_oid": 5}
FENCE = Fence(run_id="1" * 8, **TARGET, epoch=4, file_mode=0o644, made_at="2026-01-01T00:00:00+00:00")

SCHEMA = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT NOT NULL CHECK (v <> ''));
CREATE TABLE "with ""quotes" (a TEXT PRIMARY KEY, b) WITHOUT ROWID;
CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE);
CREATE TABLE computed (a INTEGER, b AS (a + 1) STORED);
CREATE VIRTUAL TABLE words USING fts5(x);
CREATE VIRTUAL TABLE bare USING fts5(x, content='');
CREATE VIRTUAL TABLE older USING fts4(x);
CREATE VIRTUAL TABLE boxes USING rtree(id, low, high);
INSERT INTO plain VALUES (1, 'a'); INSERT INTO "with ""quotes" VALUES ('a', 1);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); INSERT INTO computed VALUES (1);
INSERT INTO words VALUES ('a'); INSERT INTO older VALUES ('a'); INSERT INTO boxes VALUES (1, 1, 2);
INSERT INTO bare (rowid, x) VALUES (1, 'a');
"""
WRITES = (
    "INSERT INTO plain VALUES (2, 'b')",
    "INSERT OR IGNORE INTO plain VALUES (2, 'b')",
    "INSERT OR REPLACE INTO plain VALUES (1, 'b')",
    "INSERT INTO plain VALUES (1, 'b') ON CONFLICT DO UPDATE SET v = 'c'",
    "UPDATE OR IGNORE plain SET v = 'b'",
    "DELETE FROM plain",
    """DELETE FROM "with ""quotes" """,
    "DELETE FROM parent",
    "INSERT INTO parent DEFAULT VALUES",
    "UPDATE computed SET a = 2",
    "INSERT INTO words VALUES ('b')",
    "DELETE FROM words",
    "UPDATE words SET x = 'b'",
    "DELETE FROM words WHERE rowid = 1",
    "INSERT INTO bare (rowid, x) VALUES (2, 'b')",
    "INSERT INTO bare (bare, rowid, x) VALUES ('delete', 1, 'a')",
    "INSERT INTO older VALUES ('b')",
    "DELETE FROM older",
    "INSERT INTO boxes VALUES (2, 1, 2)",
    "DELETE FROM boxes",
)


@pytest.fixture(params=["wal", "delete"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file with every kind of table, in both journal modes."""
    file = tmp_path / "app.db"
    with closing(apsw.Connection(str(file))) as connection:
        connection.pragma("journal_mode", request.param)
        connection.execute(SCHEMA).fetchall()
    return file


@pytest.fixture
def application(path: Path) -> Iterator[sqlite3.Connection]:
    """The application's connection, open all along, by another SQLite library."""
    with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


def contents(path: Path) -> list[str]:
    """All rows as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "_nasmigrate_" not in line]


def fenced(path: Path, fence: Fence = FENCE) -> None:
    """Put the fence up and take the write permissions away."""
    with live_process(path) as process, live_process(path) as witness:
        process.freeze(busy=1.0, limit=10.0)
        process.fence(fence, witness=witness)
        process.settle(busy=1.0)


def test_every_kind_of_write_is_refused_and_nothing_changes(path: Path, application: sqlite3.Connection) -> None:
    before = contents(path)
    fenced(path)
    for statement in WRITES:
        with pytest.raises(sqlite3.Error) as refusal:
            application.execute(statement)
        if not any(virtual in statement for virtual in ("words", "bare", "older", "boxes")):
            # A virtual table turns the message of the table behind it into one of its own.
            assert str(refusal.value) == MESSAGE, statement
    assert application.execute("SELECT v FROM plain").fetchall() == [("a",)]
    assert application.execute("SELECT rowid FROM words WHERE words MATCH 'a'").fetchall() == [(1,)]
    assert contents(path) == before


def test_a_write_in_a_newcomers_transaction_cannot_be_committed(path: Path) -> None:
    fenced(path)
    path.chmod(0o644)  # who may write the file (root) is refused by the triggers all the same
    with closing(sqlite3.connect(path, isolation_level=None)) as newcomer:
        newcomer.execute("BEGIN")
        with pytest.raises(sqlite3.Error):
            newcomer.execute("INSERT INTO bare (rowid, x) VALUES (2, 'b')")
            newcomer.execute("COMMIT")


def test_a_fresh_process_sees_the_fence_and_every_table_refuses(path: Path) -> None:
    with live_process(path) as newcomer, live_process(path) as process:
        process.freeze(busy=1.0, limit=10.0)
        assert process.fence(FENCE, witness=newcomer) > 5
        assert newcomer.probe(busy=1.0) == (FENCE, ())


def test_the_probe_names_a_table_that_takes_writes(path: Path) -> None:
    fenced(path)
    path.chmod(0o644)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"DROP TRIGGER {FENCE_TABLE}_0_insert").fetchall()
    with live_process(path) as newcomer:
        _, taking = newcomer.probe(busy=1.0)
        assert len(taking) == 1


def test_lifting_gives_the_file_back_as_it_was(path: Path, application: sqlite3.Connection) -> None:
    path.chmod(0o640)
    before = contents(path)
    fenced(path, Fence(**{**FENCE.as_fields(), "file_mode": 0o640}))
    assert path.stat().st_mode & 0o777 == 0o440
    with live_process(path) as process:
        assert process.lift(busy=1.0, **TARGET, older_than=5).epoch == 4
    assert path.stat().st_mode & 0o777 == 0o640
    assert contents(path) == before
    application.execute("INSERT INTO plain VALUES (2, 'b')")


@pytest.mark.parametrize(
    "asked",
    [
        {"system_identifier": "7001", "database_oid": 5, "older_than": 9},
        {"system_identifier": "7000", "database_oid": 6, "older_than": 9},
        {"system_identifier": "7000", "database_oid": 5, "older_than": 4},
    ],
    ids=["another cluster", "another database", "not older"],
)
def test_only_ones_own_older_fence_is_lifted(path: Path, asked: dict) -> None:
    fenced(path)
    with live_process(path) as process, pytest.raises(FenceLost):
        process.lift(busy=1.0, **asked)
    with live_process(path) as process:
        assert fence_of(process.read(busy=1.0)) == FENCE


def test_a_stamp_makes_a_paused_run_too_old(path: Path) -> None:
    fenced(path)
    stamped = Fence(**{**FENCE.as_fields(), "epoch": 7})
    with live_process(path) as process:
        assert process.stamp(stamped, busy=1.0, **TARGET) == stamped
    with live_process(path) as process, pytest.raises(FenceLost, match="epoch 7"):
        process.lift(busy=1.0, **TARGET, older_than=5)
    with live_process(path) as process, pytest.raises(FenceLost, match="epoch 7"):
        process.stamp(stamped, busy=1.0, **TARGET)


def test_who_expects_no_fence_is_told_of_it_and_not_of_damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        make_fence(connection, FENCE)
        connection.commit()
    with pytest.raises(StateError, match=f"holds {FENCE_TABLE}_.* of an earlier run"), closing(open_source(path)):
        pass
    with closing(open_source(path, fenced=True)) as reader:
        assert read_fence(reader) == FENCE
        assert reader.execute("SELECT count(*) FROM plain").fetchall() == [(1,)]


def test_no_second_fence(path: Path) -> None:
    fenced(path)
    path.chmod(0o644)
    with live_process(path) as process, live_process(path) as witness:
        assert fence_of(process.freeze(busy=1.0, limit=5.0)) == FENCE
        with pytest.raises(FenceLost):
            process.fence(FENCE, witness=witness)


def test_the_lock_waits_for_a_writer_and_then_says_so(path: Path, application: sqlite3.Connection) -> None:
    application.execute("BEGIN IMMEDIATE")
    with live_process(path) as process, pytest.raises(SourceLocked):
        process.freeze(busy=0.2, limit=5.0)
    application.execute("COMMIT")


def test_a_freeze_ends_by_itself(path: Path, application: sqlite3.Connection) -> None:
    with live_process(path) as process, live_process(path) as witness:
        process.freeze(busy=1.0, limit=0.3)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            application.execute("DELETE FROM child")
        time.sleep(0.6)
        application.execute("DELETE FROM child")
        with pytest.raises(FreezeExpired):
            process.fence(FENCE, witness=witness)


def test_a_lock_that_was_lost_is_seen_before_the_commit(
    path: Path, application: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that look the fence would be committed over the application's row, which SQLite itself then forgets."""
    monkeypatch.setenv("CARELESS_WRITE", "INSERT INTO plain VALUES (2, 'b')")
    with live_process(path) as witness:
        monkeypatch.setattr(LiveProcess, "program", (sys.executable, str(CARELESS_CHILD)))
        with live_process(path) as careless:
            careless.freeze(busy=1.0, limit=30.0)
            with pytest.raises(LockLost, match="nobody holds it"):
                careless.fence(FENCE, witness=witness)
            careless.release()
        monkeypatch.undo()
    assert application.execute("SELECT v FROM plain ORDER BY id").fetchall() == [("a",), ("b",)]
    assert application.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    application.execute("INSERT INTO plain VALUES (3, 'c')")
    with live_process(path) as reader:
        assert fence_of(reader.read(busy=1.0)) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_gives_the_lock_back(path: Path, application: sqlite3.Connection, number: int) -> None:
    process = LiveProcess(path)
    process.freeze(busy=1.0, limit=None)
    os.kill(process.pid, number)
    process.close()
    application.execute("DELETE FROM child")
    with live_process(path) as reader:
        assert fence_of(reader.read(busy=1.0)) is None


CUT_OFF = """
import os, sys, apsw
db = apsw.Connection(sys.argv[1])
db.execute("BEGIN IMMEDIATE; DROP TABLE _nasmigrate_fence").fetchall()
db.cache_flush()
os._exit(0)
"""


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_transaction_that_a_crash_cut_off_is_rolled_back_by_whoever_reads(mode: int, tmp_path: Path) -> None:
    """Nobody else opens a fenced file for writing, so its journal would stay hot, and the fence unread, for ever."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    fenced(path)
    whole = path.read_bytes()
    path.chmod(0o644)
    subprocess.run([sys.executable, "-c", CUT_OFF, str(path)], check=True)
    assert path.read_bytes() != whole, "the transaction had reached the file"
    path.chmod(mode)
    with live_process(path) as process:
        seen = process.read(busy=1.0)
        assert fence_of(seen) == FENCE
        assert seen["mode"] == mode
    assert path.read_bytes() == whole
    assert path.stat().st_mode & 0o777 == mode


def test_who_may_not_roll_it_back_is_told_who_may() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        folder = Path(name)
        path = folder / "app.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a)")
        fenced(path)
        path.chmod(0o644)
        subprocess.run([sys.executable, "-c", CUT_OFF, str(path)], check=True)
        path.with_name("app.db-journal").chmod(0o644)
        before = path.read_bytes()
        folder.chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(65534)  # root may write everywhere
            with pytest.raises(Refused, match=f"cannot be rolled back .* belongs to user {user}"):
                LiveFile(path).answer({"do": "read", "busy": 1.0})
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        if user == 0:
            assert path.read_bytes() == before


def test_a_reader_can_keep_a_fence_from_being_committed(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as application:
        application.execute("CREATE TABLE t (a)")
        application.execute("INSERT INTO t VALUES (1)")
        with closing(sqlite3.connect(file, isolation_level=None)) as reader, live_process(file) as process:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM t").fetchall()
            process.freeze(busy=1.0, limit=0.3)
            with pytest.raises(SourceLocked, match="reader"), live_process(file) as witness:
                process.fence(FENCE, witness=witness)
            reader.execute("COMMIT")
        application.execute("INSERT INTO t VALUES (2)")


def test_fence_and_triggers_come_and_go_in_one_transaction(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        schema = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
        connection.execute("BEGIN IMMEDIATE").fetchall()
        make_fence(connection, FENCE)
        connection.execute("ROLLBACK").fetchall()
        assert read_fence(connection) is None
        connection.execute("BEGIN IMMEDIATE").fetchall()
        make_fence(connection, FENCE)
        assert read_fence(connection) == FENCE
        drop_fence(connection)
        connection.execute("COMMIT").fetchall()
        assert connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == schema


FUNCTIONS = """
CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT CHECK (email REGEXP '@'));
CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, slug TEXT DEFAULT (slug('none')));
CREATE TRIGGER posts_slug AFTER INSERT ON posts BEGIN UPDATE posts SET slug = slug(new.title); END;
"""


def of_the_application(file: Path, sql: str) -> sqlite3.Connection:
    """The application's connection: with functions that nobody else has."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.create_function("regexp", 2, lambda pattern, text: pattern in text, deterministic=True)
    connection.create_function("slug", 1, lambda text: f"s-{text}", deterministic=True)
    connection.executescript(sql)
    return connection


def test_tables_whose_writes_call_functions_of_the_application_are_fenced(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with closing(of_the_application(file, FUNCTIONS)) as application:
        with live_process(file) as process, live_process(file) as newcomer:
            process.freeze(busy=1.0, limit=5.0)
            with live_process(file) as witness:
                process.fence(FENCE, witness=witness)
            assert newcomer.probe(busy=1.0) == (FENCE, ())
        for write in ("INSERT INTO people VALUES (1, 'a@b')", "INSERT INTO posts (title) VALUES ('x')"):
            with pytest.raises(sqlite3.IntegrityError, match="moved to PostgreSQL"):
                application.execute(write)
        with live_process(file) as process:
            process.lift_any(busy=1.0)
        application.execute("INSERT INTO posts (title) VALUES ('x')")
        assert application.execute("SELECT slug FROM posts").fetchall() == [("s-x",)]


@pytest.mark.parametrize(
    "part",
    [
        "CREATE TABLE t (a, g AS (slug(a)) STORED)",
        "CREATE TABLE t (a, g AS (slug(a)))",
        "CREATE TABLE t (a); CREATE INDEX i ON t (slug(a))",
        "CREATE TABLE t (a); CREATE INDEX i ON t (a) WHERE slug(a) <> ''",
    ],
)
def test_a_table_that_no_rollback_could_write_is_named_before_anything_is(tmp_path: Path, part: str) -> None:
    file = tmp_path / "app.db"
    with closing(of_the_application(file, f"CREATE TABLE other (a); {part}")) as application:
        with live_process(file) as process, pytest.raises(SourceError, match=r"table t: slug\(\)") as refused:
            process.freeze(busy=1.0, limit=5.0)
        assert "no rollback could bring rows home" in str(refused.value.hint)
        application.execute("INSERT INTO t (a) VALUES ('x')")


def test_an_index_by_the_applications_collation_closes_the_way_home(tmp_path: Path) -> None:
    """No rollback could write a row that such an index holds; that is said before anything is fenced."""
    path = tmp_path / "app.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.create_collation("german", lambda one, other: (one > other) - (one < other))
        connection.execute("CREATE TABLE people (name TEXT); CREATE INDEX by_name ON people (name COLLATE german)")
    with closing(apsw.Connection(str(path))) as connection:
        assert ways_home_closed(connection) == (("people", "the collation german"),)
