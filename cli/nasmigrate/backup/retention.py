"""Which backups stay, and that only one tool at a time works in their folder."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Names of folders that were `removed`, and of the `spared` ones beyond those to be kept, each with the reason."""

    removed: tuple[str, ...] = ()
    spared: tuple[tuple[str, str], ...] = ()


def remove_old(directory: Path, keep: int, made: Path) -> Rotation:
    """Remove the oldest backups beyond `keep`.

    `made`, the backup just made, is never removed, and nothing is where another bears a later date: then a clock was
    wrong, and which are old is not known. The last backup that has tables of a database stays while all later ones
    have none. A folder whose manifest is not as it was written is left for a person to look at.
    """
    there = backups(directory)
    if later := [folder.name for folder in there if folder.name > made.name]:
        return Rotation(spared=tuple((name, "of a later date than this one: a clock was wrong") for name in later))
    removed: list[str] = []
    spared: list[tuple[str, str]] = []
    filled: set[str] = set()
    for number, folder in enumerate(reversed(there)):
        try:
            manifest = read_manifest(folder)
        except BackupRefused:
            continue
        only_here = {each.name for each in manifest.databases if each.tables} - filled
        filled |= only_here
        if number < keep:
            continue
        if only_here:
            spared.append((folder.name, f"the last with tables in {' and '.join(sorted(only_here))}"))
        else:
            shutil.rmtree(folder)
            removed.append(folder.name)
    return Rotation(removed=tuple(reversed(removed)), spared=tuple(reversed(spared)))


def remove_unproven(directory: Path, *, but: int = 0) -> tuple[str, ...]:
    """Remove what attempts left whose proof failed, but for the newest so many; the names."""
    left = [
        path
        for path in sorted(directory.glob(f"*{UNPROVEN}"))
        if FOLDER.fullmatch(path.name.removesuffix(UNPROVEN)) and not path.is_symlink()
    ]
    gone = left[: len(left) - but]
    for path in gone:
        shutil.rmtree(path)
    return tuple(path.name for path in gone)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
