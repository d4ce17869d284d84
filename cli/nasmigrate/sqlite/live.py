"""The tool's end of the process that opens the live file to lock, fence or unfence it; see `live_child.py`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nasmigrate.core.errors import FenceLost, SourceError, SourceLocked
from nasmigrate.sqlite.fence import Fence

ANSWER_LIMIT = 60.0
"""Seconds to wait for an answer beyond the time a request itself allows."""


class FreezeExpired(SourceLocked):
    """The time for the freeze was up before the fence was committed; the lock was given back."""

    code = "NM0720"


class LockLost(SourceLocked):
    """The write lock was no longer there before the commit: another process may have written what is not carried over.

    POSIX locks belong to a process: whatever closes the file in it drops them (https://sqlite.org/howtocorrupt.html).
    """

    code = "NM0723"


class LiveProcess:
    """A process that serves one live file. Its end, or ours, ends every lock it holds."""

    program: tuple[str, ...] = (sys.executable, "-m", "nasmigrate.sqlite.live_child")
    """The words it is started with, ahead of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [*self.program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=True,
        )
        self._pending = b""
        self._wal = False

    @property
    def pid(self) -> int:
        """Its process id, for a watchdog."""
        return self._process.pid

    def read(self, *, busy: float) -> dict[str, Any]:
        """Fence, digest of the schema, inode, mode and size of the file, without writing.

        Only a transaction that a crash cut off is rolled back: its journal has to be out of the way before the file
        can be read at all.
        """
        return self._ask("read", busy=busy)

    def freeze(self, *, busy: float, limit: float | None) -> dict[str, Any]:
        """Take the write lock; wait `busy` seconds for it, and hold it `limit` seconds at most (None: no limit).

        Raises:
            SourceLocked: others kept the lock for `busy` seconds.
            SourceError: an index or a generated column calls a function that only the application has.
        """
        seen = self._ask("freeze", busy=busy, limit=limit)
        self._wal = seen["journal_mode"] == "wal"
        return seen

    def fence(self, fence: Fence, *, witness: LiveProcess) -> int:
        """Commit the fence, which ends the lock; how many tables it covers.

        Args:
            fence: the fence.
            witness: another process for the same file, which has not opened it: it sees whether the lock is there
                still. A lock that was lost cannot come back, so between the freeze and that look nobody else wrote.

        Raises:
            LockLost: it is not; nothing was committed.
            FreezeExpired: the time is up, or a reader kept the commit from going through until the deadline.
            FenceLost: another fence is there.
        """
        tables = int(self._ask("fence", fence=fence.as_fields())["tables"])
        witness.require_lock(self.pid, wal=self._wal)
        self._ask("commit")
        return tables

    def require_lock(self, process: int, *, wal: bool) -> None:
        """See that `process` holds the write lock; this one must not have opened the file.

        Raises:
            LockLost: it does not.
        """
        holder = self._ask("holder", wal=wal)["process"]
        if holder != process:
            now = "nobody holds it" if holder is None else f"process {holder} holds it"
            raise LockLost(
                f"{self.path}: the write lock was lost ({now}), so others may have written; nothing was committed",
                hint="locks do not hold on this file: end whatever else opens it inside this machine, then start again",
            )

    def release(self) -> None:
        """Give the lock back; nothing was written."""
        self._ask("release")

    def settle(self, *, busy: float) -> dict[str, Any]:
        """Checkpoint the log and take the write permissions of the fenced file away."""
        return self._ask("settle", busy=busy)

    def probe(self, *, busy: float) -> tuple[Fence | None, tuple[str, ...]]:
        """What this process, which has not opened the file before, sees: the fence, and tables that take writes."""
        answer = self._ask("probe", busy=busy)
        return fence_of(answer), tuple(answer["taking"] or ())

    def lift(self, *, busy: float, system_identifier: str, database_oid: int, older_than: int) -> Fence:
        """Drop the fence that stands for this database and was stamped before epoch `older_than`.

        Raises:
            FenceLost: there is none, or another one.
        """
        answer = self._ask(
            "lift",
            busy=busy,
            system_identifier=system_identifier,
            database_oid=database_oid,
            older_than=older_than,
        )
        return _known(answer)

    def lift_any(self, *, busy: float) -> Fence:
        """Drop whichever fence is there: for a Postgres that is gone for good."""
        return _known(self._ask("lift", busy=busy, any=True))

    def stamp(self, fence: Fence, *, busy: float, system_identifier: str, database_oid: int) -> Fence:
        """Give the fence that stands for this database the identity and epoch of `fence`.

        Raises:
            FenceLost: there is none, it stands for another database, or has that epoch already.
        """
        answer = self._ask(
            "stamp",
            busy=busy,
            fence=fence.as_fields(),
            system_identifier=system_identifier,
            database_oid=database_oid,
        )
        return _known(answer)

    def close(self) -> None:
        """End the process; what it had not committed is rolled back."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def _ask(self, do: str, **fields: object) -> dict[str, Any]:
        line = json.dumps({"do": do, **fields}).encode() + b"\n"
        busy = fields.get("busy", 0.0)
        assert isinstance(busy, (int, float))  # noqa: S101 - written a few lines above
        try:
            assert self._process.stdin is not None  # noqa: S101 - it was made with a pipe
            self._process.stdin.write(line)
            self._process.stdin.flush()
            answer = json.loads(self._line(busy + ANSWER_LIMIT))
        except (BrokenPipeError, EOFError) as error:
            raise FreezeExpired(
                f"{self.path}: the process that held the lock has ended before `{do}`",
                hint="the time for the freeze was up; the source is as it was",
                details={"exit": self._process.poll()},
            ) from error
        if not answer.pop("ok"):
            raise self._refused(do, answer["kind"], answer["message"])
        return dict(answer)

    def _line(self, limit: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it was made with a pipe
        descriptor = self._process.stdout.fileno()
        until = time.monotonic() + limit
        while b"\n" not in self._pending:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self._process.kill()
                raise EOFError
            block = os.read(descriptor, 1 << 16)
            if not block:
                raise EOFError
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _refused(self, do: str, kind: str, message: str) -> SourceError | FenceLost:
        if kind == "fence":
            return FenceLost(f"{self.path}: {message}", hint="nasmigrate status says where things stand")
        if kind == "functions":
            return SourceError(
                f"{self.path}: {message}",
                hint="no rollback could bring rows home into such a table: let the application drop that index, or keep"
                " what it computes in an ordinary column",
                code="NM0711",
            )
        if kind == "recovery":
            return SourceError(
                f"{self.path}: {message}",
                hint="run the command as that user (sudo), who must be able to write to the folder of the file too",
            )
        if kind == "deadline":
            return FreezeExpired(f"{self.path}: {message}", hint="the source is as it was")
        if kind == "busy":
            kept = "a lock is held by another process" if do != "commit" else message
            return SourceLocked(
                f"{self.path}: cannot {do}: {kept}", hint="end long transactions and readers, or raise the limits"
            )
        return SourceError(f"{self.path}: cannot {do}: {message}", hint="check the rights of the file and its folder")


def fence_of(answer: dict[str, Any]) -> Fence | None:
    """The fence in an answer, None where there is none."""
    return Fence(**answer["fence"]) if answer.get("fence") else None


def _known(answer: dict[str, Any]) -> Fence:
    return Fence(**answer["fence"])


@contextmanager
def live_process(path: Path) -> Iterator[LiveProcess]:
    """A process for the live file `path`, ended with the context."""
    process = LiveProcess(path)
    try:
        yield process
    finally:
        process.close()
