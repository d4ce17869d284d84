"""Room on the disks of this machine, asked before the snapshot."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import PreflightError

DISK_FACTOR = 3
"""Free bytes wanted per byte of the source: two copies of it at a time, and as much again for what grows meanwhile.

In a rehearsal these are the snapshot and the round trip's file, in a cutover two snapshots; in the temporary folder it
is a throw-away target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Bytes free below a folder, and wanted there."""

    folder: Path
    free: int
    wanted: int


def source_bytes(source: Path) -> int:
    """Size of the source with its -wal; 0 when there is no such file, which others say better."""
    wal = source.with_name(f"{source.name}-wal")
    return sum(path.stat().st_size for path in (source, wal) if path.is_file())


def room_for(source: Path, folders: Sequence[Path]) -> Iterator[Room]:
    """The room in each folder, those on one disk once."""
    disks: set[int] = set()
    for folder in folders:
        disk = os.stat(folder).st_dev  # noqa: PTH116 - the number of the disk is what is wanted
        if disk not in disks:
            disks.add(disk)
            yield Room(folder=folder, free=shutil.disk_usage(folder).free, wanted=DISK_FACTOR * source_bytes(source))


def check_space(source: Path, base: Path, *, server_here: bool) -> None:
    """Refuse to begin what a disk has no room for.

    Args:
        source: the SQLite file.
        base: the folder that holds the runs.
        server_here: whether a throw-away server will put its data into the temporary folder.

    Raises:
        PreflightError: naming each folder with too little room.
    """
    folders = [base, Path(tempfile.gettempdir())] if server_here else [base]
    checks = [
        f"DISK_SPACE: {room.free:,} bytes are free at {room.folder}, {room.wanted:,} wanted"
        f" ({DISK_FACTOR} x the source)"
        for room in room_for(source, folders)
        if room.free < room.wanted
    ]
    if checks:
        raise PreflightError(
            "; ".join(checks),
            checks=checks,
            hint="free some space, keep nasmigrate.toml in a folder on a larger disk, or set TMPDIR to one",
        )
