"""Who else has a database file open: the locks of other processes, seen without taking any.

SQLite's locks are POSIX locks on bytes far beyond the content (https://sqlite.org/lockingv3.html, os.h). To ask for
them a file is opened and closed, which drops all locks this process has on it: only for a process that has none.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_PENDING: Final = 0x40000000
_RESERVED: Final = _PENDING + 1
_SHARED: Final = _PENDING + 2
_SHARED_SIZE: Final = 510
_WAL_WRITE: Final = 120
"""Of a -shm file, which begins with 120 bytes of index header in two copies and checkpoint state (walformat.html)."""
_FLOCK: Final = "@hhqqi"
"""struct flock of Linux: type, whence, start, length, process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A lock that another process holds; `process` is 0 when it is not to be seen from here (another container)."""

    kind: Literal["SHARED", "RESERVED", "PENDING", "EXCLUSIVE"]
    process: int

    def __str__(self) -> str:
        """As a message names it."""
        who = f"process {self.process}" if self.process > 0 else "a process outside this container"
        return f"{who} holds {'an' if self.kind == 'EXCLUSIVE' else 'a'} {self.kind} lock"


def lock_of_others(path: Path) -> Lock | None:
    """The strongest lock another process holds on `path`; None = nobody has, or the system does not say.

    A connection in WAL mode holds SHARED as long as it is open; in the other journal modes an idle one holds nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        for start, length, asked, kind in (
            (_SHARED, _SHARED_SIZE, fcntl.F_RDLCK, "EXCLUSIVE"),
            (_PENDING, 1, fcntl.F_RDLCK, "PENDING"),
            (_RESERVED, 1, fcntl.F_RDLCK, "RESERVED"),
            (_SHARED, _SHARED_SIZE, fcntl.F_WRLCK, "SHARED"),
        ):
            process = _holder(descriptor, asked, start, length)
            if process is not None:
                return Lock(kind=kind, process=process)  # type: ignore[arg-type]
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


def holder_of_write_lock(path: Path, *, wal: bool) -> int | None:
    """The process that holds SQLite's write lock on `path`; None = nobody has, or the system does not say.

    Args:
        path: the database file.
        wal: whether its journal mode is WAL, where the lock is on the -shm file.
    """
    file, byte = (path.with_name(f"{path.name}-shm"), _WAL_WRITE) if wal else (path, _RESERVED)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _holder(descriptor, fcntl.F_RDLCK, byte, 1)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)


def _holder(descriptor: int, asked: int, start: int, length: int) -> int | None:
    """Whose lock stands in the way of one of kind `asked` on these bytes; None = nobody's.

    Raises:
        OSError: the file system has no locks.
    """
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, asked, os.SEEK_SET, start, length, 0))
    found, _, _, _, process = struct.unpack(_FLOCK, answer)
    return None if found == fcntl.F_UNLCK else int(process)
