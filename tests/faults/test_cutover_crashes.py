"""A cutover or rollback killed at the boundary of any phase: `resume` ends with one engine, and nothing is lost."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.night import Night, make_rehearsed, night_on

from nasmigrate.core.phases import CUTOVER, ROLLBACK
from nasmigrate.postgres.embedded import EmbeddedServer

# The end of a phase is the beginning of the next one. NASMIGRATE_EVERY_CRASH=1 takes all of
# them, a plain run those around the commits.
EVERY = bool(os.environ.get("NASMIGRATE_EVERY_CRASH"))
CUTOVER_POINTS = [f"{phase.key}:begin" for phase in CUTOVER if phase.key != "P10"]
CUTOVER_POINTS += ["P5:committed", "P6:committed", "P7:committed", "P9:end"]
ROLLBACK_POINTS = [f"{phase.key}:begin" for phase in ROLLBACK] + ["R3:committed", "R4:committed", "R5:end"]
FEW = ("P3:begin", "P5:begin", "P6:committed", "P7:committed", "R2:begin", "R3:committed", "R4:committed")


def chosen(points: list[str]) -> list[str]:
    """The points of this run."""
    return [point for point in points if EVERY or point in FEW]


@pytest.mark.parametrize("point", chosen(CUTOVER_POINTS))
def test_a_cutover_killed_at(point: str, night: Night) -> None:
    killed = night.drive("cutover", point)
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    assert len(night.takers()) <= 1
    first = night.document("resume")
    decided = point in ("P7:committed", "P7:end") or point[:2] in ("P8", "P9")
    assert first["code"] in ((0, 4) if decided else (0, 11)), first
    meaning = night.meaning()
    assert night.assert_one_serves() == ("Postgres" if decided else "SQLite")
    again = night.document("resume")
    assert again["code"] == first["code"] or decided, again
    assert night.meaning() == meaning, "resume twice is not resume once"
    assert night.assert_one_serves_and_nothing_is_lost() == ("Postgres" if decided else "SQLite")


@pytest.mark.parametrize("point", chosen(ROLLBACK_POINTS))
def test_a_rollback_killed_at(point: str, night: Night) -> None:
    done = night.run("cutover")
    assert done.returncode == 0, done.stdout + done.stderr
    night.wait_for_writes()
    killed = night.drive("rollback", point)
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    assert len(night.takers()) <= 1
    resumed = night.document("resume")
    assert resumed["code"] in (0, 4), resumed
    closed = point in ("R3:committed", "R3:end") or point[:2] in ("R4", "R5")
    assert night.assert_one_serves_and_nothing_is_lost() == ("SQLite" if closed else "Postgres")
    # Whatever it was, the way there and back is open again.
    night.start_writers(("w2", "w3"))
    if not closed:
        done = night.run("rollback")
        assert done.returncode == 0, done.stdout + done.stderr
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


@pytest.fixture(scope="module")
def rehearsed_without_wal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `rehearsed`, with a rollback journal."""
    return make_rehearsed(tmp_path_factory.mktemp("rehearsed-without-wal"), mode="DELETE", rows=50)


@pytest.fixture
def quiet_night(durable: EmbeddedServer, rehearsed_without_wal: Path, tmp_path: Path) -> Iterator[Night]:
    """A night with a rollback journal, in which nobody but the tool opens the file."""
    with night_on(durable.dsn, tmp_path, rehearsed_without_wal, f"n{uuid.uuid4().hex[:10]}") as made:
        yield made


@pytest.mark.parametrize(
    ("point", "command", "says", "serves"),
    [
        ("R1:begin", "rollback", "Postgres serves", "SQLite"),
        ("R3:committed", "resume", "a rollback is under way", "SQLite"),
        ("R3:committed", "abort", "a rollback is under way", "Postgres"),
    ],
)
def test_a_journal_that_a_killed_rollback_left_hot_holds_nothing_up(
    point: str, command: str, says: str, serves: str, quiet_night: Night
) -> None:
    night = quiet_night
    done = night.run("cutover")
    assert done.returncode in (0, 4), done.stdout + done.stderr  # no application, so none arrives
    with psycopg.connect(night.as_application) as connection:
        connection.execute("INSERT INTO orders (writer, number) VALUES ('w9', 1)")
    killed = night.drive("rollback", point)
    assert killed.returncode == -signal.SIGKILL, (night.folder / "driver.log").read_text()
    assert night.source.with_name("app.db-journal").stat().st_size, "the transaction had not reached the file"
    # The application is on Postgres: before the tool nobody opens the file, which would recover it.
    status = night.document("status")
    assert status.get("meaning") == says, status
    done = night.run(command)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert night.takers() == {serves}
