"""A copy by one process or several, interrupted or killed: nothing stays running, and going on finishes it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from data_samples import shapes
from psycopg import sql
from support.processes import LIMIT, chunks_in_ledger, nasmigrate, nasmigrate_signalled, wait_until_alone

from nasmigrate.schema.parts import SPREAD_ROWS

ROWS = SPREAD_ROWS + 10_000
SMALL_TABLES = 20
CHUNK_ROWS = 10_000
SETTINGS = f"[transfer]\nworkers = 2\nchunk_rows = {CHUNK_ROWS}\n"


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Children are interruptible: a shell starts background jobs with SIGINT ignored, which a child would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that is worth two processes: one large table, and small ones that end after it."""
    folder = tmp_path_factory.mktemp("large")
    shapes.bench_table(folder / "app.db", rows=ROWS)
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        for number in range(SMALL_TABLES):
            connection.execute(f"CREATE TABLE small_{number} (id INTEGER PRIMARY KEY, t TEXT)")
            connection.execute(f"INSERT INTO small_{number} VALUES (1, 'a'), (2, NULL), (3, '')")
        connection.commit()
    (folder / "nasmigrate.toml").write_text(SETTINGS, encoding="utf-8")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A folder with the source and the settings, in which nothing was run yet."""
    for name in ("app.db", "nasmigrate.toml"):
        shutil.copy2(made / name, tmp_path / name)
    return tmp_path


def rows_in(database: str) -> dict[str, int]:
    """Table -> rows, counted by the server."""
    with psycopg.connect(database) as connection:
        names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        counts = {}
        for name in names:
            query = sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name))
            row = connection.execute(query).fetchone()
            counts[name] = int(row[0]) if row else 0
        return counts


def running_in(folder: Path) -> list[int]:
    """Processes whose working directory is the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_small_tables_of_a_worker_are_committed(folder: Path, database: str) -> None:
    done = nasmigrate(folder, "copy", "app.db", database)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_in(database) == {"big": ROWS, **{f"small_{number}": 3 for number in range(SMALL_TABLES)}}


def wait_until_none_runs(folder: Path) -> None:
    """Wait until the last process in the folder has ended."""
    limit = time.monotonic() + LIMIT
    while running := running_in(folder):
        if time.monotonic() > limit:
            raise TimeoutError(f"processes {running} outlive the killed one")
        time.sleep(0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Which signal reaches whom: the command alone, or, as at Ctrl-C in a terminal, its workers as well."""

    number: signal.Signals
    workers: int
    to_group: bool = False

    def __str__(self) -> str:
        return f"{self.number.name} {self.workers} workers{' all of them' if self.to_group else ''}"


CASES = (
    Case(number=signal.SIGINT, workers=1),
    Case(number=signal.SIGINT, workers=2),
    Case(number=signal.SIGINT, workers=2, to_group=True),
    Case(number=signal.SIGTERM, workers=1),
    Case(number=signal.SIGTERM, workers=2),
    Case(number=signal.SIGKILL, workers=2),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_interrupted_in_the_middle_of_the_copy(
    folder: Path,
    database: str,
    case: Case,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    settings = folder / "nasmigrate.toml"
    settings.write_text(settings.read_text().replace("workers = 2", f"workers = {case.workers}"))
    with psycopg.connect(database, autocommit=True) as watcher:
        code, errors = nasmigrate_signalled(
            folder,
            ("copy", "app.db", database),
            case.number,
            lambda: chunks_in_ledger(watcher) >= 3,
            to_group=case.to_group,
        )
        wait_until_alone(watcher)
        copied = chunks_in_ledger(watcher)
    assert copied < ROWS // CHUNK_ROWS, "the copy had ended before it was interrupted"
    if case.number is signal.SIGKILL:
        assert code == -signal.SIGKILL
        # Workers notice the loss of their parent by themselves, which takes a moment.
        wait_until_none_runs(folder)
    else:
        assert code == 130, errors
        assert "--resume" in errors
        assert "Traceback" not in errors
    assert running_in(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == [".nasmigrate", "app.db", "nasmigrate.toml"]
    assert list(temporary.iterdir()) == []
    done = nasmigrate(folder, "copy", "app.db", database, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_in(database) == {"big": ROWS, **{f"small_{number}": 3 for number in range(SMALL_TABLES)}}
    again = nasmigrate(folder, "verify", "app.db", database)
    assert again.returncode == 0, again.stdout + again.stderr
