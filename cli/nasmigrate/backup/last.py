"""`last-backup.json`: how the last attempt ended, for Task Scheduler, a monitor, and the checklist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from nasmigrate.backup.manifest import backups
from nasmigrate.core.errors import ExitCode, NasmigrateError
from nasmigrate.core.redaction import redact
from nasmigrate.core.result import FORMAT_VERSION, Document
from nasmigrate.core.rundir import write_atomic

NAME = "last-backup.json"


class LastBackup(Document):
    """The last attempt. `last_proven` is the folder of the newest backup that was restored and equal."""

    format_version: int = FORMAT_VERSION
    started_at: str
    finished_at: str
    exit_code: int
    error: str | None = None
    last_proven: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt under way; `ended` says how it ended (exit code, reason)."""

    started: datetime
    ended: Callable[[int, str | None], None]


@contextmanager
def attempt(directory: Path) -> Iterator[Attempt]:
    """Write `last-backup.json` at the end, however the attempt ends; an error passes on."""
    started = datetime.now(UTC)

    def ended(exit_code: int, error: str | None) -> None:
        newest = backups(directory)
        document = LastBackup(
            started_at=started.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            exit_code=exit_code,
            error=redact(error) if error else None,
            last_proven=newest[-1].name if newest else None,
        )
        write_atomic(directory / NAME, (document.model_dump_json(indent=2) + "\n").encode())

    try:
        yield Attempt(started=started, ended=ended)
    except NasmigrateError as error:
        ended(int(error.exit_code), f"{error.code}: {error.message}")
        raise
    except KeyboardInterrupt:
        ended(int(ExitCode.INTERRUPTED), "interrupted")
        raise
    except BaseException as error:
        ended(int(ExitCode.UNEXPECTED), type(error).__name__)
        raise


def read_last(directory: Path) -> LastBackup | None:
    """The last attempt; None when there was none, or the file is damaged."""
    try:
        return LastBackup.model_validate_json((directory / NAME).read_bytes())
    except (OSError, ValidationError):
        return None
