"""Where things stand: the fence in SQLite and the control row in Postgres, and what the two of them mean.

Every command that resumes, undoes, rolls back or tells obeys this reading alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg

from nasmigrate.core.errors import TargetError
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
    IN_DOUBT = "the source is fenced, and Postgres cannot be reached"
    UNKNOWN = "Postgres cannot be reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The two authorities as they were read.

    `control` and `identity` are None when Postgres could not be reached (`unreachable` says why), `control` also when
    it has no control row. `schema` is the digest of the source's schema, `inode` the file's.
    """

    source: Path
    fence: Fence | None
    schema: str
    inode: int
    control: ControlRow | None
    identity: TargetIdentity | None
    unreachable: str | None = None

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
    return Standing(
        source=source,
        fence=fence_of(seen),
        schema=str(seen["schema"]),
        inode=int(seen["inode"]),
        control=control,
        identity=identity,
        unreachable=unreachable,
    )


def read_target(connection: psycopg.Connection) -> tuple[TargetIdentity, ControlRow | None]:
    """Identity and control row of a target; the transaction is ended."""
    identity, control = target_identity(connection), read_control(connection)
    connection.commit()
    return identity, control
