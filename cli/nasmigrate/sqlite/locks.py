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
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, asked, os.SEEK_SET, start, length, 0))
            found, _, _, _, process = struct.unpack(_FLOCK, answer)
            if found != fcntl.F_UNLCK:
                return Lock(kind=kind, process=process)  # type: ignore[arg-type]
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None
