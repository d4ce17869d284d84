"""Bugs planted into the tool are caught by the very checks that the fault tests make; without the bug they hold."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import faults
from support.night import Night, night_on

from nasmigrate.core.errors import ExitCode


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.World]:
    with faults.world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def night(world: faults.World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Night]:
    with night_on(world.server.dsn, tmp_path, world.rehearsed, f"p{abs(hash(request.node.name)) % 10**9}") as made:
        made.start_writers()
        yield made


@pytest.mark.parametrize("plant", [None, "no-bump"])
def test_a_guard_dropped(plant: str | None, night: Night) -> None:
    """A tool is suspended between fence and opening; `resume` drops the fence elsewhere; then it wakes."""
    process = night.drive("cutover", "P7:begin", signal.SIGSTOP, wait=False)
    try:
        faults.wait_until_stopped(process, night)
        resumed = night.drive("resume", "nowhere", plant=plant)
        assert resumed.returncode in (0, 11), (night.folder / "driver.log").read_text()
        assert night.takers() == {"SQLite"}
        process.send_signal(signal.SIGCONT)
        process.wait(faults.LIMIT)
    finally:
        process.kill()
        process.wait()
    if plant is None:
        assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"
    else:
        assert night.takers() == {"SQLite", "Postgres"}, "two engines take writes, as run_cell would see"


def test_fence_and_opening_swapped(night: Night) -> None:
    killed = night.drive("cutover", "planted", plant="open-first")
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    assert night.takers() == {"SQLite", "Postgres"}, "two engines take writes, as run_cell would see"


def test_a_write_in_spite_of_a_lost_lock_is_kept(night: Night) -> None:
    """The process that froze the source has lost its lock: that is seen before the fence would overwrite a write."""
    done = night.drive("cutover", "nowhere", plant="careless-child")
    log = (night.folder / "driver.log").read_text()
    assert done.returncode == ExitCode.ROLLED_BACK, log
    assert "the write lock was lost" in log
    with closing(sqlite3.connect(night.source)) as connection:
        assert connection.execute("SELECT count(*) FROM tags WHERE tag = 'careless'").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_a_lost_lock_that_nobody_saw_never_gives_two_writers(night: Night) -> None:
    """The fresh process sees the fence and is refused, or Postgres is not opened."""
    night.drive("cutover", "P7:committed", plant="careless-and-unseen")
    assert len(night.takers()) <= 1


def test_a_lost_lock_and_no_fresh_process(night: Night) -> None:
    """Two engines take writes, or the file is destroyed: which, is chance; either is seen."""
    killed = night.drive("cutover", "P7:committed", plant="careless-and-unchecked")
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        faults.settled(night)


@pytest.mark.parametrize(
    ("plant", "ends"), [("careless-home", ExitCode.ROLLED_BACK), ("unseen-home", ExitCode.ROLLBACK_FAILED)]
)
def test_a_rollback_that_lost_its_lock(plant: str, ends: ExitCode, night: Night) -> None:
    """Before Postgres is closed it goes on serving; afterwards the rows count as home when everybody sees them."""
    assert night.run("cutover").returncode == 0
    night.wait_for_writes()
    done = night.drive("rollback", "nowhere", plant=plant)
    log = (night.folder / "driver.log").read_text()
    assert done.returncode == ends, log
    assert ("the write lock was lost" if ends is ExitCode.ROLLED_BACK else "still sees the fence") in log
    serving, _ = faults.settled(night)
    assert serving == ("Postgres" if ends is ExitCode.ROLLED_BACK else "SQLite")
