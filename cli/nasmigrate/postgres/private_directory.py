"""Private temporary directories that tell the living from the dead.

Each directory holds a marker file on which its owner keeps a `flock`. The kernel drops that lock when the
last process that has it open ends, whatever killed it, so a lock that can be taken is proof that nobody uses
the directory any more. A pid alone would not be: pids are used again, and mean nothing in another container
that shares the temporary directory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import TargetError

PREFIX = "nasmigrate-pg-"
MARKER = "nasmigrate.pid"
REMOVE_ATTEMPTS = 5
REMOVE_PAUSE = 0.2
"""Seconds between two attempts to remove a directory in which a dying process still makes or removes files."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateDirectory:
    """A directory that belongs to this process while the context is open.

    Attributes:
        path: absolute path, without symbolic links.
        lock: file descriptor that holds the lock. A child that gets it with `pass_fds` keeps the directory
            alive after its parent.
    """

    path: Path
    lock: int


@contextmanager
def private_directory(*, parent: Path, traversable: bool = False) -> Iterator[PrivateDirectory]:
    """Make `nasmigrate-pg-*` below `parent`, and remove it and all that is in it at the end.

    Args:
        parent: an existing directory, such as the system's temporary directory.
        traversable: let other users pass through (0711 instead of 0700) to what they own inside; they cannot
            list or write it.

    Yields:
        The directory, empty but for its marker.
    """
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    with _owned(path, remove=True) as directory:
        if traversable:
            path.chmod(0o711)
        yield directory


@contextmanager
def given_directory(path: Path, *, traversable: bool = False) -> Iterator[PrivateDirectory]:
    """Use a directory that the caller names; at the end leave what was there: an empty directory, or none.

    Args:
        path: must not exist (its parent must), or be an empty directory.
        traversable: as in `private_directory`, for a directory that is made here; the mode of one that exists
            is the caller's.

    Yields:
        The directory, empty but for its marker.

    Raises:
        TargetError: the path is no directory, is not empty, or cannot be made.
    """
    path = path.resolve()
    made = False
    try:
        if not path.exists():
            path.mkdir(mode=0o700)
            made = True
            if traversable:
                path.chmod(0o711)
        empty = next(path.iterdir(), None) is None
    except OSError as error:
        raise TargetError(
            f"{path}: cannot hold an embedded PostgreSQL server: {error.strerror}",
            hint="name a directory that does not exist, in a parent that does, or leave it out",
        ) from error
    if not empty:
        raise TargetError(
            f"{path}: not empty, so no embedded PostgreSQL server is put there",
            hint="name a directory that does not exist or is empty; nothing was touched",
            details={"directory": str(path)},
        )
    with _owned(path, remove=made) as directory:
        yield directory


def sweep(parent: Path) -> list[Path]:
    """Remove the directories that killed processes of this user left below `parent`.

    Only real directories of our own effective uid, with our name and our marker, whose lock is free are
    touched.

    Returns:
        The directories that were removed.
    """
    removed = []
    for path in sorted(parent.glob(f"{PREFIX}*")):
        try:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            lock = os.open(path / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # Gone meanwhile, or not one of ours.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _empty(path)
            path.rmdir()
            removed.append(path)
        except OSError:
            continue  # In use, or removed by another sweep at the same time.
        finally:
            os.close(lock)
    return removed


@contextmanager
def _owned(path: Path, *, remove: bool) -> Iterator[PrivateDirectory]:
    lock = -1
    try:
        # The marker gets its name only when it is locked: a sweep never sees one that is not.
        unnamed = path / f"{MARKER}.new"
        unnamed.write_text(f"{os.getpid()}\n", encoding="ascii")
        lock = os.open(unnamed, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # A file system without flock: a sweep cannot lock there either, and passes by.
            fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(path / MARKER)
        yield PrivateDirectory(path=path, lock=lock)
    finally:
        try:
            _remove(path, directory_too=remove)
        finally:
            if lock >= 0:
                os.close(lock)


def _remove(path: Path, *, directory_too: bool) -> None:
    for attempt in range(REMOVE_ATTEMPTS):
        try:
            _empty(path)
            if directory_too:
                path.rmdir()
        except OSError as error:
            if not path.exists():
                return
            if attempt + 1 == REMOVE_ATTEMPTS:
                # Raising here would hide the error that ended the work inside.
                _log.warning("%s: not removed: %s", path, error.strerror)
                return
            time.sleep(REMOVE_PAUSE)
        else:
            return


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.name == MARKER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    # Last, so that a removal that is itself killed is taken up by the next sweep.
    (path / MARKER).unlink(missing_ok=True)
