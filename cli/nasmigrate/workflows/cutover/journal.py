"""The journal of cutovers and rollbacks, `.nasmigrate/journal.jsonl`: an audit trail and a cache, never an authority.

It may be lost or damaged: where things stand is read from the fence and the control row alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.events import EventLog
from nasmigrate.core.rundir import STATE_FOLDER

FILE = "journal.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `kind` is begin, end, note or a command's own word; `phase` the phase's name, or empty."""

    time: str
    kind: str
    command: str
    phase: str
    detail: str


class Journal:
    """Appends to the journal of a folder."""

    def __init__(self, base: Path, command: str, run: str) -> None:
        folder = base / STATE_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self._log = EventLog(folder / FILE)
        self._command = command
        self._run = run

    def add(self, kind: str, phase: str = "", detail: str = "") -> None:
        """Append one entry."""
        self._log.append(kind, {"command": self._command, "run": self._run, "phase": phase, "detail": detail})


def read_journal(base: Path) -> tuple[list[Entry], int]:
    """The entries that can be read, oldest first, and the number of lines that cannot."""
    try:
        lines = (base / STATE_FOLDER / FILE).read_bytes().splitlines()
    except OSError:
        return [], 0
    entries, damaged = [], 0
    for line in lines:
        try:
            fields = json.loads(line)
            entries.append(
                Entry(
                    time=str(fields["time"]),
                    kind=str(fields["kind"]),
                    command=str(fields["command"]),
                    phase=str(fields["phase"]),
                    detail=str(fields["detail"]),
                )
            )
        except (ValueError, KeyError, TypeError):
            damaged += 1
    return entries, damaged
