"""The SQLite transaction of a rollback: begun on the fenced file, committed with the fence gone, or rolled back."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from nasmigrate.core.errors import FenceLost, SourceError
from nasmigrate.postgres.control_row import TargetIdentity
from nasmigrate.sqlite.apply import prepare
from nasmigrate.sqlite.fence import Fence, drop_fence, read_fence
from nasmigrate.sqlite.live import LiveProcess, LockLost, fence_of
from nasmigrate.sqlite.open import mapped_errors
from nasmigrate.sqlite.permissions import mode_of, restore_mode

_PAUSE = 0.01


class HomeTransaction:
    """An open transaction in which the fence is dropped already. Nothing of it is seen before `commit`."""

    def __init__(self, path: Path, connection: apsw.Connection, fence: Fence, *, wal: bool) -> None:
        self.path = path
        self.connection = connection
        self.fence = fence
        self.mode_restored = True
        """Whether the file has, after the commit, the permissions from before the fence."""
        self._wal = wal

    def require_lock(self, witness: LiveProcess) -> None:
        """See through a process that has not opened the file that this one's write lock is there still.

        Raises:
            LockLost: it is not: another tool may have written.
        """
        witness.require_lock(os.getpid(), wal=self._wal)

    def require_home(self, witness: LiveProcess, *, busy: float) -> None:
        """See through another process that the commit is there for everybody: the fence is gone.

        Raises:
            LockLost: it is there still, so the rows are not home.
        """
        seen = fence_of(witness.read(busy=busy))
        # Whoever closes the file last moves the log into it, and the witness may not write.
        witness.release()
        if seen is not None:
            raise LockLost(
                f"{self.path}: a fresh process still sees the fence, though the rows that came home were committed",
                hint="nasmigrate resume brings them home again; end whatever else opens this file in this machine",
            )

    def flush(self) -> None:
        """Bring what was written so far onto the disk, so that the commit finds little left to do.

        What SQLite's cache does not hold is in the write-ahead log by now. No lock stands on that file, so to open and
        close it loses none; the file itself must not be opened here.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        with suppress(OSError):
            descriptor = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def keep_readers_out(
        self,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """With a rollback journal, get the lock that the commit will need while Postgres serves still.

        A reader would keep it from being got, and with Postgres closed nobody could write meanwhile. To write the cache
        into the file takes that lock, and it is held until the transaction ends (pager_wait_on_lock in pager.c).

        Raises:
            SourceLocked: readers were there for `patience` seconds.
        """
        if not self._wal:
            self._patiently(self.connection.cache_flush, "keep readers out", patience, clock, sleep)

    def commit(
        self,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """The commit point of a rollback: rows and fence in one.

        Raises:
            SourceLocked: readers held it up for `patience` seconds; the transaction is rolled back.
        """

        def end() -> None:
            self.connection.execute("COMMIT").fetchall()

        self._patiently(end, "commit the rows that came home", patience, clock, sleep)
        self.mode_restored = restore_mode(self.path, self.fence.file_mode)

    def _patiently(
        self,
        action: Callable[[], None],
        purpose: str,
        patience: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        until = clock() + patience
        self.connection.set_busy_timeout(0)
        with mapped_errors(self.path, purpose):
            while True:
                try:
                    action()
                except apsw.BusyError:
                    if clock() >= until:
                        raise
                    sleep(_PAUSE)
                else:
                    return


@contextmanager
def home_transaction(path: Path, identity: TargetIdentity, epoch: int, *, busy: float) -> Iterator[HomeTransaction]:
    """Begin on the fenced file, if the fence is this target's and older than `epoch`; rolled back unless committed.

    Raises:
        FenceLost: no fence, another target's, or one that another run has stamped.
        SourceLocked: another process holds the write lock.
        SourceError: the file is read-only and belongs to another user.
    """
    mode = mode_of(path)
    if not mode & stat.S_IWUSR and not restore_mode(path, mode | stat.S_IWUSR):
        raise SourceError(
            f"{path}: is read-only, and only its owner (user {path.stat().st_uid}) may change that",
            hint="run nasmigrate as that user, or let them `chmod u+w` it",
        )
    with mapped_errors(path, "begin to bring rows home"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    committed = False
    try:
        with mapped_errors(path, "begin to bring rows home"):
            connection.set_busy_timeout(math.ceil(busy * 1000))
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            prepare(connection)
            journal_mode = str(connection.pragma("journal_mode"))
            connection.pragma("synchronous", "FULL" if journal_mode == "wal" else "EXTRA")
            connection.execute("BEGIN IMMEDIATE").fetchall()
            fence = _own(path, read_fence(connection), identity, epoch)
            drop_fence(connection)
        yield HomeTransaction(path, connection, fence, wal=journal_mode == "wal")
        committed = not connection.in_transaction
    finally:
        connection.close(True)
        if not committed:
            restore_mode(path, mode)


def _own(path: Path, fence: Fence | None, identity: TargetIdentity, epoch: int) -> Fence:
    if fence is None:
        raise FenceLost(
            f"{path}: the fence is gone: the file was replaced or restored; nothing was brought home",
            hint="nasmigrate status; put the fenced file back in its place",
        )
    if not fence.stands_for(identity.system_identifier, identity.database_oid):
        raise FenceLost(f"{path}: the fence stands for another database", hint="nasmigrate status names it")
    if fence.epoch >= epoch:
        raise FenceLost(f"{path}: another run has stamped the fence (epoch {fence.epoch})", hint="nasmigrate status")
    return fence
