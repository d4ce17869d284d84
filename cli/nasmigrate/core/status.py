"""Where a cutover stands: the document of `status`, `resume`, `abort`, `rollback --dry-run` and `finalize`."""

from __future__ import annotations

from nasmigrate.core.result import FORMAT_VERSION, Document, Gate


class ControlFacts(Document):
    """The control row in Postgres."""

    run_id: str
    epoch: int
    state: str
    changed_at: str
    opened_at: str | None = None
    command: str
    host: str
    pid: int
    finalized: bool = False


class FenceFacts(Document):
    """The fence in the source."""

    run_id: str
    system_identifier: str
    database_oid: int
    epoch: int
    made_at: str


class Status(Document):
    """Where things stand, in words.

    `writer` is the engine that takes the application's writes: SQLite, Postgres, neither, or both (an alarm). `did` is
    what this command changed, `left` what is still to be done one day, `next_step` the command to run now.
    """

    format_version: int = FORMAT_VERSION
    command: str
    source: str
    target: str
    meaning: str
    writer: str
    says: tuple[str, ...] = ()
    did: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    next_step: str | None = None
    exit_code: int = 0
    control: ControlFacts | None = None
    fence: FenceFacts | None = None
    unreachable: str | None = None
    gates: tuple[Gate, ...] = ()
