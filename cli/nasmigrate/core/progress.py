"""The port through which workflows say how far they are. Rendering is the commands' matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One immutable snapshot of how far a phase is. Rows are the unit of work; totals may be 0 when unknown.

    `elapsed` is seconds since the phase began, measured by the sender.
    """

    phase: str
    table: str = ""
    tables_done: int = 0
    tables_total: int = 0
    rows_done: int = 0
    rows_total: int = 0
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Rows per second so far; 0.0 before anything happened."""
        return self.rows_done / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left at the present rate, or None when that cannot be said."""
        if not self.rate or self.rows_total <= 0:
            return None
        return max(0.0, (self.rows_total - self.rows_done) / self.rate)


class Reporter(Protocol):
    """Where workflows report to: a terminal, a log, a test."""

    def phase(self, name: str, detail: str = "") -> None:
        """A phase begins."""

    def progress(self, progress: Progress) -> None:
        """The present phase moved on. Called often; the receiver throttles."""

    def note(self, text: str) -> None:
        """One line the operator should see."""


class Silent:
    """A reporter that says nothing."""

    def phase(self, name: str, detail: str = "") -> None:
        """Ignore."""

    def progress(self, progress: Progress) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""
