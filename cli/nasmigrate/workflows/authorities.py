"""Where things stand: the fence in SQLite and the control row in Postgres, and what the two of them mean.

Every command that resumes, undoes, rolls back or tells obeys this reading alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg

from nasmigrate.core.errors import FenceLost, TargetError
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control_row import ControlRow, State, TargetIdentity, read_control, target_identity
from nasmigrate.sqlite.fence import Fence
from nasmigrate.sqlite.live import fence_of, live_process


class Meaning(StrEnum):
    """What fence and control row mean together (the table of docs/cutover.md)."""

    NOT_BEGUN = "no cutover was begun"
    SQLITE_SERVES = "SQLite serves"
    BETWEEN = "between fence and opening"
    POSTGRES_SERVES = "Postgres serves"
    COMING_HOME = "a rollback is under way"
    HOME = "a rollback has brought everything home"
    FENCE_LOST = "Postgres serves, and the source has lost its fence"
    FOREIGN_FENCE = "the source is fenced for another database"
    OTHER_FILE = "this file is not the one that was cut over"
    LEFT_FENCED = "a rollback has ended, and this file is still fenced"
    IN_DOUBT = "the source is fenced, and Postgres cannot be reached"
    UNKNOWN = "Postgres cannot be reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The two authorities as they were read.

    `control` and `identity` are None when Postgres could not be reached (`unreachable` says why), `control` also when
    it has no control row. `schema` is the digest of the source's schema, `inode` the file's. `belongs_to` is the file
    that the control row was made for, where that is another one; `moved_from` is the place it names, where nothing lies
    any more.
    """

    source: Path
    fence: Fence | None
    schema: str
    inode: int
    control: ControlRow | None
    identity: TargetIdentity | None
    unreachable: str | None = None
    belongs_to: Path | None = None
    moved_from: Path | None = None

    @property
    def mine(self) -> bool:
        """Whether the fence stands for the target."""
        return (
            self.fence is not None
            and self.identity is not None
            and self.fence.stands_for(self.identity.system_identifier, self.identity.database_oid)
        )

    @property
    def meaning(self) -> Meaning:
        """The row of the table that applies."""
        if self.unreachable is not None:
            return Meaning.UNKNOWN if self.fence is None else Meaning.IN_DOUBT
        if self.fence is not None and (not self.mine or self.control is None):
            return Meaning.FOREIGN_FENCE
        if self.control is None:
            return Meaning.NOT_BEGUN
        if self.belongs_to is not None and (self.fence is not None or self.control.state is not State.CLOSED):
            return Meaning.OTHER_FILE
        if self.fence is not None and self.control.state is State.CLOSED and self.control.opened_at is not None:
            # A cutover forgets the opening before it, so this fence has seen one: the rows came home to another file.
            return Meaning.LEFT_FENCED
        fenced = {
            State.CLOSED: Meaning.BETWEEN,
            State.OPEN: Meaning.POSTGRES_SERVES,
            State.DRAINING: Meaning.COMING_HOME,
        }
        unfenced = {State.CLOSED: Meaning.SQLITE_SERVES, State.OPEN: Meaning.FENCE_LOST, State.DRAINING: Meaning.HOME}
        return (fenced if self.fence is not None else unfenced)[self.control.state]

    @property
    def writer(self) -> str:
        """Which engine takes the application's writes: `SQLite`, `Postgres`, `neither`, or `both`."""
        if self.meaning is Meaning.OTHER_FILE and self.control is not None and self.control.state is State.OPEN:
            return "Postgres"
        return {
            Meaning.NOT_BEGUN: "SQLite",
            Meaning.SQLITE_SERVES: "SQLite",
            Meaning.POSTGRES_SERVES: "Postgres",
            Meaning.HOME: "SQLite",
            Meaning.FENCE_LOST: "both",
            Meaning.UNKNOWN: "SQLite",
        }.get(self.meaning, "neither")


def read_standing(source: Path, target: Target, *, busy: float, purpose: str = "nasmigrate status") -> Standing:
    """Read both authorities. A Postgres that does not answer is part of the answer.

    Raises:
        SourceError: the file cannot be read.
    """
    with live_process(source) as process:
        seen = process.read(busy=busy)
    control: ControlRow | None = None
    identity: TargetIdentity | None = None
    unreachable: str | None = None
    try:
        with connected(target.conninfo, purpose=purpose) as connection:
            identity, control = read_target(connection)
    except TargetError as error:
        unreachable = " ".join(error.message.split())
    recorded = None if control is None else _recorded_elsewhere(source, Path(control.source))
    gone = recorded is not None and not os.path.lexists(recorded)
    return Standing(
        source=source,
        fence=fence_of(seen),
        schema=str(seen["schema"]),
        inode=int(seen["inode"]),
        control=control,
        identity=identity,
        unreachable=unreachable,
        belongs_to=None if gone else recorded,
        moved_from=recorded if gone else None,
    )


def _recorded_elsewhere(source: Path, recorded: Path) -> Path | None:
    """The file that the control row names, if it is not `source`; one file may have several paths."""
    try:
        # By stat alone: opening and closing the live file would drop this process's locks on it.
        return None if recorded == source or recorded.samefile(source) else recorded
    except OSError:
        return recorded


def read_target(connection: psycopg.Connection) -> tuple[TargetIdentity, ControlRow | None]:
    """Identity and control row of a target; the transaction is ended."""
    identity, control = target_identity(connection), read_control(connection)
    connection.commit()
    return identity, control


def refuse_other_file(standing: Standing) -> None:
    """A command that writes does it to the file that was cut over, and to no copy of it.

    Raises:
        FenceLost: this is another file, or one that a rollback has passed by.
    """
    if standing.belongs_to is not None:
        raise FenceLost(
            f"{standing.source} is not the file that was cut over: {standing.belongs_to} is, which is still there",
            hint=f"name {standing.belongs_to}; if {standing.source} shall take its place, move it there first",
        )
    if standing.meaning is Meaning.LEFT_FENCED:
        raise FenceLost(
            f"{standing.source}: a rollback has brought the rows of Postgres home into another copy of this file; this"
            " one lacks them and stays fenced",
            hint="put the file that the rollback wrote to in this place, then nasmigrate resume; if it is lost,"
            " Postgres still holds every row, and nasmigrate resume --postgres-is-gone gives them up",
        )
