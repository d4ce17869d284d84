"""The live display on a terminal: one line per phase, the present one moving."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nasmigrate.commands._progress import duration_text, rate_text, rows_text
from nasmigrate.core.progress import Progress
from nasmigrate.core.redaction import printable, redact

REFRESH_PER_SECOND = 8


@dataclass(slots=True)
class _Phase:
    name: str
    detail: str = ""
    progress: Progress | None = None


class LiveReporter:
    """Shows phases on stderr. Names from the source are plain text here, never rich markup."""

    def __init__(self, *, color: bool | None = None, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, no_color=color is False or None, highlight=False)
        self._lock = threading.Lock()
        self._phases: list[_Phase] = []
        self._live: Live | None = Live(
            console=self._console,
            refresh_per_second=REFRESH_PER_SECOND,
            get_renderable=self._render,
            redirect_stdout=False,  # results belong to stdout unchanged
            redirect_stderr=False,
        )
        self._live.start()

    def phase(self, name: str, detail: str = "") -> None:
        """Begin a line."""
        with self._lock:
            self._phases.append(_Phase(name, detail))

    def progress(self, progress: Progress) -> None:
        """Renew the line of the progress's phase; the display redraws at its own pace."""
        with self._lock:
            for phase in reversed(self._phases):
                if phase.name == progress.phase:
                    phase.progress = progress
                    return
            self._phases.append(_Phase(progress.phase, progress=progress))

    def note(self, text: str) -> None:
        """Print a line above the display."""
        self._console.print(Text(f"note: {printable(redact(text))}"))

    def close(self) -> None:
        """Draw the last state, stop, and leave it on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 2))
        # When the terminal is narrow only the second column gives way: rich shrinks those that may wrap.
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=False)
        for _ in ("rows", "rate", "time"):
            table.add_column(justify="right", no_wrap=True)
        with self._lock:
            for index, phase in enumerate(self._phases):
                table.add_row(*_cells(phase, present=index == len(self._phases) - 1))
        return Group(table)


def _cells(phase: _Phase, *, present: bool) -> list[Text]:
    """Name, table or detail, rows, rate, time."""
    name = Text(printable(phase.name), style="bold" if present else "")
    progress = phase.progress
    if progress is None:
        return [name, Text(printable(redact(phase.detail)), no_wrap=True, overflow="ellipsis"), Text(), Text(), Text()]
    place = progress.table if present else phase.detail
    if progress.tables_total:
        place = f"{progress.tables_done}/{progress.tables_total} {place}"
    eta = progress.eta if present else None
    spent = f"eta {duration_text(eta)}" if eta is not None else duration_text(progress.elapsed)
    rate = f"{rate_text(progress.rate)} rows/s" if progress.rate else ""
    return [
        name,
        Text(printable(place), no_wrap=True, overflow="ellipsis"),
        Text(rows_text(progress)),
        Text(rate),
        Text(spent),
    ]
