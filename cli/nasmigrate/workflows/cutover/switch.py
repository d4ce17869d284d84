"""P4 to P7, the pause: freeze, drain, fence, open. Whatever fails before the opening is undone here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from nasmigrate.core.errors import (
    FenceLost,
    GateFailed,
    NasmigrateError,
    OpeningInDoubt,
    RollbackFailed,
    SourceLocked,
    TakenOver,
)
from nasmigrate.postgres.connect import connect
from nasmigrate.postgres.control_row import Held, TargetIdentity
from nasmigrate.sqlite.fence import Fence
from nasmigrate.sqlite.live import LiveProcess, fence_of, live_process
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_pages
from nasmigrate.workflows.catch_up import CaughtUp, Ledger, Pass, catch_up
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.interrupts import hold_interrupts
from nasmigrate.workflows.cutover.opening import open_postgres
from nasmigrate.workflows.cutover.steps import Steps
from nasmigrate.workflows.cutover.undo import undo
from nasmigrate.workflows.cutover.watchdog import Watchdog

FROZEN = "frozen.db"
"""The pages of the source as they were under the lock, in the run's folder."""
_BUSY = 5.0
"""Seconds the newcomer of the check waits for the write lock, after the fence was committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """What the pause works on.

    `equal_to` is the snapshot that the target is equal to; `limit` the freeze's in seconds, None when there is none.
    """

    ends: Ends
    identity: TargetIdentity
    held: Held
    these: Pass
    ledger: Ledger
    equal_to: Path
    schema: str
    limit: float | None
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Postgres serves. `before` is a session that sees it exactly as it was at the opening.

    `frozen_copy` is the file as it was then.

    `frozen_seconds` are from the lock to the fence's commit, `copy_seconds` the part of them in which the pages were
    copied, `fence_seconds` that of the fence; `open_seconds` are from there to the opening.

    `interrupted`: somebody wanted to stop it, too late: the opening is the commit point, so the application follows.
    """

    fence: Fence
    drained: CaughtUp
    frozen_copy: Path
    before: psycopg.Connection
    frozen_seconds: float
    copy_seconds: float
    fence_seconds: float
    open_seconds: float
    interrupted: bool


def switch(steps: Steps, these: Switching, watchdog: Watchdog, stack: ExitStack) -> Opened:
    """Freeze the source, carry over the last changes, fence it, and open Postgres.

    Args:
        steps: runs the phases.
        these: what to work on.
        watchdog: told what may be killed and when all is decided.
        stack: closes the session `before` at the end of the run.

    Raises:
        SourceLocked: the lock was not to be had, or not held long enough; the source serves as before.
        GateFailed: the source's shape is no longer the rehearsed one; it serves as before.
        TakenOver: another run has taken over; it is that run's to say what serves.
        OpeningInDoubt: Postgres stopped answering at the commit point.
        RollbackFailed: the fence could not be dropped again; `resume` does it.
    """
    with ExitStack() as inner:
        # Everything that takes time to start is started before the freeze.
        freezer = inner.enter_context(live_process(these.ends.source))
        newcomer = inner.enter_context(live_process(these.ends.source))
        writer = inner.enter_context(these.ends.connected())
        before = stack.enter_context(_observer(these.ends))
        with steps("P4"):
            frozen = _freeze(freezer, these, watchdog)
        tried = False
        try:
            with steps("P5"):
                began = these.clock()
                frozen_copy = _pages(these)
                copied = these.clock()
                drained = catch_up(
                    writer,
                    these.these,
                    SourceFile(path=frozen_copy),
                    these.ledger,
                    these.held.hold,
                    since=these.equal_to,
                )
                writer.commit()
                steps.committed("P5")
                # From here on nobody writes to Postgres before the opening, so this is what will be opened.
                before.execute("SELECT 1")
            interrupts = inner.enter_context(hold_interrupts())
            with steps("P6"):
                fenced = these.clock()
                fence = these.ends.new_fence(these.these.run_id, these.identity, these.held.epoch)
                watchdog.fencing()
                freezer.fence(fence, witness=newcomer)
                thawed = these.clock()
                steps.committed("P6")
                _check(newcomer, fence)
            with steps("P7"):
                tried = True
                open_postgres(these.ends, these.held, "cutover", connection=writer)
                opened = these.clock()
                interrupts.too_late = True
                steps.committed("P7")
        except OpeningInDoubt:
            raise
        except BaseException as error:
            with hold_interrupts():
                with suppress(NasmigrateError):
                    freezer.release()
                freezer.close()
                _put_back(these, error, tried=tried)
            watchdog.decided()
            raise
        watchdog.decided()
    return Opened(
        fence=fence,
        drained=drained,
        frozen_copy=frozen_copy,
        before=before,
        frozen_seconds=thawed - frozen,
        copy_seconds=copied - began,
        fence_seconds=thawed - fenced,
        open_seconds=opened - thawed,
        interrupted=interrupts.came,
    )


def _freeze(freezer: LiveProcess, these: Switching, watchdog: Watchdog) -> float:
    """Take the lock; when it was granted, by the clock."""
    seen = freezer.freeze(busy=these.ends.busy, limit=these.limit)
    frozen = these.clock()
    watchdog.frozen(freezer.pid, these.limit)
    if fence_of(seen) is not None:
        freezer.release()
        raise FenceLost(f"{these.ends.source}: is fenced already, by another run", hint="nasmigrate status")
    if seen["schema"] != these.schema:
        freezer.release()
        raise GateFailed(
            f"{these.ends.source}: its schema changed since it was copied; nothing was switched",
            hint="rehearse again: nasmigrate rehearse",
            details={"gate": "schema-drift"},
        )
    return frozen


def _pages(these: Switching) -> Path:
    """The frozen file, copied: nobody writes while the lock is held, and this reader does not disturb it."""
    return take_pages(these.ends.source, these.these.workdir / FROZEN, busy_timeout=these.ends.busy)


@contextmanager
def _observer(ends: Ends) -> Iterator[psycopg.Connection]:
    """A session whose first statement fixes what it will see: all of Postgres at that moment."""
    connection = connect(ends.target.conninfo, purpose="nasmigrate observe")
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
    finally:
        connection.close()


def _check(newcomer: LiveProcess, fence: Fence) -> None:
    """A process that has never opened the file must see the fence, and be refused a write to every table.

    Raises:
        SourceLocked: a table took the write, or the fence is not there: the lock was lost on the way.
    """
    seen, taking = newcomer.probe(busy=_BUSY)
    if seen == fence and not taking:
        return
    what = f"takes writes to {', '.join(taking[:3])}" if taking else "does not see the fence"
    raise SourceLocked(
        f"{newcomer.path}: a fresh process {what}, though the fence was committed; Postgres was not opened",
        hint="locks do not hold on this file: end whatever else opens it inside this machine, then start again",
        code="NM0721",
    )


def _put_back(these: Switching, error: BaseException, *, tried: bool) -> None:
    """Drop the fence if it was put up; SQLite serves again.

    While this run has not tried to open Postgres, nobody can have opened it with this run's fence, so it is dropped
    even when Postgres does not answer. Afterwards the epoch is raised first, as `resume` does.

    Raises:
        RollbackFailed: it could not be dropped.
    """
    identity = these.identity
    try:
        if tried:
            undo(these.ends, identity, "cutover")
            return
        with live_process(these.ends.source) as process:
            if fence_of(process.read(busy=these.ends.busy)) is None:
                return
        with live_process(these.ends.source) as process:
            process.lift(
                busy=these.ends.busy,
                system_identifier=identity.system_identifier,
                database_oid=identity.database_oid,
                older_than=these.held.epoch + 1,
            )
    except TakenOver:
        return  # whoever did says what serves
    except NasmigrateError as failure:
        raise RollbackFailed(
            f"it stopped ({error}), and could not be put back: {failure.message}",
            hint="nasmigrate status says where things stand; nasmigrate resume settles it",
            details={"first": str(error), "then": failure.code},
        ) from error
