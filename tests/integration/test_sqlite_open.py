"""Opening a source: what is no database is named, what is one can only be read, and nothing is ever created."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from nasmigrate.core.errors import (
    NotSqlite,
    SourceCorrupt,
    SourceEmpty,
    SourceEncrypted,
    SourceError,
    SourceHostile,
    SourceLocked,
)
from nasmigrate.sqlite.open import check_file, mapped_errors, open_snapshot, open_source, touch


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small database with one of each kind of object."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            """
            CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT);
            INSERT INTO orders(note) VALUES ('one'), ('two');
            CREATE INDEX by_note ON orders(note);
            CREATE VIEW seen AS SELECT * FROM orders;
            CREATE TRIGGER kept AFTER INSERT ON orders BEGIN SELECT 1; END;
            """
        )
    return path


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("opener", [check_file, open_source, open_snapshot])
def test_a_missing_file_is_refused_and_not_created(tmp_path: Path, opener: Callable[[Path], object]) -> None:
    with pytest.raises(SourceError, match="no such file") as caught:
        opener(tmp_path / "typo.db")
    assert caught.value.exit_code == 7
    assert listing(tmp_path) == []


def test_a_dangling_link_is_refused_and_its_target_not_created(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "gone.db")
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "link.db")
    assert listing(tmp_path) == ["link.db"]


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(SourceError):
        check_file(tmp_path / "a")


def test_a_link_is_resolved(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(source)
    assert check_file(tmp_path / "link.db") == source.resolve()


def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for a writer for ever
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, what in (
            (tmp_path, "a directory"),
            (tmp_path / "fifo", "a FIFO"),
            (tmp_path / "socket", "a socket"),
            (Path("/dev/null"), "a character device"),
        ):
            with pytest.raises(SourceError, match=what):
                check_file(path)


def test_an_empty_file_is_no_database_with_zero_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(SourceEmpty, match="0 bytes"):
        open_source(tmp_path / "empty.db")
    assert (tmp_path / "empty.db").stat().st_size == 0


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.db", b"x")


@pytest.mark.parametrize(
    ("write", "kind", "words"),
    [
        (lambda p: p.write_text("PRAGMA foreign_keys=OFF;\nBEGIN;\n" * 400), NotSqlite, "50 52 41 47.*text file"),
        (lambda p: p.write_text("é" * 4095 + "ab"), NotSqlite, "text file"),
        (lambda p: p.write_bytes(gzip.compress(b"SQLite format 3\0" * 99)), NotSqlite, "gzip"),
        (zipped, NotSqlite, "zip"),
        (lambda p: p.write_bytes(b"PGDMP" + bytes(100)), NotSqlite, "pg_dump"),
        (lambda p: p.write_bytes(b"\x37\x7f\x06\x82" + bytes(28)), NotSqlite, "-wal"),
        (lambda p: p.write_bytes(bytes(8192)), NotSqlite, "first 16 bytes are 00 00"),
        (lambda p: p.write_bytes(b"SQLite format 2\0" + bytes(4080)), NotSqlite, "first 16 bytes are 53 51"),
        (lambda p: p.write_bytes(random.Random(1).randbytes(8192)), SourceEncrypted, "encrypted"),
        (lambda p: p.write_bytes(random.Random(2).randbytes(512)), SourceEncrypted, "encrypted"),
        (lambda p: p.write_bytes(b"SQLite format 3\0"), SourceCorrupt, "cut short"),
        (lambda p: p.write_bytes(b"SQLite format 3\0\x10\0" + bytes(200)), SourceCorrupt, "cut short"),
        (lambda p: p.write_bytes(b"SQLite format 3\0\x0f\xff" + bytes(8000)), SourceCorrupt, "page size"),
        (lambda p: p.write_bytes(b"SQLite format 3\0" + bytes(8000)), SourceCorrupt, "page size"),
    ],
)
def test_the_error_says_what_the_file_is(
    tmp_path: Path, write: Callable[[Path], object], kind: type[SourceError], words: str
) -> None:
    path = tmp_path / "app.db"
    write(path)
    before = path.read_bytes()
    with pytest.raises(SourceError, match=words) as caught:
        open_source(path)
    assert type(caught.value) is kind
    assert caught.value.hint
    assert path.read_bytes() == before
    assert listing(tmp_path) == ["app.db"]


def test_a_file_without_its_last_pages_is_corrupt(source: Path) -> None:
    with closing(sqlite3.connect(source)) as db:
        db.executemany("INSERT INTO orders(note) VALUES (?)", [("x" * 1000,)] * 100)
        db.commit()
    os.truncate(source, source.stat().st_size - 8192)
    with pytest.raises(SourceCorrupt, match="malformed"):
        open_source(source)


@pytest.mark.parametrize("name", ["a b.db", "what?#%41.db", "x'y\"z.db", "file:z.db", "été ☃.db", "a\nb&mode=rwc.db"])
def test_odd_paths_open_as_they_are(source: Path, tmp_path: Path, name: str) -> None:
    path = source.rename(tmp_path / name)
    for opener in (open_source, open_snapshot):
        with closing(opener(path)) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]
    assert listing(tmp_path) == [name]


def test_a_name_that_is_not_utf8_is_refused(source: Path, tmp_path: Path) -> None:
    path = source.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.db")))
    with pytest.raises(SourceError, match="not valid UTF-8"):
        check_file(path)


FORBIDDEN = [
    "INSERT INTO orders(note) VALUES ('x')",
    "UPDATE orders SET note = ''",
    "DELETE FROM orders",
    "CREATE TABLE other(a)",
    "CREATE TEMP TABLE other(a)",
    "DROP TABLE orders",
    "ALTER TABLE orders ADD COLUMN a",
    "ANALYZE",
    "REINDEX",
    "VACUUM",
    "ATTACH ':memory:' AS other",
    "SELECT * FROM seen",
    "SELECT load_extension('x')",
    "PRAGMA journal_mode = WAL",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema = 1",
    "PRAGMA user_version = 7",
    "PRAGMA wal_checkpoint",
    "PRAGMA optimize",
    "PRAGMA incremental_vacuum",
]


@pytest.mark.parametrize("opener", [open_source, open_snapshot])
@pytest.mark.parametrize("sql", FORBIDDEN)
def test_only_reading_is_allowed(source: Path, opener: Callable[[Path], apsw.Connection], sql: str) -> None:
    before = source.read_bytes()
    with closing(opener(source)) as connection:
        with pytest.raises((apsw.AuthError, apsw.SQLError, apsw.ReadOnlyError)) as caught:
            connection.execute(sql).fetchall()
        assert "syntax" not in str(caught.value)
        assert connection.execute("SELECT note FROM orders ORDER BY id").fetchall() == [("one",), ("two",)]
    assert source.read_bytes() == before
    assert listing(source.parent) == ["app.db"]


def test_the_guards_are_on(source: Path) -> None:
    with closing(open_source(source)) as connection:
        values = [connection.pragma(name) for name in ("query_only", "trusted_schema", "cell_size_check", "mmap_size")]
        assert values == [1, 0, 1, 0]
        assert connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1) == 1
        assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1) == 0
        assert connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, -1) == 0
        assert connection.readonly("main")
        # What the rest of the tool needs does work: transactions, recursion, functions, table-valued pragmas.
        with connection:
            numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT max(i) FROM n"
            assert connection.execute(numbers).fetchall() == [(3,)]
        assert connection.execute("SELECT name FROM pragma_table_xinfo('orders')").fetchall() == [("id",), ("note",)]
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def test_an_exclusive_lock_is_named_after_the_timeout(source: Path) -> None:
    # In another process: the locks of one process never stand in its own way.
    program = """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        print("locked", flush=True)
        sys.stdin.read()
        """
    command = [sys.executable, "-c", textwrap.dedent(program), str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(SourceLocked, match=r"app\.db: cannot open") as caught:
            open_source(source, busy_timeout=0.05)
        holder.communicate()
    assert caught.value.exit_code == 7
    with closing(open_source(source, busy_timeout=0.05)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(2,)]


def refused_elsewhere(path: Path) -> bool:
    """Whether a write in another process fails on a lock."""
    program = (
        "import sqlite3, sys\n"
        "try:\n"
        "    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute('DELETE FROM orders WHERE 0')\n"
        "except sqlite3.OperationalError as error:\n"
        "    sys.exit(9 if 'locked' in str(error) else 1)\n"
    )
    return subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == 9


def test_looking_at_the_file_drops_no_lock_of_this_process(source: Path) -> None:
    # A plain open() and close() of the file would drop every POSIX lock this process has on it.
    with closing(apsw.Connection(str(source))) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert refused_elsewhere(source)
        check_file(source)
        assert refused_elsewhere(source)
        holder.execute("ROLLBACK")
    assert not refused_elsewhere(source)


def test_a_hot_journal_is_refused_and_kept(source: Path) -> None:
    # A process that dies inside its transaction, after its cache has spilled to the file, leaves the journal hot.
    program = """
        import os, sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        db.execute("PRAGMA cache_size = 2")
        db.execute("BEGIN")
        db.executemany("INSERT INTO orders(note) VALUES (?)", [("x" * 3000,)] * 200)
        db.execute("UPDATE orders SET note = 'changed'")
        os._exit(0)
        """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(source)], check=True)
    journal = source.with_name("app.db-journal")
    before = source.read_bytes(), journal.read_bytes()
    with pytest.raises(SourceError, match=r"app\.db: cannot open") as caught:
        open_source(source)
    assert "recovery" in (caught.value.hint or "")
    assert (source.read_bytes(), journal.read_bytes()) == before


def test_a_journal_that_only_looked_hot_is_read_again(source: Path) -> None:
    # Seen beside a busy writer: for a moment its journal cannot be told from one left by a crash.
    class Racing(apsw.Connection):
        refusals = 2

        def execute(self, *args: Any, **kwargs: Any) -> apsw.Cursor:
            if self.refusals:
                self.refusals -= 1
                raise apsw.ReadOnlyError("attempt to write a readonly database")
            return super().execute(*args, **kwargs)

    with closing(Racing(str(source))) as connection:
        connection.set_busy_timeout(0)
        touch(connection)
        assert connection.refusals == 0


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may write everywhere; for this test it steps down, as the user of a NAS would."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_wal_source_in_a_folder_we_cannot_write_gets_a_hint(source: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        folder = Path(name)
        path = Path(shutil.copy(source, folder / "app.db"))
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        before = path.read_bytes()
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            with without_rights(), pytest.raises(SourceError, match="cannot open") as caught:
                open_source(path)
            assert "folder" in (caught.value.hint or "")
            assert path.read_bytes() == before
            assert listing(folder) == ["app.db"]
        finally:
            folder.chmod(0o755)


def test_a_file_we_may_not_read_is_refused(source: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = Path(shutil.copy(source, folder / "app.db"))
        path.chmod(0o000)
        with without_rights(), pytest.raises(SourceError, match="cannot open") as caught:
            open_source(path)
        assert "rights" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (apsw.BusyError("x"), SourceLocked),
        (apsw.LockedError("x"), SourceLocked),
        (apsw.NotADBError("x"), NotSqlite),
        (apsw.CorruptError("x"), SourceCorrupt),
        (apsw.CantOpenError("x"), SourceError),
        (apsw.IOError("x"), SourceError),
        (apsw.TooBigError("x"), SourceHostile),
        (apsw.AuthError("x"), SourceError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), SourceCorrupt),
    ],
)
def test_errors_of_apsw_become_ours(tmp_path: Path, error: Exception, kind: type[SourceError]) -> None:
    with (
        pytest.raises(SourceError, match="cannot read rows") as caught,
        mapped_errors(tmp_path / "app.db", "read rows"),
    ):
        raise error
    assert type(caught.value) is kind
    assert str(tmp_path / "app.db") in caught.value.message
    assert caught.value.__cause__ is error


def test_a_deadline_passes_through(tmp_path: Path) -> None:
    with pytest.raises(apsw.InterruptError), mapped_errors(tmp_path, "read"):
        raise apsw.InterruptError("interrupted")
