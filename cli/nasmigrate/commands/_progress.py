"""Reporters: a live display on a terminal, a line now and then elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TextIO

from nasmigrate.core.progress import Progress, Reporter, Silent
from nasmigrate.core.redaction import printable, redact

LINE_INTERVAL = 10.0
"""Seconds between two lines of one phase."""


class ClosableReporter(Reporter, Protocol):
    """A reporter that holds the terminal until it is closed."""

    def close(self) -> None:
        """Let go of the terminal. Repeatable."""


def make_reporter(
    *, quiet: bool, json_events: bool, color: bool | None, environ: Mapping[str, str]
) -> ClosableReporter:
    """The reporter for these options and this terminal."""
    if json_events:
        return JsonReporter(sys.stdout)
    if quiet:
        return QuietReporter()
    if sys.stderr.isatty() and environ.get("TERM") != "dumb":
        from nasmigrate.commands._live import LiveReporter

        return LiveReporter(color=color)
    return LineReporter(sys.stderr)


class QuietReporter(Silent):
    """Says nothing."""

    def close(self) -> None:
        """Nothing to let go of."""


class SteadyReporter:
    """Passes everything on, and goes on when that fails: the terminal may be lost in the middle of the night."""

    def __init__(self, inner: ClosableReporter) -> None:
        self._inner = inner

    def phase(self, name: str, detail: str = "") -> None:
        """See Reporter."""
        with suppress(OSError):
            self._inner.phase(name, detail)

    def progress(self, progress: Progress) -> None:
        """See Reporter."""
        with suppress(OSError):
            self._inner.progress(progress)

    def note(self, text: str) -> None:
        """See Reporter."""
        with suppress(OSError):
            self._inner.note(text)

    def close(self) -> None:
        """See ClosableReporter."""
        with suppress(OSError):
            self._inner.close()


class LineReporter:
    """Writes a line at each change of phase and every 10 s between.

    Reports may come from several threads.
    """

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last_line = monotonic()
        self._unsaid: Progress | None = None

    def phase(self, name: str, detail: str = "") -> None:
        """Say how the last phase ended, then what begins."""
        with self._lock:
            self._flush()
            self._write(f"{name}: {detail}" if detail else name)

    def progress(self, progress: Progress) -> None:
        """Write a line if the last one is 10 s old; else remember the state."""
        with self._lock:
            if self._unsaid is not None and self._unsaid.phase != progress.phase:
                self._flush()
            self._unsaid = progress
            if self._monotonic() - self._last_line >= LINE_INTERVAL:
                self._flush()

    def note(self, text: str) -> None:
        """Write the note at once."""
        with self._lock:
            self._write(f"note: {text}")

    def close(self) -> None:
        """Write the last state."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._unsaid is not None:
            self._write(progress_line(self._unsaid))
            self._unsaid = None

    def _write(self, text: str) -> None:
        self._last_line = self._monotonic()
        self._stream.write(printable(redact(text)) + "\n")
        self._stream.flush()


class JsonReporter:
    """Writes every report as one JSON line; progress at most once a second per phase."""

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}

    def phase(self, name: str, detail: str = "") -> None:
        """`{"kind": "phase", …}`."""
        self._write({"kind": "phase", "phase": name, "detail": redact(detail)})

    def progress(self, progress: Progress) -> None:
        """`{"kind": "progress", …}`, throttled; the state in which all rows are done is never dropped."""
        now = self._monotonic()
        complete = bool(progress.rows_total) and progress.rows_done >= progress.rows_total
        if not complete and now - self._said.get(progress.phase, float("-inf")) < 1.0:
            return
        self._said[progress.phase] = now
        self._write(
            {
                "kind": "progress",
                "phase": progress.phase,
                "table": progress.table,
                "tables_done": progress.tables_done,
                "tables_total": progress.tables_total,
                "rows_done": progress.rows_done,
                "rows_total": progress.rows_total,
                "elapsed": round(progress.elapsed, 3),
                "rate": round(progress.rate, 1),
                "eta": None if progress.eta is None else round(progress.eta, 1),
            }
        )

    def note(self, text: str) -> None:
        """`{"kind": "note", …}`."""
        self._write({"kind": "note", "text": redact(text)})

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, event: dict[str, object]) -> None:
        with self._lock:
            self._stream.write(json.dumps(event) + "\n")
            self._stream.flush()


def progress_line(progress: Progress) -> str:
    """`copy 595700/752865 79.1% | tables 4/12 orders | 640k rows/s | elapsed 0m35s | eta 0m09s`."""
    parts = [f"{progress.phase} {rows_text(progress)}"]
    tables = f"tables {progress.tables_done}/{progress.tables_total}" if progress.tables_total else ""
    place = " ".join(part for part in (tables, progress.table) if part)
    if place:
        parts.append(place)
    if progress.rate:
        parts.append(f"{rate_text(progress.rate)} rows/s")
    parts.append(f"elapsed {duration_text(progress.elapsed)}")
    if progress.eta is not None:
        parts.append(f"eta {duration_text(progress.eta)}")
    return " | ".join(parts)


def rows_text(progress: Progress) -> str:
    """`595700/752865 79.1%`, or `595700 rows` while the total is not known."""
    if progress.rows_total <= 0:
        return f"{progress.rows_done} rows"
    # 99.97 % must not read as 100.0 %: cut, do not round.
    tenths = min(progress.rows_done * 1000 // progress.rows_total, 1000)
    return f"{progress.rows_done}/{progress.rows_total} {tenths // 10}.{tenths % 10}%"


def rate_text(rate: float) -> str:
    """Three significant digits or less: `640k`, `1.2M`, `87`."""
    if rate >= 999_500:
        return f"{rate / 1_000_000:.1f}M"
    if rate >= 999.5:
        return f"{rate / 1000:.0f}k"
    return f"{rate:.0f}"


def duration_text(seconds: float) -> str:
    """`0m09s`, `12m30s`, `1h02m`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s"
