"""Runs phases in the order of their table, and tells run, journal and watchers where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nasmigrate.core.phases import Phase
from nasmigrate.workflows.cutover.journal import Journal
from nasmigrate.workflows.run import Run

Watcher = Callable[[str], None]
"""Called with the name of a point: `P4:begin`, `P4:end`, and `P6:committed` right after a commit."""


def unwatched(_point: str) -> None:
    """The watcher that does nothing."""


class Steps:
    """The phases of one table, each entered once, in its order; phases may be left out."""

    def __init__(self, run: Run, journal: Journal, phases: Sequence[Phase], watcher: Watcher = unwatched) -> None:
        self.run = run
        self.journal = journal
        self._left = list(phases)
        self._committed: set[str] = set()
        self._watcher = watcher

    @contextmanager
    def __call__(self, key: str, detail: str = "") -> Iterator[None]:
        """Enter the phase called `key`.

        Raises:
            ValueError: the table has it earlier, or not at all: code and table have drifted apart.
        """
        while self._left and self._left[0].key != key:
            self._left.pop(0)
        if not self._left:
            raise ValueError(f"phase {key} is not in its place in the table")
        phase = self._left.pop(0)
        self.journal.add("begin", key, detail)
        self._watcher(f"{key}:begin")
        with self.run.phase(f"{key} {phase.name}", detail):
            yield
        self.journal.add("end", key)
        self._watcher(f"{key}:end")

    def has_committed(self, key: str) -> bool:
        """Whether `committed` was said of that phase."""
        return key in self._committed

    def committed(self, key: str) -> None:
        """A commit of this phase has been answered."""
        self._committed.add(key)
        self._watcher(f"{key}:committed")
