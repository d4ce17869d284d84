"""What a rollback was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from nasmigrate.workflows.cutover.options import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOptions:
    """How to roll back.

    Attributes:
        leave_behind: tables and columns that came after the cutover are written to files instead of stopping it.
        common: what cutover is given too.
    """

    leave_behind: bool = False
    common: Options = field(default_factory=Options)
