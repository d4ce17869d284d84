"""Ten processes write to the live file and never stop: there, back and there again, and every write is counted.

A plain run takes a minute; `make soak` lets each engine serve for minutes, several times.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.night import WRITERS, Night, night_on
from support.turns import turns

from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.demo.oracle import read_log

ROUNDS = int(os.environ.get("NASMIGRATE_SOAK_ROUNDS", "1"))
SERVING = float(os.environ.get("NASMIGRATE_SOAK_SERVING", "4"))
"""Seconds for which each engine serves between two switches."""
PAUSE = 0.05
"""Seconds between two writes of a writer: together they write some 150 times a second."""
PROBE_PAUSE = 0.1


@pytest.fixture
def night(durable: EmbeddedServer, rehearsed: Path, tmp_path: Path) -> Iterator[Night]:
    """A night with ten writers."""
    with night_on(durable.dsn, tmp_path, rehearsed, "soak") as made:
        made.start_writers(WRITERS, pause=PAUSE)
        yield made


def test_ten_writers_all_the_way_there_and_back(night: Night) -> None:
    """What each was told is there once, what it was refused is not, and no instant had two engines taking writes."""
    with probing(night) as seen:
        for _ in range(ROUNDS):
            serve(night)
            switched(night, "cutover", "Postgres")
            serve(night)
            switched(night, "rollback", "SQLite")
        serve(night)
        switched(night, "cutover", "Postgres")
        serve(night)
    assert {"SQLite"} in seen
    assert {"Postgres"} in seen
    assert {"SQLite", "Postgres"} not in seen
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"
    told = {name: read_log(night.folder / f"{name}.log") for name in WRITERS}
    assert turns(told) == ["sqlite", "postgres"] * (ROUNDS + 1)
    written = sum(len(heard.acknowledged) for heard in told.values())
    refused = sum(len(heard.refused) for heard in told.values())
    gap = max(heard.longest_gap for heard in told.values())
    print(f"\n{written:,} writes acknowledged, {refused:,} refused, {len(seen):,} instants probed, gap {gap:.1f} s")


def serve(night: Night) -> None:
    """Let one engine serve; every writer gets writes acknowledged by it."""
    night.wait_for_writes()
    time.sleep(SERVING)


def switched(night: Night, command: str, serving: str) -> None:
    """A command that passes and after which one engine serves."""
    done = night.document(command)
    assert done["code"] == 0, done
    assert night.document("status")["writer"] == serving


@contextmanager
def probing(night: Night) -> Iterator[list[set[str]]]:
    """Ask again and again which engines take a write at that instant, in a thread; what was found."""
    found: list[set[str]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(PROBE_PAUSE):
            found.append(night.takers(patience=0.0))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
