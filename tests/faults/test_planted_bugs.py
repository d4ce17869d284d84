"""Bugs planted into the tool are caught by the very checks that the fault tests make; without the bug they hold."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import faults
from support.night import Night, night_on


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


def test_a_lost_lock_never_gives_two_writers(night: Night) -> None:
    """The fresh process sees the fence and is refused, or Postgres is not opened.

    What such a process overwrites in the file is lost to SQLite itself, before anyone could look; hence it does nothing
    else.
    """
    night.drive("cutover", "P7:committed", plant="careless-child")
    assert len(night.takers()) <= 1


def test_a_lost_lock_and_no_fresh_process(night: Night) -> None:
    """Two engines take writes, or the file is destroyed: which, is chance; either is seen."""
    killed = night.drive("cutover", "P7:committed", plant="careless-and-unchecked")
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        faults.settled(night)
