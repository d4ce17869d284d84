"""Which backups stay, and that only one tool at a time works in their folder."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nasmigrate.backup.manifest import FOLDER, backups, read_manifest
from nasmigrate.core.errors import BackupRefused, RunLocked

UNPROVEN = ".unproven"
"""Ends the name of a folder until what is in it was restored and compared."""


@contextmanager
def backup_folder(directory: Path) -> Iterator[None]:
    """Make the folder, 0700, and hold it alone.

    Raises:
        RunLocked: another backup is being made there.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLocked(f"{directory}: another nasmigrate makes a backup there", hint="wait for it") from error
        yield
    finally:
        os.close(descriptor)


def publish(partial: Path, final: Path) -> None:
    """Give a proven backup its name; nothing is ever replaced, and the name survives a loss of power."""
    for file in partial.iterdir():
        _sync(file)
    _sync(partial)
    partial.rename(final)
    _sync(final.parent)


def remove_old(directory: Path, keep: int) -> tuple[str, ...]:
    """Remove the oldest backups beyond `keep`, and what unproven ones earlier attempts left; the names.

    A folder whose manifest is not as it was written is left for a person to look at.
    """
    removed = []
    for folder in backups(directory)[:-keep]:
        try:
            read_manifest(folder)
        except BackupRefused:
            continue
        shutil.rmtree(folder)
        removed.append(folder.name)
    for path in sorted(directory.glob(f"*{UNPROVEN}")):
        if FOLDER.fullmatch(path.name.removesuffix(UNPROVEN)) and not path.is_symlink():
            shutil.rmtree(path)
            removed.append(path.name)
    return tuple(removed)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
