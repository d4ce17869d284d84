"""What must be said of the source's file itself, whatever its content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from nasmigrate.core.result import Finding
from nasmigrate.core.rundir import list_runs
from nasmigrate.sqlite.examine import Examined
from nasmigrate.workflows.filesystems import file_system_of, is_remote
from nasmigrate.workflows.run import Run

SOURCE_FILE = "source.json"
"""In each run's directory: which file it was, and how it was found."""


def file_findings(run: Run, path: Path, examined: Examined) -> Iterator[Finding]:
    """The findings, after `source.json` is written for the runs to come."""
    wal, snapshot = examined.wal, examined.snapshot
    known = _seen_alive(run, path)
    facts = path.stat()
    run.directory.write_json(
        SOURCE_FILE,
        {
            "path": str(path),
            "device": facts.st_dev,
            "inode": facts.st_ino,
            "wal_bytes": wal.bytes if wal else 0,
            "in_use": wal.in_use if wal else False,
        },
    )
    if wal is not None and wal.absent and not known:
        yield Finding(
            code="WAL_ABSENT",
            severity="decision",
            object=path.name,
            message="in WAL mode, but there is no -wal beside it and no application has it open. An application that"
            " ended well leaves it so; a copy that was made without the -wal lacks the last transactions",
            count=1,
        )
    if wal is not None and wal.orphaned:
        yield Finding(
            code="WAL_PENDING",
            severity="note",
            object=path.name,
            message=f"a -wal of {wal.bytes:,} bytes lies beside it and no application has it open; it was read:"
            f" {examined.wal_adds}",
            count=1,
        )
    if snapshot is not None and "-journal" in snapshot.recovered:
        yield Finding(
            code="HOT_JOURNAL",
            severity="note",
            object=path.name,
            message="a crash left a transaction half done; in a private copy it was rolled back by its -journal, as the"
            " application will do when it opens the file",
            count=1,
        )
    kind = file_system_of(path)
    if kind is not None and is_remote(kind):
        yield Finding(
            code="REMOTE_FILE_SYSTEM",
            severity="note",
            object=path.name,
            message=f"on {kind}, a network or shared file system: SQLite's locks cannot be relied on there, so nobody"
            " may write while it is read",
            count=1,
        )


def _seen_alive(run: Run, path: Path) -> bool:
    """Whether an earlier run in this folder found this very file with its -wal or its application."""
    facts = path.stat()
    for earlier in list_runs(run.context.base):
        with suppress(OSError, ValueError, KeyError):
            seen = json.loads(earlier.path(SOURCE_FILE).read_text())
            if (seen["path"], seen["device"], seen["inode"]) == (str(path), facts.st_dev, facts.st_ino) and (
                seen["wal_bytes"] or seen["in_use"]
            ):
                return True
    return False
