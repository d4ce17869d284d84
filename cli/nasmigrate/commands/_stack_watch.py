"""How `stack up` shows the containers while it waits: a live table on a terminal, else a line at each change."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from nasmigrate.commands._progress import ClosableReporter, QuietReporter
from nasmigrate.core.progress import Progress
from nasmigrate.core.redaction import printable, redact
from nasmigrate.stack.containers import Container
from nasmigrate.stack.waiting import Watch, describe

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from nasmigrate.commands._app import App
    from nasmigrate.core.context import Context
    from nasmigrate.workflows.stack import Surroundings


def given(app: App) -> tuple[Context, Surroundings]:
    """The settings and the machine, for a command about the stack, with a display of the containers."""
    from nasmigrate.workflows.stack import surroundings

    loaded = app.load()
    quiet = app.quiet or app.json_events
    watch = make_watch(quiet=quiet, color=app.color, environ=app.environ)
    app.use_reporter(watch)
    show_output = not quiet and sys.stderr.isatty()
    return app.context(loaded), surroundings(loaded.environ, watch=watch, show_output=show_output)


class StackDisplay(ClosableReporter, Watch, Protocol):
    """Shows phases as well as containers."""


def make_watch(*, quiet: bool, color: bool | None, environ: Mapping[str, str]) -> StackDisplay:
    """The display for these options and this terminal, on stderr."""
    if quiet:
        return QuietDisplay()
    if sys.stderr.isatty() and environ.get("TERM") != "dumb":
        return LiveDisplay(color=color)
    return LineDisplay(sys.stderr)


class QuietDisplay(QuietReporter):
    """Shows nothing."""

    def look(self, containers: Sequence[Container], *, waiting_for: Collection[str], elapsed: float) -> None:
        """Ignore."""


class LineDisplay:
    """Writes a line at each phase, and whenever a service's state changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: dict[str, str] = {}

    def phase(self, name: str, detail: str = "") -> None:
        """Write the phase."""
        if detail:
            self._write(f"{name}: {detail}")

    def progress(self, progress: Progress) -> None:
        """Nothing here is counted in rows."""

    def note(self, text: str) -> None:
        """Write a note."""
        self._write(f"note: {text}")

    def look(self, containers: Sequence[Container], *, waiting_for: Collection[str], elapsed: float) -> None:
        """Write what changed since the last look."""
        for each in containers:
            state = describe(each)
            if each.service in waiting_for and self._said.get(each.service) != state:
                self._said[each.service] = state
                self._write(f"{each.service}: {state} | elapsed {elapsed:.0f}s")

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, text: str) -> None:
        self._stream.write(printable(redact(text)) + "\n")
        self._stream.flush()


class LiveDisplay:
    """A table of the services that are waited for, redrawn at every look; the last one stays on the screen."""

    def __init__(self, *, color: bool | None) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, no_color=color is False or None, highlight=False)
        self._live: Live | None = None

    def phase(self, name: str, detail: str = "") -> None:
        """Print the phase."""
        if detail:
            self._print(f"{name}: {detail}")

    def progress(self, progress: Progress) -> None:
        """Nothing here is counted in rows."""

    def note(self, text: str) -> None:
        """Print a note."""
        self._print(f"note: {text}")

    def look(self, containers: Sequence[Container], *, waiting_for: Collection[str], elapsed: float) -> None:
        """Draw the services; leave the drawing when all are ready."""
        from rich.live import Live

        shown = [each for each in containers if each.service in waiting_for]
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._live.update(_table(shown, elapsed), refresh=True)
        if shown and all(each.ready for each in shown):
            self.close()

    def close(self) -> None:
        """Let go of the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, text: str) -> None:
        from rich.text import Text

        self.close()  # docker writes its own progress next
        self._console.print(Text(printable(redact(text))))


def _table(containers: Sequence[Container], elapsed: float) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for each in containers:
        style = "green" if each.ready else "yellow"
        state = Text(f"{describe(each):<24}", style=style)
        table.add_row(Text(f"{each.service:<16}"), state, Text(f"{elapsed:>4.0f}s" if not each.ready else "     "))
    return table
