"""Ways out of a cutover or rollback that stopped in the middle, each for one row of the table of authorities."""

from __future__ import annotations

from dataclasses import replace

from nasmigrate.core.errors import FenceLost
from nasmigrate.postgres.control_row import ControlRow, Held, State, TargetIdentity, claim, close_target
from nasmigrate.sqlite.fence import Fence
from nasmigrate.sqlite.live import live_process
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.opening import open_postgres


def take_over(ends: Ends, states: tuple[State, ...], command: str) -> ControlRow:
    """Raise the epoch, so that whoever worked before writes nothing any more.

    Raises:
        TakenOver: the control row is in none of these states by now.
    """
    with ends.connected() as connection:
        return claim(connection, states, command)


def undo(ends: Ends, identity: TargetIdentity, command: str) -> bool:
    """SQLite shall serve, and Postgres was never opened: raise the epoch, then drop the fence; whether there was one.

    Raises:
        TakenOver: Postgres is not CLOSED (any more).
        FenceLost: the fence stands for another database, or another run has stamped it meanwhile.
    """
    row = take_over(ends, (State.CLOSED,), command)
    with live_process(ends.source) as process:
        if process.read(busy=ends.busy)["fence"] is None:
            return False
    with live_process(ends.source) as process:
        process.lift(
            busy=ends.busy,
            system_identifier=identity.system_identifier,
            database_oid=identity.database_oid,
            older_than=row.epoch,
        )
    return True


def stamp(ends: Ends, fence: Fence, identity: TargetIdentity, epoch: int) -> Fence:
    """Write `epoch` into the fence, so that a run with a lower one can drop it no more.

    Raises:
        FenceLost: it is not there, or not this target's.
    """
    with live_process(ends.source) as process:
        return process.stamp(
            replace(fence, epoch=epoch),
            busy=ends.busy,
            system_identifier=identity.system_identifier,
            database_oid=identity.database_oid,
        )


def reopen(ends: Ends, fence: Fence, identity: TargetIdentity) -> int:
    """A rollback shall not happen: take over, stamp the fence, open Postgres again; the new epoch.

    Raises:
        TakenOver: the rollback has ended meanwhile.
        FenceLost: its fence is gone: the rows are home.
        SourceLocked: its SQLite transaction is still open in another process.
    """
    row = take_over(ends, (State.DRAINING,), "abort")
    stamp(ends, fence, identity, row.epoch)
    open_postgres(ends, Held(epoch=row.epoch, state=State.DRAINING), "abort")
    return row.epoch


def close_after(ends: Ends, command: str) -> None:
    """The rows are home and the fence is dropped: set the control row to CLOSED.

    Raises:
        TakenOver: it is not DRAINING any more.
        FenceLost: there is a fence, so the rows are not home.
    """
    row = take_over(ends, (State.DRAINING,), command)
    with live_process(ends.source) as process:
        if process.read(busy=ends.busy)["fence"] is not None:
            raise FenceLost(f"{ends.source}: is fenced, so its rows are not home", hint="nasmigrate resume")
    with ends.connected() as connection:
        close_target(connection, row.epoch, command)
