"""Copies a live SQLite file into a snapshot that no writer can change any more.

The backup API is the one way that is right beside a writer: a plain copy misses the -wal or tears a transaction,
VACUUM INTO does not sync and renumbers rowids.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import SourceCorrupt, StateError, TransferError
from nasmigrate.sqlite.fence import drop_fence, read_fence
from nasmigrate.sqlite.open import BUSY_TIMEOUT, mapped_errors, open_source, touch

Progress = Callable[[int, int], None]
"""Called with (pages copied, pages in all) after every step; may go back to 0 when a writer intervened."""

_PAGES_PER_STEP: Final = 512
_MAX_RESTARTS: Final = 3
_HASH_BLOCK: Final = 1 << 20
_CHECK_LIMIT: Final = 1_000_000
_NOTES_KEPT: Final = 20

# A failed read can be the source's; the copy is only written.
_SOURCE_IO_ERRORS: Final = frozenset({apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_LOCK})

# Lines of quick_check about values or about an FTS index: facts for the profile, no damage to the tree.
_NOT_DAMAGE: Final = re.compile(
    r"(NULL|TEXT|NUMERIC|non-\w+) value in |CHECK constraint failed in |"
    r"(malformed|unable to validate the) inverted index for FTS"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A finished snapshot.

    `bytes` and `pages` are its size, `seconds` the time it took, `sha256` the hex digest of the file,
    `journal_mode` the source's, `restarts` how often a writer made the copy begin again, and `notes` what
    quick_check said about values (at most 20 lines).
    """

    path: Path
    sha256: str
    bytes: int
    pages: int
    seconds: float
    journal_mode: str
    restarts: int
    notes: tuple[str, ...] = ()


def take_snapshot(
    source: Path,
    destination: Path,
    *,
    busy_timeout: float = BUSY_TIMEOUT,
    fenced: bool = False,
    progress: Progress | None = None,
    pages_per_step: int = _PAGES_PER_STEP,
    clock: Callable[[], float] = time.monotonic,
) -> Snapshot:
    """Copy `source` to `destination` (mode 0600) as of one moment, checked, synced and hashed.

    In WAL mode all pages come from one read transaction, and writers go on. With a rollback journal the copy
    goes in steps of `pages_per_step` and writers commit between them; a commit makes it begin again, and after
    three such restarts one read transaction is held to the end, during which commits wait.
    With `fenced` a fence in the source is expected, and left out of the copy. The copy is made in
    `<destination>.partial`, which is gone again after any failure.

    Raises:
        SourceError: or one of its kinds: the source cannot be opened or read, or is damaged.
        StateError: `destination` exists already.
        TransferError: the copy cannot be written.
    """
    began = clock()
    partial = destination.with_name(destination.name + ".partial")
    with closing(open_source(source, busy_timeout=busy_timeout, fenced=fenced)) as live:
        if os.path.lexists(destination):
            raise StateError(f"{destination}: exists already", hint="a snapshot never replaces a file")
        with _removed_on_failure(partial):
            with _mapped_writes(partial):
                _create(partial)
            journal_mode, restarts = _copy(source, live, partial, progress, pages_per_step)
            pages = _make_self_contained(partial)
            if fenced:
                _without_fence(partial)
            with ThreadPoolExecutor(1) as beside:
                hashed = beside.submit(_sync_and_hash, partial)
                notes = _quick_check(source, partial)
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
    )


def _create(partial: Path) -> None:
    # What lies there is ours, left by a killed run: the run directory belongs to one run.
    _remove(partial)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)


def _copy(
    source: Path, live: apsw.Connection, partial: Path, progress: Progress | None, pages_per_step: int
) -> tuple[str, int]:
    """Run the backup; the source's journal mode and the number of restarts."""
    with mapped_errors(source, "take a snapshot"), _mapped_writes(partial), closing(_open_copy(partial)) as copy:
        # Nothing of the copy is worth recovering before it is whole, and it is synced once, at the end.
        copy.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").fetchall()
        journal_mode = str(live.pragma("journal_mode"))
        restarts = 0
        with copy.backup("main", live, "main") as backup:
            while not backup.done:
                # With a transaction of our own the step needs no lock: an error in taking it would end the backup.
                if not live.in_transaction:
                    live.execute("BEGIN")
                    touch(live)
                before = backup.page_count - backup.remaining
                backup.step(pages_per_step)
                after = backup.page_count - backup.remaining
                # SQLite begins again by itself, and silently, when the file changed since the last step.
                if not backup.done and after != before + pages_per_step:
                    restarts += 1
                if backup.done or (journal_mode != "wal" and restarts < _MAX_RESTARTS):
                    live.execute("COMMIT")
                if progress is not None:
                    progress(after, backup.page_count)
    return journal_mode, restarts


def _open_copy(partial: Path) -> apsw.Connection:
    # An absolute path never begins with `file:`, so it is not taken for a URI.
    return apsw.Connection(str(partial.absolute()), flags=apsw.SQLITE_OPEN_READWRITE)


def _make_self_contained(partial: Path) -> int:
    """Take the copy out of WAL mode (header bytes 18 and 19), so that it needs no -wal; its pages."""
    with _mapped_writes(partial), closing(_open_copy(partial)) as copy:
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


def _quick_check(source: Path, partial: Path) -> tuple[str, ...]:
    """Prove that the copy's trees are whole; what is said about values is returned."""
    notes: list[str] = []
    with mapped_errors(source, "check the snapshot"), closing(_open_copy(partial)) as copy:
        copy.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        copy.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # CHECKs are judged on the loaded rows, later; they may call functions that only the application has.
        copy.execute(
            "PRAGMA query_only = 1; PRAGMA cell_size_check = 1; PRAGMA ignore_check_constraints = 1"
        ).fetchall()
        # quick_check opens every index but compares nothing in their order, so any collation does.
        copy.collation_needed(lambda connection, name: connection.create_collation(name, _compare))
        damage: list[str] = []
        for number, (line,) in enumerate(copy.execute(f"PRAGMA quick_check({_CHECK_LIMIT})"), start=1):
            if line == "ok":
                continue
            kept = notes if _NOT_DAMAGE.match(line) else damage
            if len(kept) < _NOTES_KEPT:
                kept.append(line)
            if number == _CHECK_LIMIT:
                damage.append("too many lines to be sure of the rest")
    if damage:
        raise SourceCorrupt(
            f"{source}: quick_check of the snapshot says: {damage[0]}",
            hint="restore the file from a backup; nasmigrate does not salvage",
            details={"quick_check": damage},
        )
    return tuple(notes)


def _compare(left: str, right: str) -> int:
    return (left > right) - (left < right)


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
        raise TransferError(
            f"{partial}: cannot write the snapshot: {error}",
            hint="the run directory needs to exist, be yours, and have room for a copy of the source",
        ) from error
