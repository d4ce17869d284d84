"""The event stream of a run: one JSON object per line, appended and never rewritten."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from nasmigrate.core.redaction import redact_all


def utc_now() -> datetime:
    """The present time in UTC."""
    return datetime.now(UTC)


class EventLog:
    """Appends events to one file, mode 0600.

    Each line has `time` (UTC, ISO 8601 with microseconds), `monotonic` (seconds of a clock that never goes
    back, for durations) and `kind`. Text fields are redacted. A line is one write, so a crash leaves at most
    one torn line, at the end. What cannot be written, on a full disk, is lost: a trail decides nothing.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock = clock
        self._monotonic = monotonic

    def append(self, kind: str, fields: dict[str, object]) -> None:
        """Write one event; values that JSON does not know are written as their text."""
        event: dict[str, object] = {
            "time": self._clock().isoformat(timespec="microseconds"),
            "monotonic": round(self._monotonic(), 6),
            "kind": kind,
        }
        event |= {name: redact_all(value) for name, value in fields.items()}
        line = json.dumps(event) + "\n"
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode("utf-8"))
            finally:
                os.close(descriptor)
