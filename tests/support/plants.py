"""Bugs planted into the tool, to show that the fault tests would catch them. Named on the driver's command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nasmigrate.sqlite.live
from nasmigrate.postgres.control_row import ControlRow, end_sessions_of_others, read_control
from nasmigrate.sqlite.live import LiveProcess
from nasmigrate.workflows.cutover import switch, undo
from nasmigrate.workflows.cutover.ends import Ends

CARELESS_CHILD = Path(__file__).with_name("careless_child.py")
Watch = Callable[[str], None]


def no_bump(_watch: Watch) -> None:
    """Whoever takes over leaves the epoch as it is."""

    def take_over(ends: Ends, _states: object, _command: str) -> ControlRow:
        with ends.connected() as connection:
            end_sessions_of_others(connection)
            row = read_control(connection)
            connection.commit()
        assert row is not None
        return replace(row, epoch=row.epoch + 1)  # so it believes

    undo.take_over = take_over


def open_first(watch: Watch) -> None:
    """P6 and P7 are swapped: Postgres is opened before the fence is committed."""
    open_postgres, commit_fence = switch.open_postgres, LiveProcess.fence
    waiting: list[tuple[LiveProcess, Any]] = []

    def later(self: LiveProcess, fence: Any) -> int:
        waiting.append((self, fence))
        return 0

    def opened(*arguments: Any, **words: Any) -> None:
        open_postgres(*arguments, **words)
        watch("planted")
        for process, fence in waiting:
            commit_fence(process, fence)

    LiveProcess.fence = later  # type: ignore[method-assign]
    switch._check = lambda newcomer, fence: None
    switch.open_postgres = opened


def careless_child(_watch: Watch) -> None:
    """The process that holds the lock opens and closes the source with another SQLite library."""

    class Popen(nasmigrate.sqlite.live.subprocess.Popen):  # type: ignore[misc, name-defined]
        def __init__(self, words: list[str], **settings: Any) -> None:
            if "nasmigrate.sqlite.live_child" in words:
                words = [sys.executable, str(CARELESS_CHILD), *words[3:]]
            super().__init__(words, **settings)

    nasmigrate.sqlite.live.subprocess = type("Planted", (), {**vars(nasmigrate.sqlite.live.subprocess), "Popen": Popen})  # type: ignore[assignment]


def careless_and_unchecked(watch: Watch) -> None:
    """The same, and no fresh process looks whether the fence is there."""
    careless_child(watch)
    switch._check = lambda newcomer, fence: None


PLANTS: dict[str, Callable[[Watch], None]] = {
    "no-bump": no_bump,
    "open-first": open_first,
    "careless-child": careless_child,
    "careless-and-unchecked": careless_and_unchecked,
}
