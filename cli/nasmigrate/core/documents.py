"""What `cutover --dry-run` and `demo` print with --json."""

from __future__ import annotations

from nasmigrate.core.result import FORMAT_VERSION, Document


class PlannedPhase(Document):
    """A phase of a cutover: what it always does, what the application sees, and what this run would do in it."""

    phase: str
    name: str
    does: str
    application: str
    details: tuple[str, ...] = ()


class PlannedCutover(Document):
    """What a cutover would do now, in order. `max_freeze_seconds` is null where the freeze has no limit."""

    format_version: int = FORMAT_VERSION
    source: str
    target: str
    role: str
    max_freeze_seconds: float | None = None
    steps: tuple[PlannedPhase, ...]


class Acknowledged(Document):
    """Writes that were acknowledged to the demo's application, by engine."""

    sqlite: int
    postgres: int


class Demo(Document):
    """What the demo came to.

    `unknown` are commits whose answer was lost, `faults` what was lost or came twice, `longest_pause_seconds` the
    longest time without an acknowledged write, `lock_seconds` the time without writes of the rollback.
    """

    format_version: int = FORMAT_VERSION
    acknowledged: Acknowledged
    refused: int
    unknown: int
    faults: tuple[str, ...] = ()
    longest_pause_seconds: float
    freeze_seconds: float
    lock_seconds: float
    seconds: float
    passed: bool
