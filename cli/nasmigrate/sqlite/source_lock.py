"""The lock file beside the source: one run of the tool at a time works on a file, whatever path it was called by.

It is a courtesy between runs, not what keeps writes safe: that is the epoch of the control row, since a lock file says
nothing of a run on another machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import RunLocked, SourceError
from nasmigrate.core.owners import hint_of_owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock, as it wrote itself down; `stopped` says that its process is suspended."""

    pid: int
    host: str
    command: str
    stopped: bool

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid} on {self.host}{', suspended' if self.stopped else ''})"


def lock_path(source: Path) -> Path:
    """Where the lock file of a source lies."""
    resolved = source.resolve()
    return resolved.with_name(f".{resolved.name}.nasmigrate-lock")


@contextmanager
def source_lock(source: Path, command: str, *, take_over: bool = False) -> Iterator[Holder | None]:
    """Hold the source's lock file for the context; gives the suspended run that holds it instead, if one does.

    Args:
        source: the SQLite file.
        command: for the message that another run prints.
        take_over: go on without the lock when a suspended process of this machine holds it.

    Raises:
        RunLocked: another run holds it.
        SourceError: the file cannot be made.
    """
    path = lock_path(source)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be made or opened: {error.strerror}",
            hint=hint_of_owner(error, path) or "the folder of the source must be writable for the user who runs this",
        ) from error
    holder: Holder | None = None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(descriptor)
            if not (take_over and holder is not None and holder.stopped):
                raise RunLocked(
                    f"{source}: {holder or 'another nasmigrate'} is working on this file",
                    hint="wait for it, or end it; nasmigrate status says where things stand",
                ) from None
        else:
            _write(descriptor, command)
        yield holder
    finally:
        os.close(descriptor)


def _write(descriptor: int, command: str) -> None:
    text = json.dumps({"pid": os.getpid(), "host": platform.node(), "command": command})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> Holder | None:
    try:
        written = json.loads(os.pread(descriptor, 4096, 0))
        pid, host, command = int(written["pid"]), str(written["host"]), str(written["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Holder(pid=pid, host=host, command=command, stopped=host == platform.node() and _is_stopped(pid))


def _is_stopped(pid: int) -> bool:
    """Whether the process is suspended: state T or t in /proc/PID/stat (proc_pid_stat(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])
