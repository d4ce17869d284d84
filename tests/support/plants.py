"""Bugs planted into the tool, to show that the fault tests would catch them. Named on the driver's command line."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from nasmigrate.postgres.control_row import ControlRow, end_sessions_of_others, read_control
from nasmigrate.sqlite.live import LiveProcess
from nasmigrate.workflows.cutover import switch, undo
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.rollback import run
from nasmigrate.workflows.rollback.home import HomeTransaction

CARELESS_CHILD = Path(__file__).with_name("careless_child.py")
Watch = Callable[[str], None]
_READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
connection.close()
"""


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
    waiting: list[tuple[LiveProcess, Any, LiveProcess]] = []

    def later(self: LiveProcess, fence: Any, *, witness: LiveProcess) -> int:
        waiting.append((self, fence, witness))
        return 0

    def opened(*arguments: Any, **words: Any) -> None:
        open_postgres(*arguments, **words)
        watch("planted")
        for process, fence, witness in waiting:
            commit_fence(process, fence, witness=witness)

    LiveProcess.fence = later  # type: ignore[method-assign]
    switch._check = lambda newcomer, fence: None
    switch.open_postgres = opened


def careless_child(_watch: Watch) -> None:
    """The process that holds the lock opens and closes the source with another SQLite library."""

    LiveProcess.program = (sys.executable, str(CARELESS_CHILD))


def careless_and_unseen(watch: Watch) -> None:
    """The same, and nobody looks whether its lock is there still."""
    careless_child(watch)
    LiveProcess.require_lock = lambda self, process, *, wal: None  # type: ignore[method-assign]


def careless_and_unchecked(watch: Watch) -> None:
    """The same, and no fresh process looks whether the fence is there."""
    careless_and_unseen(watch)
    switch._check = lambda newcomer, fence: None


def careless_home(_watch: Watch) -> None:
    """The tool opens and closes the source by another library while it holds its transaction of a rollback."""
    settle_home = run.settle_home

    def careless(target: Any, connection: Any, *rest: Any) -> Any:
        settled = settle_home(target, connection, *rest)
        forget_locks(connection.filename)
        return settled

    run.settle_home = careless


def unseen_home(_watch: Watch) -> None:
    """It does so right before the commit, and another process takes the log for one that nobody needs."""
    commit = HomeTransaction.commit

    def careless(self: HomeTransaction, **words: Any) -> None:
        forget_locks(str(self.path))
        subprocess.run([sys.executable, "-c", _READER, str(self.path)], timeout=20, check=True)
        commit(self, **words)

    HomeTransaction.commit = careless  # type: ignore[method-assign]


def forget_locks(path: str) -> None:
    """Drop every lock that this process holds on a database."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM sqlite_master").fetchall()


PLANTS: dict[str, Callable[[Watch], None]] = {
    "no-bump": no_bump,
    "open-first": open_first,
    "careless-child": careless_child,
    "careless-and-unseen": careless_and_unseen,
    "careless-and-unchecked": careless_and_unchecked,
    "careless-home": careless_home,
    "unseen-home": unseen_home,
}
