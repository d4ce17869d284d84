"""Copies a live SQLite file into a snapshot that no writer can change any more.

The backup API is the one way that is right beside a writer: a plain copy misses the -wal or tears a transaction,
VACUUM INTO does not sync and renumbers rowids.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import SnapshotTooSlow, StateError, TransferError
from nasmigrate.sqlite.check import check_trees
from nasmigrate.sqlite.fence import drop_fence, read_fence
from nasmigrate.sqlite.open import (
    BUSY_TIMEOUT,
    NeedsWriteAccess,
    check_file,
    interrupted_when,
    mapped_errors,
    open_source,
    touch,
)
from nasmigrate.sqlite.recover import copy_with_journals, files_beside, recover

Progress = Callable[[int, int], None]
"""Called with (pages copied, pages in all) after every step; may go back to 0 when a writer intervened."""

_PAGES_PER_STEP: Final = 512
_ALL_PAGES: Final = -1
_MAX_RESTARTS: Final = 3
_HASH_BLOCK: Final = 1 << 20

# A failed read can be the source's; the copy is only written.
_SOURCE_IO_ERRORS: Final = frozenset({apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_LOCK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A finished snapshot.

    `bytes` and `pages` are its size, `seconds` the time it took, `sha256` the hex digest of the file,
    `journal_mode` the source's, `restarts` how often a writer made the copy begin again, `notes` what
    quick_check said about values (at most 20 lines), and `recovered` the files beside the source by which a private
    copy of it was recovered (`-journal`, `-wal`): it could not be read in place.
    """

    path: Path
    sha256: str
    bytes: int
    pages: int
    seconds: float
    journal_mode: str
    restarts: int
    notes: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()


def take_snapshot(
    source: Path,
    destination: Path,
    *,
    busy_timeout: float = BUSY_TIMEOUT,
    fenced: bool = False,
    keep_fence: bool = False,
    longest_hold: float | None = None,
    progress: Progress | None = None,
    pages_per_step: int = _PAGES_PER_STEP,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] | None = None,
) -> Snapshot:
    """Copy `source` to `destination` (mode 0600) as of one moment, checked, synced and hashed.

    In WAL mode all pages come from one read transaction, and writers go on. With a rollback journal the copy
    goes in steps of `pages_per_step` and writers commit between them; a commit makes it begin again, and after
    three such restarts one read transaction is held to the end, during which commits wait.
    With `fenced` a fence in the source is expected, and left out of the copy, or with `keep_fence` in it.
    A source that cannot be read without writing to it (a crash left its -journal, or its folder is closed and it is
    in WAL mode) is copied with the files beside it, and the copy is recovered.
    With `longest_hold` that transaction is not begun if, at the rate so far, it would last more than so many seconds.
    The copy is made in `<destination>.partial`, which is gone again after any failure. SQLite asks `stop` now and
    then while it checks, and gives up (InterruptError) when the answer is True.

    Raises:
        SourceError: or one of its kinds: the source cannot be opened or read, or is damaged.
        SnapshotTooSlow: writers would be held up for more than `longest_hold` seconds.
        StateError: `destination` exists already.
        TransferError: the copy cannot be written.
    """
    began = clock()
    partial = destination.with_name(destination.name + ".partial")
    source = check_file(source)
    if os.path.lexists(destination):
        raise StateError(f"{destination}: exists already", hint="a snapshot never replaces a file")
    pace = _Pace(
        source=source, pages=pages_per_step, progress=progress, longest_hold=longest_hold, clock=clock, began=began
    )
    with _removed_on_failure(partial):
        journal_mode, restarts, recovered = _copied(source, partial, busy_timeout, pace, fenced)
        pages = _make_self_contained(source, partial)
        if fenced and not keep_fence:
            _without_fence(partial)
        with ThreadPoolExecutor(1) as beside:
            hashed = beside.submit(_sync_and_hash, partial)
            notes = _checked(source, partial, stop, defensive=not keep_fence)
        with _mapped_writes(partial):
            digest, size = hashed.result()
            partial.rename(destination)
            _sync_directory(destination.parent)
    return Snapshot(
        path=destination,
        sha256=digest,
        bytes=size,
        pages=pages,
        seconds=clock() - began,
        journal_mode=journal_mode,
        restarts=restarts,
        notes=notes,
        recovered=recovered,
    )


def take_pages(source: Path, destination: Path, *, busy_timeout: float = BUSY_TIMEOUT, fenced: bool = False) -> Path:
    """Copy `source` to `destination` (mode 0600) as of one moment and in one step; returns `destination`.

    It is neither checked nor synced nor hashed: it is there to be read once, as soon as can be, while the write lock is
    held for it.

    Raises:
        SourceError, TransferError: as `take_snapshot`.
    """
    partial = destination.with_name(destination.name + ".partial")
    pace = _Pace(source=source, pages=_ALL_PAGES, progress=None, longest_hold=None, clock=time.monotonic, began=0.0)
    with _removed_on_failure(partial):
        _copied(check_file(source), partial, busy_timeout, pace, fenced)
        _make_self_contained(source, partial)
        if fenced:
            _without_fence(partial)
        with _mapped_writes(partial):
            partial.rename(destination)
    return destination


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """How the pages are taken: so many at once, told to `progress`, and how long writers may be held up."""

    source: Path
    pages: int
    progress: Progress | None
    longest_hold: float | None
    clock: Callable[[], float]
    began: float

    def check_hold(self, seconds: float) -> None:
        """Refuse to hold writers up for so long.

        Raises:
            SnapshotTooSlow: it is longer than allowed.
        """
        if self.longest_hold is not None and seconds > self.longest_hold:
            raise SnapshotTooSlow(
                f"{self.source}: writers came between three times; to copy it in one go would hold them up for"
                f" {seconds:.1f} s, {self.longest_hold:.1f} s are allowed",
                hint="switch the file to WAL (PRAGMA journal_mode = WAL), raise the limit, or stop the application",
            )


def _copied(
    source: Path, partial: Path, busy_timeout: float, pace: _Pace, fenced: bool
) -> tuple[str, int, tuple[str, ...]]:
    """Make the copy, by the backup API where the source can be read in place; (journal mode, restarts, recovered)."""
    try:
        live = open_source(source, busy_timeout=busy_timeout, fenced=fenced)
    except NeedsWriteAccess:
        beside = files_beside(source)
        with _mapped_writes(partial):
            _create(partial)
            copy_with_journals(source, partial)
        recover(source, partial)
        return ("delete" if "-journal" in beside else "wal"), 0, beside
    with closing(live):
        with _mapped_writes(partial):
            _create(partial)
        return *_copy(source, live, partial, pace), ()


def _create(partial: Path) -> None:
    # What lies there is ours, left by a killed run: the run directory belongs to one run.
    _remove(partial)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)


def _copy(source: Path, live: apsw.Connection, partial: Path, pace: _Pace) -> tuple[str, int]:
    """Run the backup; the source's journal mode and the number of restarts."""
    with mapped_errors(source, "take a snapshot"), _mapped_writes(partial), closing(_open_copy(partial)) as copy:
        # Nothing of the copy is worth recovering before it is whole, and it is synced once, at the end.
        copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
        journal_mode = str(live.pragma("journal_mode"))
        restarts, copied = 0, 0
        with copy.backup("main", live, "main") as backup:
            while not backup.done:
                # With a transaction of our own the step needs no lock: an error in taking it would end the backup.
                if not live.in_transaction:
                    live.execute("BEGIN")
                    touch(live)
                before = backup.page_count - backup.remaining
                backup.step(pace.pages)
                after = backup.page_count - backup.remaining
                # SQLite begins again by itself, and silently, when the file changed since the last step.
                copied += pace.pages
                if not backup.done and after != before + pace.pages:
                    restarts += 1
                    if restarts == _MAX_RESTARTS and journal_mode != "wal":
                        pace.check_hold(backup.page_count * (pace.clock() - pace.began) / copied)
                if backup.done or (journal_mode != "wal" and restarts < _MAX_RESTARTS):
                    live.execute("COMMIT")
                if pace.progress is not None:
                    pace.progress(after, backup.page_count)
    return journal_mode, restarts


def _open_copy(partial: Path) -> apsw.Connection:
    # An absolute path never begins with `file:`, so it is not taken for a URI.
    copy = apsw.Connection(str(partial.absolute()), flags=apsw.SQLITE_OPEN_READWRITE)
    copy.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    return copy


def _make_self_contained(source: Path, partial: Path) -> int:
    """Take the copy out of WAL mode (header bytes 18 and 19), so that it needs no -wal; its pages."""
    # This is the first time that all of the schema is parsed: what is wrong with it is the source's.
    with mapped_errors(source, "read the snapshot"), _mapped_writes(partial), closing(_open_copy(partial)) as copy:
        # An exclusive lock keeps the -shm file from being made.
        copy.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        mode = copy.pragma("journal_mode", "delete")
        if mode != "delete":
            raise TransferError(f"{partial}: the snapshot stays in journal mode {mode}")
        return int(copy.pragma("page_count"))


def _without_fence(partial: Path) -> None:
    with _mapped_writes(partial), closing(_open_copy(partial)) as copy:
        if read_fence(copy) is not None:
            copy.execute("BEGIN IMMEDIATE").fetchall()
            drop_fence(copy)
            copy.execute("COMMIT").fetchall()


def _checked(source: Path, partial: Path, stop: Callable[[], bool] | None, *, defensive: bool) -> tuple[str, ...]:
    with (
        mapped_errors(source, "check the snapshot"),
        closing(_open_copy(partial)) as copy,
        interrupted_when(copy, stop) if stop is not None else nullcontext(),
    ):
        copy.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, int(defensive))
        copy.execute("PRAGMA query_only = 1; PRAGMA cell_size_check = 1; PRAGMA mmap_size = 0").fetchall()
        return check_trees(copy, source)


def _sync_and_hash(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(partial: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)


@contextmanager
def _removed_on_failure(partial: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _remove(partial)
        raise


@contextmanager
def _mapped_writes(partial: Path) -> Iterator[None]:
    """Turn failures that can only be the copy's into our error; all others pass.

    Raises:
        TransferError: disk full, a failed write or sync, a folder that is missing or not ours.
    """
    try:
        yield
    except (OSError, apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
        if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", None) in _SOURCE_IO_ERRORS:
            raise
        # By the time a backup step says that the disk is full, SQLite's message is that of another call.
        reason = "no space is left" if isinstance(error, apsw.FullError) else error
        raise TransferError(
            f"{partial}: cannot write the snapshot: {reason}",
            hint="the run directory needs to exist, be yours, and have room for a copy of the source",
        ) from error
