"""Files as they lie about: crashed, copied in part, locked, in use; each is read right, or refused by name."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nasmigrate.core.config_model import Config, PlanSection, SourceSection
from nasmigrate.core.context import Context
from nasmigrate.core.errors import SourceCorrupt, SourceError, SourceLocked, WalSuspect
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Finding, Result
from nasmigrate.sqlite.locks import lock_of_others
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows import file_findings
from nasmigrate.workflows.plan import plan

PAGE = 4096


def run_in_another_process(program: str, *arguments: object) -> None:
    """As an application does it that may die on the way."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)], check=True)


@contextmanager
def holding(path: Path, *statements: str) -> Iterator[int]:
    """Another process that has done `statements` and keeps the file open; its process id."""
    program = """
        import sqlite3, sys
        db = sqlite3.connect(sys.argv[1], isolation_level=None)
        for statement in sys.argv[2:]:
            db.execute(statement).fetchall()
        print("ready", flush=True)
        sys.stdin.read()
        """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        try:
            yield holder.pid
        finally:
            holder.communicate()


def files(folder: Path) -> dict[str, str]:
    """Name -> digest of all files of a folder, -shm aside, which readers of a WAL share."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the source lies; runs go elsewhere."""
    made = tmp_path / "data"
    made.mkdir()
    return made


def planned(source: Path, *, accept: tuple[str, ...] = (), busy_timeout: float = 5.0) -> Result:
    """`plan` in a project beside the source's folder, which is the same afterwards."""
    before = files(source.parent)
    project = source.parent.parent / "project"
    project.mkdir(exist_ok=True)
    config = Config(source=SourceSection(busy_timeout=busy_timeout), plan=PlanSection(accept=accept))
    try:
        return plan(Context(config=config, base=project, reporter=Silent()), source)
    finally:
        after = files(source.parent)
        assert {name: after.get(name) for name in before} == before
        # A reader of a file in WAL mode leaves an empty -wal, where there was none.
        assert all(
            name.endswith("-wal") and not (source.parent / name).stat().st_size for name in after.keys() - before
        )


def finding(result: Result, code: str) -> Finding | None:
    return next((found for found in result.findings if found.code == code), None)


def rows(result: Result) -> dict[str, int | None]:
    return {table.name: table.rows_source for table in result.tables}


def made(path: Path, *, count: int = 100, extra: str = "") -> Path:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT); {extra}")
        db.execute("BEGIN")
        db.executemany("INSERT INTO orders(note) VALUES (?)", [("x" * 200,)] * count)
        db.execute("COMMIT")
    return path


# -- a crash left its journal ---------------------------------------------------------------------------------------

CRASH = """
    import os, sqlite3, sys
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("PRAGMA cache_size = 2")
    db.execute("BEGIN")
    db.execute("UPDATE orders SET note = note || 'changed'")
    db.executemany("INSERT INTO orders(note) VALUES (?)", [("y" * 3000,)] * 200)
    os._exit(0)
    """


def test_a_hot_journal_is_rolled_back_in_a_private_copy(folder: Path) -> None:
    source = made(folder / "app.db")
    whole = source.read_bytes()
    run_in_another_process(CRASH, source)
    assert source.read_bytes() != whole, "the transaction had reached the file"
    result = planned(source)
    assert rows(result) == {"orders": 100}
    note = finding(result, "HOT_JOURNAL")
    assert note is not None
    assert note.severity == "note"
    assert result.run_directory is not None
    with closing(open_snapshot(Path(result.run_directory) / "snapshot.db")) as connection:
        assert connection.execute("SELECT count(*), max(length(note)) FROM orders").fetchall() == [(100, 200)]
    # Nothing of the private copy is left but the snapshot.
    left = [path.name for path in Path(result.run_directory).iterdir() if path.name.startswith("snapshot")]
    assert left == ["snapshot.db"]


def test_a_file_that_was_copied_without_its_hot_journal_is_refused(folder: Path, tmp_path: Path) -> None:
    source = made(tmp_path / "app.db", count=500)
    run_in_another_process(CRASH, source)
    alone = Path(shutil.copy(source, folder / "copy.db"))
    with pytest.raises(SourceCorrupt):
        planned(alone)


def test_a_journal_that_names_another_file_to_delete_is_not_recovered(folder: Path, tmp_path: Path) -> None:
    source = made(folder / "app.db")
    run_in_another_process(CRASH, source)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = str(victim).encode()
    journal = folder / "app.db-journal"
    content = journal.read_bytes()
    record = (0xFFFFFFFF).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    journal.write_bytes(content + record + content[:8])
    with pytest.raises(SourceError, match="transaction over several files"):
        planned(source)
    assert victim.read_text() == "precious"


# -- a -wal that is missing, or another's ---------------------------------------------------------------------------


def in_wal_mode(path: Path, *, count: int = 100, extra: str = "") -> Path:
    made(path, count=count, extra=extra)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("PRAGMA journal_mode = WAL").fetchall() == [("wal",)]
    return path


WRITE_AND_DIE = """
    import os, sqlite3, sys
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    for statement in sys.argv[2:]:
        db.execute(statement)
    os._exit(0)
    """


def test_a_file_in_wal_mode_without_a_wal_is_a_decision(folder: Path) -> None:
    source = in_wal_mode(folder / "app.db")
    found = finding(planned(source), "WAL_ABSENT")
    assert found is not None
    assert (found.severity, found.identity) == ("decision", "WAL_ABSENT:app.db")
    assert planned(source).verdict == "fail"
    assert planned(source, accept=("WAL_ABSENT:app.db",)).verdict == "pass"


def test_a_live_file_in_wal_mode_is_no_decision_and_none_once_its_application_stopped(folder: Path) -> None:
    source = in_wal_mode(folder / "app.db")
    with holding(source, "INSERT INTO orders(note) VALUES ('late')"):
        result = planned(source, accept=("WAL_ABSENT:app.db",))  # accepted once, at a moment without application
        assert rows(result) == {"orders": 101}
        assert (finding(result, "WAL_ABSENT"), finding(result, "WAL_PENDING")) == (None, None)
    assert not (folder / "app.db-wal").exists()
    # The same file, at its place, as its application left it: no copy that lacks something.
    assert finding(planned(source), "WAL_ABSENT") is None


def test_the_wal_of_a_crash_is_read_and_what_it_adds_is_shown(folder: Path) -> None:
    source = in_wal_mode(folder / "app.db")
    run_in_another_process(WRITE_AND_DIE, source, "INSERT INTO orders(note) VALUES ('late')", "CREATE TABLE more(a)")
    result = planned(source)
    assert rows(result) == {"more": 0, "orders": 101}
    found = finding(result, "WAL_PENDING")
    assert found is not None
    assert found.severity == "note"
    assert "orders 101 rows, without it 100" in found.message


def test_a_wal_that_changes_no_count_says_so(folder: Path) -> None:
    source = in_wal_mode(folder / "app.db")
    run_in_another_process(WRITE_AND_DIE, source, "UPDATE orders SET note = 'new' WHERE id = 7")
    found = finding(planned(source), "WAL_PENDING")
    assert found is not None
    assert "changes no table's number of rows" in found.message


def test_the_wal_of_another_database_is_suspect(folder: Path, tmp_path: Path) -> None:
    source = in_wal_mode(folder / "app.db")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    run_in_another_process(WRITE_AND_DIE, other, "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT)")
    shutil.copy(tmp_path / "other.db-wal", folder / "app.db-wal")
    with pytest.raises(WalSuspect, match="'orders'") as caught:
        planned(source)
    assert (caught.value.exit_code, caught.value.code) == (7, "NM0708")


def test_a_wal_that_breaks_the_file_is_suspect(folder: Path, tmp_path: Path) -> None:
    source = in_wal_mode(folder / "app.db", extra="CREATE INDEX by_note ON orders(note);")
    other = in_wal_mode(tmp_path / "other.db", count=3000)
    run_in_another_process(WRITE_AND_DIE, other, "UPDATE orders SET note = id WHERE id % 40 = 0")
    shutil.copy(tmp_path / "other.db-wal", folder / "app.db-wal")
    with pytest.raises(WalSuspect):
        planned(source)


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


def test_a_wal_in_a_folder_closed_to_us_is_read_in_a_private_copy() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        closed, own = Path(name) / "closed", Path(name) / "own"
        closed.mkdir()
        own.mkdir()
        Path(name).chmod(0o755)
        own.chmod(0o777)
        source = in_wal_mode(closed / "app.db")
        run_in_another_process(WRITE_AND_DIE, source, "INSERT INTO orders(note) VALUES ('late')")
        (closed / "app.db-shm").unlink()
        for path in closed.iterdir():
            path.chmod(0o444)
        closed.chmod(0o555)
        before = files(closed)
        try:
            with without_rights():
                snapshot = take_snapshot(source, own / "s.db")
        finally:
            closed.chmod(0o755)
        assert files(closed) == before
        assert snapshot.recovered == ("-wal",)
        with closing(open_snapshot(own / "s.db")) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(101,)]
        assert sorted(path.name for path in own.iterdir()) == ["s.db"]


# -- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (("BEGIN EXCLUSIVE",), "EXCLUSIVE"),
        (("BEGIN IMMEDIATE",), "RESERVED"),
        (("BEGIN", "SELECT * FROM orders"), "SHARED"),
        (("SELECT * FROM orders",), None),
    ],
)
def test_a_lock_of_another_process_is_seen(folder: Path, statements: tuple[str, ...], kind: str | None) -> None:
    source = made(folder / "app.db")
    with holding(source, *statements) as process:
        lock = lock_of_others(source)
        assert (lock and (lock.kind, lock.process)) == (kind and (kind, process))
    assert lock_of_others(source) is None
    assert lock_of_others(folder / "none.db") is None


def test_an_exclusive_lock_ends_in_an_error_that_names_it_and_its_holder(folder: Path) -> None:
    source = made(folder / "app.db")
    with holding(source, "BEGIN EXCLUSIVE") as process:
        with pytest.raises(SourceLocked, match=f"process {process} holds an EXCLUSIVE lock") as caught:
            planned(source, busy_timeout=0.1)
        assert caught.value.exit_code == 7
    assert rows(planned(source)) == {"orders": 100}


VACUUM = """
    import sqlite3, sys
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
    db.execute("PRAGMA synchronous = OFF")
    print("ready", flush=True)
    while True:
        db.execute("VACUUM")
    """


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_vacuum_in_the_middle_is_no_matter(folder: Path, mode: str) -> None:
    source = made(folder / "app.db", count=900)
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("DELETE FROM orders WHERE id % 3 = 0")
    command = [sys.executable, "-c", textwrap.dedent(VACUUM), str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as vacuum:
        try:
            assert vacuum.stdout is not None
            assert vacuum.stdout.readline() == "ready\n"
            for number in range(5):
                snapshot = take_snapshot(source, folder / f"s{number}.db", busy_timeout=30, pages_per_step=16)
                with closing(open_snapshot(snapshot.path)) as connection:
                    assert connection.execute("SELECT count(*) FROM orders").fetchall() == [(600,)]
        finally:
            vacuum.kill()


# -- what no check can see, and what one can --------------------------------------------------------------------------


def flipped(source: Path, word: bytes) -> Path:
    """One bit of a stored value, in the table and not in the index."""
    content = bytearray(source.read_bytes())
    at = content.rindex(word)
    content[at] ^= 0x01
    source.write_bytes(content)
    return source


def test_a_flipped_bit_in_a_value_that_an_index_holds_is_found(folder: Path) -> None:
    source = made(folder / "app.db", extra="CREATE INDEX by_note ON orders(note);")
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("INSERT INTO orders(note) VALUES ('a certain note')")
    result = planned(flipped(source, b"a certain note"))
    gate = next(gate for gate in result.gates if gate.name == "source-indexes")
    assert gate.status == "fail"
    assert "by_note" in gate.detail
    assert result.exit_code == 3


def test_the_indexes_of_a_sound_file_agree(folder: Path) -> None:
    source = made(folder / "app.db", extra="CREATE INDEX by_note ON orders(note);")
    gate = next(gate for gate in planned(source).gates if gate.name == "source-indexes")
    assert (gate.status, gate.checked) == ("pass", 1)


def test_an_index_on_a_function_of_the_application_is_left_out(folder: Path) -> None:
    source = folder / "app.db"
    with closing(sqlite3.connect(source)) as db:
        db.create_function("only_in_the_app", 1, lambda value: value, deterministic=True)
        db.executescript(
            "CREATE TABLE t(a); CREATE INDEX i ON t(only_in_the_app(a)); INSERT INTO t VALUES (1);"
            "CREATE TABLE w(k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE INDEX j ON w(only_in_the_app(k));"
        )
    gate = next(gate for gate in planned(source).gates if gate.name == "source-indexes")
    assert gate.status == "skipped"
    assert "2 tables left out" in gate.detail


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_all_encodings_and_journal_modes_are_read_and_left_alone(folder: Path, encoding: str, mode: str) -> None:
    source = folder / "app.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.executescript(f"PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = {mode}; CREATE TABLE t(a TEXT);")
        db.execute("INSERT INTO t VALUES ('é日🙂')")
    assert rows(planned(source)) == {"t": 1}


def test_a_link_is_resolved_and_shown(folder: Path) -> None:
    source = made(folder / "app.db")
    (folder / "link.db").symlink_to(source)
    assert planned(folder / "link.db").source == str(source.resolve())


def test_a_network_file_system_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_findings, "file_system_of", lambda path: "nfs4")
    found = finding(planned(made(folder / "app.db")), "REMOTE_FILE_SYSTEM")
    assert found is not None
    assert found.severity == "note"
    assert "nfs4" in found.message


# -- larger than a gibibyte ------------------------------------------------------------------------------------------


def test_a_file_beyond_the_lock_page_is_copied(folder: Path) -> None:
    """Page 262145 of a file with pages of 4 KiB lies where SQLite keeps its locks, and holds nothing."""
    source = made(folder / "large.db", count=10)
    lock_page = 0x40000000 // PAGE + 1
    pages = lock_page + 40
    first = source.stat().st_size // PAGE + 1
    os.truncate(source, pages * PAGE)
    free = [page for page in range(first, pages + 1) if page != lock_page]
    near = [page for page in free if page > lock_page - 20]
    _as_free_list(source, [page for page in free if page <= lock_page - 20], near, pages)
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        # The first free pages to be taken are those around the lock page.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        db.executemany("INSERT INTO orders(note) VALUES (?)", [("z" * 3000,)] * 25)
        db.execute("COMMIT")
    snapshot = take_snapshot(source, folder / "s.db", pages_per_step=8192)
    assert snapshot.bytes > 1 << 30
    with closing(open_snapshot(snapshot.path)) as connection:
        assert connection.execute("SELECT count(*), sum(length(note)) FROM orders").fetchall() == [(35, 77000)]
    snapshot.path.unlink()
    source.unlink()


def _as_free_list(path: Path, far: list[int], near: list[int], pages: int) -> None:
    """Write the pages of a sparse file into its free list; SQLite takes from the first trunk first."""
    most = PAGE // 4 - 8
    trunks: list[tuple[int, list[int]]] = [(near[0], near[1:])]
    for start in range(0, len(far), most + 1):
        block = far[start : start + most + 1]
        trunks.append((block[0], block[1:]))
    with path.open("r+b") as file:
        for (trunk, leaves), following in zip(trunks, [*trunks[1:], (0, [])], strict=True):
            file.seek((trunk - 1) * PAGE)
            file.write(b"".join(number.to_bytes(4, "big") for number in (following[0], len(leaves), *leaves)))
        file.seek(28)
        file.write(pages.to_bytes(4, "big") + trunks[0][0].to_bytes(4, "big"))
        file.write((len(far) + len(near)).to_bytes(4, "big"))
