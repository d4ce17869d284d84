"""`nasmigrate copy` ended in the middle, at every phase: going on gives what an undisturbed copy gives."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from data_samples import generate
from psycopg import sql
from support.postgres import fresh_database
from support.processes import (
    began,
    chunks_in_ledger,
    events,
    nasmigrate,
    nasmigrate_signalled,
    wait_until_alone,
)

from nasmigrate.postgres.embedded import EmbeddedServer

SEED = 20_260_314
ROWS = 30_000

# Chunks are small so that there are about a hundred, each committed soon after it was written.
SETTINGS = """
[transfer]
chunk_rows = 500
chunk_bytes = "64 KiB"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When to kill: `share` of a phase's usual duration after it began, or when that share of the chunks is there."""

    phase: str
    share: float
    by_chunks: bool = False

    def __str__(self) -> str:
        return f"{self.phase} {self.share:.0%}{' of the chunks' if self.by_chunks else ''}"


def moments() -> tuple[Moment, ...]:
    """Twenty moments over the whole run, the same in every session."""
    rng = random.Random(SEED)
    shares = {
        "snapshot": 1,
        "profile": 2,
        "plan": 1,
        "target": 1,
        "tables": 2,
        "keys": 3,
        "finish": 2,
        "digests": 2,
        "objects": 1,
    }
    timed = [Moment(phase=phase, share=rng.uniform(0.0, 0.9)) for phase, times in shares.items() for _ in range(times)]
    copying = [Moment(phase="copy", share=(part + rng.random()) / 5, by_chunks=True) for part in range(5)]
    return (*timed, *copying)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What a copy comes to when nobody disturbs it. `folder` holds source and settings, `seconds` is by phase."""

    folder: Path
    rows: dict[str, int]
    seconds: dict[str, float]
    chunks: int
    contents: dict[str, object]


def make_source(path: Path) -> dict[str, int]:
    """The quirky marketplace (originals, generated columns), and a table without a key that has equal rows."""
    rows = generate.generate(path, rows=ROWS, variant="quirky")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE visits (page TEXT, seconds INTEGER)")
        connection.executemany("INSERT INTO visits VALUES (?, ?)", [(f"/{n % 70}", n % 30) for n in range(3000)])
        connection.commit()
    return {**rows, "visits": 3000}


def contents(database: str, tables: list[str]) -> dict[str, object]:
    """What the target holds, by plain SQL: rows, a checksum over them, ledger, originals, indexes, next numbers."""
    found: dict[str, object] = {}
    with psycopg.connect(database) as connection:
        for table in tables:
            found[table] = connection.execute(
                sql.SQL("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM public.{} t").format(
                    sql.Identifier(table)
                )
            ).fetchone()
        for what, query in (
            ("runs", "SELECT count(*) FROM nasmigrate.run"),
            ("state", "SELECT state FROM nasmigrate.run"),
            ("ledger", "SELECT table_name, sum(rows), sum(originals) FROM nasmigrate.chunk GROUP BY 1 ORDER BY 1"),
            (
                "originals",
                "SELECT table_name, column_name, count(*) FROM nasmigrate.originals GROUP BY 1, 2 ORDER BY 1, 2",
            ),
            ("indexes", "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"),
            ("constraints", "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1"),
            ("numbers", "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"),
        ):
            found[what] = connection.execute(query).fetchall()
    return found


@pytest.fixture(scope="module")
def undisturbed(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    rows = make_source(folder / "app.db")
    (folder / "nasmigrate.toml").write_text(SETTINGS, encoding="utf-8")
    assert nasmigrate(folder, "plan", "app.db", "--write-accepts").returncode == 3
    shutil.rmtree(folder / ".nasmigrate")
    with fresh_database(server.dsn) as database:
        done = nasmigrate(folder, "copy", "app.db", database)
        assert done.returncode == 0, done.stdout + done.stderr
        seconds = {
            str(event["name"]): float(str(event["seconds"]))
            for event in events(folder)
            if "seconds" in event and "name" in event
        }
        with psycopg.connect(database, autocommit=True) as connection:
            chunks = chunks_in_ledger(connection)
        found = contents(database, list(rows))
    shutil.rmtree(folder / ".nasmigrate")
    assert {table: found[table][0] for table in rows} == rows  # type: ignore[index]
    assert chunks > 60
    return Undisturbed(folder=folder, rows=rows, seconds=seconds, chunks=chunks, contents=found)


@pytest.fixture
def folder(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A folder with the source and the settings, in which nothing was run yet."""
    for name in ("app.db", "nasmigrate.toml"):
        shutil.copy2(undisturbed.folder / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def watcher(database: str) -> Iterator[psycopg.Connection]:
    """A session in the target that looks on."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def kill(folder: Path, database: str, watcher: psycopg.Connection, usual: Undisturbed, moment: Moment) -> None:
    """Kill a copy at the moment. One that was quicker than usual and had ended is repeated with a shorter delay."""
    if moment.by_chunks:
        wanted = max(1, round(moment.share * usual.chunks))
        code, _ = nasmigrate_signalled(
            folder, ("copy", "app.db", database), signal.SIGKILL, lambda: chunks_in_ledger(watcher) >= wanted
        )
    else:
        code, _ = nasmigrate_signalled(
            folder,
            ("copy", "app.db", database),
            signal.SIGKILL,
            lambda: began(folder, moment.phase),
            delay=moment.share * usual.seconds[moment.phase],
        )
    assert code == -signal.SIGKILL
    wait_until_alone(watcher)


@pytest.mark.parametrize("moment", moments(), ids=str)
def test_killed_and_resumed(
    folder: Path, database: str, watcher: psycopg.Connection, undisturbed: Undisturbed, moment: Moment
) -> None:
    kill(folder, database, watcher, undisturbed, moment)
    begun = watcher.execute("SELECT to_regclass('nasmigrate.run') IS NOT NULL").fetchone() == (True,)
    # A kill before the first write leaves nothing to go on with, and says so.
    if not begun:
        refused = nasmigrate(folder, "copy", "app.db", database, "--resume")
        assert refused.returncode == 11
        assert "nothing to resume" in refused.stderr
    done = nasmigrate(folder, "copy", "app.db", database, *(["--resume"] if begun else []))
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(database, list(undisturbed.rows)) == undisturbed.contents
    again = nasmigrate(folder, "verify", "app.db", database)
    assert again.returncode == 0, again.stdout + again.stderr


def test_the_moments_are_spread_over_the_run() -> None:
    assert len(moments()) == 20
    assert len({str(moment) for moment in moments()}) == 20
    assert moments() == moments()
