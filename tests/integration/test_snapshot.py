"""Snapshots of a live file: one moment, whole, self-contained, and the source left as it was."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from nasmigrate.core.errors import (
    NotSqlite,
    SnapshotTooSlow,
    SourceCorrupt,
    SourceError,
    SourceLocked,
    StateError,
    TransferError,
)
from nasmigrate.sqlite import snapshot as snapshot_module
from nasmigrate.sqlite.open import open_snapshot, open_source
from nasmigrate.sqlite.schema_text import schema_text
from nasmigrate.sqlite.snapshot import take_snapshot

MODES = ["wal", "delete", "truncate", "persist"]


def make_source(path: Path, mode: str = "delete", *, rows: int = 2000) -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)
        db.executescript(
            """
            CREATE TABLE orders(id INTEGER PRIMARY KEY, n INTEGER, filler BLOB);
            CREATE TABLE ledger(id INTEGER PRIMARY KEY, n INTEGER, filler BLOB);
            CREATE INDEX by_n ON ledger(n);
            BEGIN;
            """
        )
        for table in ("orders", "ledger"):
            db.executemany(f"INSERT INTO {table}(n, filler) VALUES (0, ?)", [(os.urandom(400),)] * rows)
        db.execute("COMMIT")
    return path


# Each transaction gives one number to a row of both tables, far apart in the file, and says when it is committed.
WRITER = """
    import sqlite3, sys, time
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
    if sys.argv[2] == "truncate" or sys.argv[2] == "persist":
        db.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
    db.execute("PRAGMA synchronous = OFF")
    n = 0
    while True:
        n += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE orders SET n = ? WHERE id = ?", (n, 1 + n % 2000))
        db.execute("INSERT INTO orders(n, filler) VALUES (?, randomblob(300))", (n,))
        db.execute("UPDATE ledger SET n = ? WHERE id = ?", (n, 1 + n % 2000))
        db.execute("INSERT INTO ledger(n, filler) VALUES (?, randomblob(300))", (n,))
        db.execute("COMMIT")
        print(n, flush=True)
        time.sleep(float(sys.argv[3]))
    """


@contextmanager
def live_writer(source: Path, mode: str, pause: float) -> Iterator[Callable[[], int]]:
    """A writer in another process; the function waits for its next commit and gives its number."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(source), mode, str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        output = writer.stdout
        try:
            yield lambda: int(output.readline())
        finally:
            writer.kill()


def numbers(path: Path) -> list[tuple[int, int, int]]:
    """Of both tables: the latest number, how many rows, the sum of the numbers."""
    with closing(open_snapshot(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = []
        for table in ("orders", "ledger"):
            found += connection.execute(f"SELECT max(n), count(*), sum(n) FROM {table}").fetchall()
        return found


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["busy", "calm"])
@pytest.mark.parametrize("mode", MODES)
def test_a_snapshot_beside_a_writer_is_one_moment(tmp_path: Path, mode: str, pause: float) -> None:
    source = make_source(tmp_path / "app.db", mode)
    steps: list[tuple[int, int]] = []
    with live_writer(source, mode, pause) as next_commit:
        first = next_commit()
        for number in range(3):
            target = tmp_path / f"snapshot{number}.db"
            # Small steps: the writer commits many times while one copy is made.
            snapshot = take_snapshot(
                source, target, pages_per_step=16, progress=lambda *s: steps.append(s), busy_timeout=30
            )
            orders, ledger = numbers(target)
            assert orders == ledger
            assert orders[0] >= first
            assert snapshot.restarts <= 3
            assert mode != "wal" or snapshot.restarts == 0
            assert snapshot.journal_mode == ("wal" if mode == "wal" else "delete")
        next_commit()  # the writer is well
    done, total = steps[-1]
    assert done == total
    assert len(steps) > 3


def test_commits_during_a_wal_snapshot_stay_out_and_do_not_disturb(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db", "wal")
    script = """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
        db.executescript("BEGIN; UPDATE orders SET n = n + 1; UPDATE ledger SET n = n + 1; COMMIT")
        """
    commits = 0

    def write_between_steps(done: int, total: int) -> None:
        nonlocal commits
        if commits < 3 and done < total:
            commits += 1
            subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(source)], check=True)

    snapshot = take_snapshot(source, tmp_path / "s.db", pages_per_step=16, progress=write_between_steps)
    assert commits == 3
    assert snapshot.restarts == 0
    assert numbers(snapshot.path) == [(0, 2000, 0), (0, 2000, 0)]
    with closing(open_source(source)) as live:
        assert live.execute("SELECT min(n), max(n) FROM orders").fetchall() == [(3, 3)]


def test_a_writer_that_intervenes_is_counted(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db")
    commits = 0

    def write_between_steps(done: int, total: int) -> None:
        nonlocal commits
        if commits < 2 and done < total:
            commits += 1
            script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
            sql = "UPDATE orders SET n = n + 1 WHERE id = 1"
            subprocess.run([sys.executable, "-c", script, str(source), sql], check=True)

    snapshot = take_snapshot(source, tmp_path / "s.db", pages_per_step=16, progress=write_between_steps)
    assert snapshot.restarts == 2
    with closing(open_snapshot(snapshot.path)) as connection:
        assert connection.execute("SELECT n FROM orders WHERE id = 1").fetchall() == [(2,)]


def test_after_three_restarts_the_writer_waits(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db")
    refused: list[bool] = []
    script = """
        import sqlite3, sys
        try:
            db = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
            db.execute("UPDATE orders SET n = n + 1 WHERE id = 1")
        except sqlite3.OperationalError:
            sys.exit(9)
        """

    def write_between_steps(done: int, total: int) -> None:
        if len(refused) < 6 and done < total:
            command = [sys.executable, "-c", textwrap.dedent(script), str(source)]
            refused.append(subprocess.run(command, check=False).returncode == 9)

    snapshot = take_snapshot(source, tmp_path / "s.db", pages_per_step=16, progress=write_between_steps)
    assert refused == [False, False, False, True, True, True]
    assert snapshot.restarts == 3
    with closing(open_snapshot(snapshot.path)) as connection:
        assert connection.execute("SELECT n FROM orders WHERE id = 1").fetchall() == [(3,)]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_source_is_left_as_it_was(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    source = make_source(folder / "app.db", mode)
    with closing(sqlite3.connect(source, isolation_level=None)) as reader:  # keeps the -wal from being folded in
        reader.execute("UPDATE orders SET n = 7 WHERE id = 1")
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}
        snapshot = take_snapshot(source, tmp_path / "s.db")
        after = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}
    assert after == before
    assert snapshot.journal_mode == mode
    with closing(open_snapshot(snapshot.path)) as connection:
        assert connection.execute("SELECT n FROM orders WHERE id = 1").fetchall() == [(7,)]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_file_is_private_whole_and_needs_nothing_beside_it(tmp_path: Path, mode: str) -> None:
    source = make_source(tmp_path / "app.db", mode)
    folder = tmp_path / "run"
    folder.mkdir()
    old_mask = os.umask(0)
    ticks = iter([10.0, 12.5])
    try:
        snapshot = take_snapshot(source, folder / "s.db", clock=lambda: next(ticks))
    finally:
        os.umask(old_mask)
    content = snapshot.path.read_bytes()
    assert [path.name for path in folder.iterdir()] == ["s.db"]
    assert snapshot.path.stat().st_mode & 0o777 == 0o600
    assert content[18:20] == b"\x01\x01"  # else SQLite would want a -wal
    assert snapshot.sha256 == hashlib.sha256(content).hexdigest()
    assert snapshot.bytes == len(content)
    assert snapshot.pages == len(content) // 4096
    assert snapshot.seconds == 2.5
    with closing(open_source(source)) as live, closing(open_snapshot(snapshot.path)) as copy:
        assert schema_text(live) == schema_text(copy)
        rows = "SELECT * FROM orders ORDER BY id"
        assert live.execute(rows).fetchall() == copy.execute(rows).fetchall()
    assert [path.name for path in folder.iterdir()] == ["s.db"]


@pytest.mark.parametrize("page_size", [512, 65536])
@pytest.mark.parametrize("vacuum", ["NONE", "FULL", "INCREMENTAL"])
def test_other_page_sizes_and_auto_vacuum(tmp_path: Path, page_size: int, vacuum: str) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as db:
        db.executescript(f"PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = {vacuum}; CREATE TABLE t(a)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5000)])
        db.commit()
    snapshot = take_snapshot(source, tmp_path / "s.db", pages_per_step=3)
    assert snapshot.bytes == snapshot.pages * page_size
    with closing(open_snapshot(snapshot.path)) as connection:
        assert connection.execute("SELECT count(*), sum(a) FROM t").fetchall() == [(5000, 12497500)]


def test_nothing_is_created_for_a_source_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        take_snapshot(tmp_path / "typo.db", tmp_path / "s.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.db").write_text("hello\n" * 100)
    with pytest.raises(NotSqlite):
        take_snapshot(tmp_path / "text.db", tmp_path / "s.db")
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db", rows=1)
    (tmp_path / "s.db").write_text("mine")
    with pytest.raises(StateError, match="exists already"):
        take_snapshot(source, tmp_path / "s.db")
    assert (tmp_path / "s.db").read_text() == "mine"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db", rows=1)
    with pytest.raises(TransferError, match="cannot write the snapshot"):
        take_snapshot(source, tmp_path / "none" / "s.db")


def test_the_partial_of_a_killed_run_is_replaced_but_no_link_is_followed(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db", rows=1)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "s.db.partial").symlink_to(tmp_path / "victim")
    take_snapshot(source, tmp_path / "s.db")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "s.db").is_symlink()


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x")], ids=["interrupt", "error"])
def test_the_partial_is_removed_after_a_failure(tmp_path: Path, mode: str, error: BaseException) -> None:
    source = make_source(tmp_path / "app.db", mode)
    folder = tmp_path / "run"
    folder.mkdir()

    def fail(done: int, total: int) -> None:
        assert (folder / "s.db.partial").stat().st_mode & 0o777 == 0o600
        raise error

    with pytest.raises(type(error)):
        take_snapshot(source, folder / "s.db", pages_per_step=8, progress=fail)
    assert list(folder.iterdir()) == []
    assert take_snapshot(source, folder / "s.db").bytes > 0


def test_a_full_disk_is_the_copys_fault_not_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "app.db")
    folder = tmp_path / "run"
    folder.mkdir()
    open_copy = snapshot_module._open_copy

    def small(partial: Path) -> apsw.Connection:
        connection = open_copy(partial)
        connection.execute("PRAGMA max_page_count = 10").fetchall()  # SQLITE_FULL, as a full disk says it
        return connection

    monkeypatch.setattr(snapshot_module, "_open_copy", small)
    with pytest.raises(TransferError, match="cannot write the snapshot"):
        take_snapshot(source, folder / "s.db")
    assert list(folder.iterdir()) == []


def test_a_locked_source_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path / "app.db")
    folder = tmp_path / "run"
    folder.mkdir()
    program = """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        print("locked", flush=True)
        sys.stdin.read()
        """
    command = [sys.executable, "-c", textwrap.dedent(program), str(source)]
    holders: list[subprocess.Popen[str]] = []

    def lock(done: int, total: int) -> None:
        if not holders:
            holders.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # ended below
            )
            assert holders[0].stdout is not None
            assert holders[0].stdout.readline() == "locked\n"

    try:
        with pytest.raises(SourceLocked, match="cannot take a snapshot"):
            take_snapshot(source, folder / "s.db", pages_per_step=8, progress=lock, busy_timeout=0.05)
    finally:
        for holder in holders:
            holder.communicate()
    assert list(folder.iterdir()) == []


# In the root page of `ledger`: the kind of page, the number of its cells, where the first cell lies.
@pytest.mark.parametrize("offset", [0, 3, 12])
def test_damage_in_a_tree_is_found(tmp_path: Path, offset: int) -> None:
    source = make_source(tmp_path / "app.db")
    with closing(sqlite3.connect(source)) as db:
        [(root,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'ledger'")
    with source.open("r+b") as file:
        file.seek((root - 1) * 4096 + offset)
        file.write(b"\xff\xff")
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(SourceCorrupt, match=r"app\.db: .*(quick_check of the snapshot says: .*page|malformed)"):
        take_snapshot(source, folder / "s.db")
    assert list(folder.iterdir()) == []


def test_values_against_their_constraints_are_notes_not_damage(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as db:
        db.create_function("only_in_the_app", 1, lambda value: value, deterministic=True)
        db.create_collation("Phone", lambda a, b: (a > b) - (a < b))
        db.executescript(
            """
            CREATE TABLE t(a INT CHECK (a > 0), b TEXT COLLATE Phone UNIQUE, c);
            CREATE TABLE u(a CHECK (only_in_the_app(a)));
            PRAGMA ignore_check_constraints = ON;
            INSERT INTO t VALUES (-1, 'b', NULL), (-2, 'a', 1);
            INSERT INTO u VALUES (0);
            PRAGMA writable_schema = ON;
            UPDATE sqlite_schema SET sql = replace(sql, ', c)', ', c NOT NULL)') WHERE name = 't';
            """
        )
    snapshot = take_snapshot(source, tmp_path / "s.db")
    assert snapshot.notes == ("NULL value in t.c",)


def test_writers_are_not_held_up_for_longer_than_allowed(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        connection.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 900,) for _ in range(2000)])
        connection.commit()

        def write(_done: int, _total: int) -> None:
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("UPDATE t SET b = b || 'y' WHERE a = 1")
                connection.commit()

        moments = itertools.count(0.0, 1.0)
        with pytest.raises(SnapshotTooSlow, match=r"0\.5 s are allowed"):
            take_snapshot(
                source,
                tmp_path / "copy.db",
                pages_per_step=20,
                progress=write,
                longest_hold=0.5,
                clock=lambda: next(moments),
            )
        assert not (tmp_path / "copy.db").exists()
        assert take_snapshot(source, tmp_path / "copy.db", pages_per_step=20, progress=write).restarts >= 3
