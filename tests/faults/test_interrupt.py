"""A copy by several processes, interrupted or killed: nothing stays running, and going on finishes it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from data_samples import shapes
from psycopg import sql
from support.processes import chunks_in_ledger, nasmigrate, nasmigrate_signalled, wait_until_alone

from nasmigrate.schema.parts import SPREAD_ROWS

ROWS = SPREAD_ROWS + 10_000
SMALL_TABLES = 20
SETTINGS = "[transfer]\nworkers = 2\nchunk_rows = 10000\n"


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_interrupted_while_two_processes_copy(folder: Path, database: str, number: signal.Signals) -> None:
    with psycopg.connect(database, autocommit=True) as watcher:
        code, errors = nasmigrate_signalled(
            folder, ("copy", "app.db", database), number, lambda: chunks_in_ledger(watcher) >= 3
        )
        wait_until_alone(watcher)
        copied = chunks_in_ledger(watcher)
    assert copied < ROWS // 10_000, "the copy had ended before it was interrupted"
    if number is signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 130, errors
        assert "--resume" in errors
    assert running_in(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == [".nasmigrate", "app.db", "nasmigrate.toml"]
    done = nasmigrate(folder, "copy", "app.db", database, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows_in(database) == {"big": ROWS, **{f"small_{number}": 3 for number in range(SMALL_TABLES)}}
    again = nasmigrate(folder, "verify", "app.db", database)
    assert again.returncode == 0, again.stdout + again.stderr
