"""The control row: which of the two engines serves, as Postgres knows it; the other authority is SQLite's fence.

`epoch` only grows. Whoever takes over raises it, and every transaction in which the tool writes to the target begins
by holding the row at the epoch and in the state it expects (`hold`): a tool that was paused, and wakes after another
took over, writes nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from nasmigrate.core.errors import StateError, TakenOver

_DDL = """
CREATE TABLE IF NOT EXISTS nasmigrate.control (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    run_id uuid NOT NULL REFERENCES nasmigrate.run,
    epoch bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('CLOSED', 'OPEN', 'DRAINING')),
    plan_hash text NOT NULL,
    source text NOT NULL,
    command text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_at timestamptz,
    finalized boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE nasmigrate.control IS 'Which engine serves; see nasmigrate status. Never change it by hand.';
"""
_COLUMNS = (
    "run_id::text, epoch, state, plan_hash, source, command, host, pid, xid::text::bigint, changed_at::text,"
    " opened_at::text, finalized"
)


class State(StrEnum):
    """States of the control row."""

    CLOSED = "CLOSED"
    """The application has no rights here; SQLite serves, unless it is fenced."""
    OPEN = "OPEN"
    """Postgres serves."""
    DRAINING = "DRAINING"
    """A rollback has closed Postgres; its rows must come home before SQLite may serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetIdentity:
    """Which database a fence means: the cluster's system identifier and the database's oid in it."""

    system_identifier: str
    database_oid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRow:
    """The row as it was read. `host` and `pid` are those of the tool that changed it last."""

    run_id: str
    epoch: int
    state: State
    plan_hash: str
    source: str
    command: str
    host: str
    pid: int
    xid: int
    changed_at: str
    opened_at: str | None
    finalized: bool


def target_identity(connection: psycopg.Connection) -> TargetIdentity:
    """The identity of the database that `connection` leads to."""
    row = connection.execute(
        "SELECT c.system_identifier::text, d.oid::bigint FROM pg_control_system() c, pg_database d"
        " WHERE d.datname = current_database()"
    ).fetchone()
    assert row is not None  # noqa: S101 - the database we are connected to has a row
    return TargetIdentity(system_identifier=row[0], database_oid=row[1])


def database_called(connection: psycopg.Connection, oid: int) -> str | None:
    """The name of the database of this cluster with that oid, None where there is none that can be connected to."""
    row = connection.execute(
        "SELECT datname FROM pg_database WHERE oid = %s::oid AND datallowconn AND datname <> current_database()", (oid,)
    ).fetchone()
    return None if row is None else str(row[0])


def read_control(connection: psycopg.Connection, *, for_update: bool = False) -> ControlRow | None:
    """The row, or None where no cutover was ever begun.

    With `for_update` the answer waits for a transaction that is changing the row, so it is final: after a lost answer
    the old session may still be committing.
    """
    there = connection.execute("SELECT to_regclass('nasmigrate.control') IS NOT NULL").fetchone()
    if not (there and there[0]):
        return None
    lock = " FOR UPDATE" if for_update else ""
    row = connection.execute(f"SELECT {_COLUMNS} FROM nasmigrate.control{lock}".encode()).fetchone()  # noqa: S608 - our own words
    if row is None:
        return None
    return ControlRow(
        run_id=row[0],
        epoch=row[1],
        state=State(row[2]),
        plan_hash=row[3],
        source=row[4],
        command=row[5],
        host=row[6],
        pid=row[7],
        xid=row[8],
        changed_at=row[9],
        opened_at=row[10],
        finalized=row[11],
    )


def create_control_row(connection: psycopg.Connection, *, run_id: str, plan_hash: str, source: str) -> int:
    """Create table and row, CLOSED, in the caller's transaction; the epoch.

    Raises:
        StateError: there is a row already.
    """
    connection.execute(_DDL)
    made = connection.execute(
        "INSERT INTO nasmigrate.control (run_id, epoch, state, plan_hash, source, command, host, pid)"
        " VALUES (%s, 1, 'CLOSED', %s, %s, 'cutover', %s, %s) ON CONFLICT DO NOTHING RETURNING epoch",
        (run_id, plan_hash, source, platform.node(), os.getpid()),
    ).fetchone()
    if made is None:
        raise StateError("the target has a control row already", hint="nasmigrate status says where things stand")
    return int(made[0])


def claim(connection: psycopg.Connection, states: Iterable[State], command: str) -> ControlRow:
    """Take the row over and commit: epoch + 1, state unchanged. Sessions of whoever had it are ended first.

    Ends every other session of nasmigrate in this database but those that only look, so it comes before the
    claiming run's own further connections.

    Args:
        connection: in no transaction.
        states: in which the row may be.
        command: who takes it.

    Raises:
        TakenOver: the state is another one by now.
        StateError: there is no row.
    """
    end_sessions_of_others(connection)
    wanted = tuple(states)
    row = read_control(connection, for_update=True)
    if row is None:
        connection.rollback()
        raise StateError("the target has no control row", hint="nasmigrate status says where things stand")
    if row.state not in wanted:
        connection.rollback()
        raise TakenOver(f"the control row is {row.state}, no longer {' or '.join(wanted)}")
    _set(connection, row.epoch, row.state, row.state, epoch=row.epoch + 1, command=command)
    connection.commit()
    claimed = read_control(connection)
    connection.commit()
    if claimed is None or claimed.epoch != row.epoch + 1:
        raise TakenOver("another nasmigrate took the control row over at the same moment")
    return claimed


def end_sessions_of_others(connection: psycopg.Connection) -> int:
    """Terminate the sessions of other runs of the tool in this database; how many there were."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        " AND application_name LIKE 'nasmigrate%' AND application_name NOT LIKE 'nasmigrate status%'"
    ).fetchone()
    connection.commit()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a writing transaction expects of the row; picklable, so that worker processes can hold it too."""

    epoch: int
    state: State = State.CLOSED

    def hold(self, connection: psycopg.Connection) -> None:
        """Hold the row until the transaction ends; the first statement of every transaction that writes.

        Raises:
            TakenOver: another run has taken over, or the state has changed.
        """
        row = connection.execute(
            "SELECT FROM nasmigrate.control WHERE epoch = %s AND state = %s FOR SHARE", (self.epoch, self.state)
        ).fetchone()
        if row is None:
            connection.rollback()
            raise TakenOver(f"the control row is no longer {self.state} at epoch {self.epoch}; nothing was written")


def begin_anew(connection: psycopg.Connection, held: Held, *, source: str) -> None:
    """A target that was rolled back is cut over to again: forget its earlier opening; committed.

    From here on `opened_at` says whether the fence to come has seen an opening.

    Raises:
        TakenOver: the row is not at that epoch and state any more.
    """
    held.hold(connection)
    connection.execute("UPDATE nasmigrate.control SET opened_at = NULL, source = %s", (source,))
    connection.commit()


def open_target(
    connection: psycopg.Connection, held: Held, grant: Callable[[psycopg.Connection], None], command: str
) -> None:
    """The commit point of a cutover: the row to OPEN and the grant, in one transaction, which is committed.

    Raises:
        TakenOver: the row is not at that epoch and state any more; nothing was done.
        psycopg.OperationalError: the connection broke; whether it was committed is for `state_now` to say.
    """
    connection.execute("SET LOCAL synchronous_commit = on")
    _set(connection, held.epoch, held.state, State.OPEN, command=command)
    # A rollback that was aborted opens again what was open: the application may have stayed connected.
    connection.execute("UPDATE nasmigrate.control SET opened_at = coalesce(opened_at, clock_timestamp())")
    grant(connection)
    connection.commit()


def drain(connection: psycopg.Connection, held: Held, revoke: Callable[[psycopg.Connection], None]) -> None:
    """The row to DRAINING and the revoke, in the transaction that already locks the tables; it is committed.

    Raises:
        TakenOver: the row is not at that epoch and state any more; nothing was done.
        psycopg.OperationalError: the connection broke; see `state_now`.
    """
    connection.execute("SET LOCAL synchronous_commit = on")
    _set(connection, held.epoch, held.state, State.DRAINING, command="rollback")
    revoke(connection)
    connection.commit()


def close_target(connection: psycopg.Connection, epoch: int, command: str) -> None:
    """From DRAINING to CLOSED, epoch + 1; committed. Comes after the fence was dropped, never before.

    Raises:
        TakenOver: the row is not DRAINING at that epoch any more.
    """
    connection.execute("SET LOCAL synchronous_commit = on")
    _set(connection, epoch, State.DRAINING, State.CLOSED, epoch=epoch + 1, command=command)
    connection.commit()


def set_finalized(connection: psycopg.Connection, epoch: int) -> None:
    """Mark that the window for a rollback was ended by the operator; committed.

    Raises:
        TakenOver: the row is not OPEN at that epoch any more.
    """
    _set(connection, epoch, State.OPEN, State.OPEN, command="finalize")
    connection.execute("UPDATE nasmigrate.control SET finalized = true")
    connection.commit()


def _set(
    connection: psycopg.Connection, at: int, before: State, after: State, *, command: str, epoch: int | None = None
) -> None:
    changed = connection.execute(
        "UPDATE nasmigrate.control SET state = %s, epoch = %s, command = %s, host = %s, pid = %s,"
        " xid = pg_current_xact_id(), changed_at = clock_timestamp(),"
        " finalized = finalized AND %s = 'OPEN' WHERE epoch = %s AND state = %s",
        (after, at if epoch is None else epoch, command, platform.node(), os.getpid(), after, at, before),
    )
    if changed.rowcount != 1:
        connection.rollback()
        raise TakenOver(f"the control row is no longer {before} at epoch {at}; nothing was changed")
