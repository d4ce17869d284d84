"""Opens SQLite files so that nothing in them, and nothing we do, can change them.

The live file is read through apsw alone, its header included: POSIX locks belong to a process and vanish when
anything in it closes the file behind SQLite's back.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

import apsw

from nasmigrate.core.errors import (
    NasmigrateError,
    NotSqlite,
    SourceChanged,
    SourceCorrupt,
    SourceEmpty,
    SourceEncrypted,
    SourceError,
    SourceHostile,
    SourceLocked,
    StateError,
)
from nasmigrate.sqlite.schema_text import OURS
from nasmigrate.sqlite.stand_ins import missing_function

BUSY_TIMEOUT: Final = 5.0
"""Seconds to wait for a lock before giving up."""

SCHEMA_DEADLINE: Final = 60.0
"""Seconds that reading the schema may take when a file is opened; a sound one takes milliseconds."""

_SMALLEST_LENGTH_LIMIT: Final = 64 * 1024 * 1024
_LARGEST_LENGTH_LIMIT: Final = 1_000_000_000
_STEPS_BETWEEN_LOOKS: Final = 20_000

_RACE_TRIES: Final = 25
_RACE_PAUSE: Final = 0.02

_STEPS: Final = 10_000
"""Instructions of SQLite's machine between two looks at the clock."""

_FENCE_BEHIND_VIRTUAL_TABLE: Final = re.compile(rf"\(({OURS}\w+)\) - cannot create triggers on shadow tables")
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_SIZE: Final = 100
_SAMPLE_SIZE: Final = 4096

# What people hand over by mistake, by the first bytes of the file.
_KNOWN_STARTS: Final = (
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"PGDMP", "a pg_dump archive"),
    (b"** This file contains an SQLite 2", "a SQLite 2 database; convert it with sqlite and sqlite3 first"),
    (b"\x37\x7f\x06\x82", "the -wal file of a SQLite database; name the database beside it"),
    (b"\x37\x7f\x06\x83", "the -wal file of a SQLite database; name the database beside it"),
    (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", "the -journal of a SQLite database; name the database beside it"),
    (b"\0\x01\0\0Standard ", "a Microsoft Access database"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF document"),
)

_PRAGMAS_WITH_ARGUMENT: Final = frozenset(
    "table_list table_info table_xinfo index_list index_info index_xinfo foreign_key_list foreign_key_check "  # noqa: SIM905
    "quick_check integrity_check ignore_check_constraints cache_size cache_spill threads".split()
)
_PRAGMAS_READ: Final = frozenset(
    "encoding user_version application_id schema_version data_version page_size page_count freelist_count "  # noqa: SIM905
    "journal_mode auto_vacuum collation_list database_list function_list module_list compile_options query_only "
    "trusted_schema cell_size_check mmap_size busy_timeout".split()
)
_ACTIONS: Final = frozenset(
    {
        apsw.SQLITE_SELECT,
        apsw.SQLITE_READ,
        apsw.SQLITE_RECURSIVE,
        apsw.SQLITE_TRANSACTION,
        apsw.SQLITE_SAVEPOINT,
    }
)
_FUNCTIONS_REFUSED: Final = frozenset({"load_extension", "fts3_tokenizer"})


class NeedsWriteAccess(SourceError):
    """The file cannot be read as it lies there: it needs recovery, or is in WAL mode in a folder closed to us."""


def check_file(path: Path) -> Path:
    """The resolved path of a file that begins like a SQLite 3 database; nothing is created or locked.

    Raises:
        SourceError: missing, unreadable, or no regular file (a FIFO would block for ever).
        SourceEmpty: 0 bytes, which SQLite would take for an empty database.
        NotSqlite: another format; the message says what it looks like.
        SourceEncrypted: no known format, and random from the first byte.
        SourceCorrupt: a SQLite header with impossible fields, or cut short.
    """
    resolved = _regular_file(path)
    size, sample = first_bytes(resolved, _SAMPLE_SIZE)
    if size == 0:
        raise SourceEmpty(
            f"{resolved}: the file is empty (0 bytes)",
            hint="check the path; SQLite creates an empty file when an application opens a wrong name",
        )
    if not sample.startswith(_MAGIC):
        raise _not_sqlite(resolved, size, sample)
    page_size = int.from_bytes(sample[16:18], "big") if len(sample) >= _HEADER_SIZE else 0
    page_size = 65536 if page_size == 1 else page_size
    if size < _HEADER_SIZE or size < page_size:
        raise SourceCorrupt(
            f"{resolved}: the file is cut short ({size} bytes, less than its first page)",
            hint="restore it from a backup; nasmigrate does not salvage",
        )
    if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
        raise SourceCorrupt(
            f"{resolved}: the header names an impossible page size ({page_size} bytes)",
            hint="restore it from a backup; nasmigrate does not salvage",
        )
    return resolved


def first_bytes(path: Path, most: int) -> tuple[int, bytes]:
    """Size and first bytes, read through SQLite's own file layer, which keeps the locks of this process.

    Raises:
        SourceError: the file cannot be read.
    """
    with mapped_errors(path, "open"):
        file = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        try:
            size = file.xFileSize()
            return size, file.xRead(min(size, most), 0) if size else b""
        finally:
            file.xClose()


def open_source(path: Path, *, busy_timeout: float = BUSY_TIMEOUT, fenced: bool = False) -> apsw.Connection:
    """A connection that can only read the live file `path`; `busy_timeout` in seconds.

    With `fenced` it is not DEFENSIVE: that takes a fence's triggers behind a virtual table for a damaged schema.

    A database in WAL mode may gain its -wal and -shm files: SQLite needs them to read beside a writer.

    Raises:
        SourceError: or one of its kinds, see `check_file` and `mapped_errors`.
    """
    return _open_guarded(check_file(path), "mode=ro", busy_timeout, defensive=not fenced)


def open_snapshot(path: Path) -> apsw.Connection:
    """A connection that can only read a snapshot of our own, without any lock (`immutable=1`).

    Never for the live file: `immutable=1` ignores a -wal or a hot journal beside it, and so shows torn data.

    Raises:
        SourceError: or one of its kinds, see `check_file` and `mapped_errors`.
    """
    return _open_guarded(check_file(path), "mode=ro&immutable=1", 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file to be read, by any process: the live one, or a snapshot of our own."""

    path: Path
    live: bool = False
    busy_timeout: float = BUSY_TIMEOUT

    def open(self) -> apsw.Connection:
        """A connection that can only read it.

        Raises:
            SourceError: or one of its kinds, see `check_file` and `mapped_errors`.
        """
        return open_source(self.path, busy_timeout=self.busy_timeout) if self.live else open_snapshot(self.path)


def open_views(path: Path, *, seconds: float) -> apsw.Connection:
    """As `open_snapshot`, for reading through the snapshot's views, each statement for `seconds` at most.

    A view is a program out of the file: it may run for ever. Then apsw raises InterruptError.

    Raises:
        SourceError: or one of its kinds, as `open_snapshot`.
    """
    connection = open_snapshot(path)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 1)
    deadline = Deadline(seconds)
    connection.set_progress_handler(deadline.passed, _STEPS)
    # Every statement begins with its first look at the clock.
    connection.exec_trace = deadline.begin
    return connection


class Deadline:
    """Seconds that each statement of a connection may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def begin(self, *_: object) -> bool:
        """A statement begins."""
        self._end = time.monotonic() + self._seconds
        return True

    def passed(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self._end


def open_without_wal(path: Path) -> apsw.Connection:
    """A connection to what a live file says without the -wal beside it: only to be compared with what it says with it.

    Nothing but a comparison may rest on it, and only while nobody has the file open.

    Raises:
        SourceError: or one of its kinds, see `check_file` and `mapped_errors`.
    """
    return open_snapshot(path)


def length_limit(size: int) -> int:
    """Bytes of the largest value in a file of `size` bytes: nothing that is stored is larger than all of it.

    Text doubles at most on its way from UTF-16. Only an expression makes more: `hex(zeroblob(400000000))`.
    """
    return min(_LARGEST_LENGTH_LIMIT, max(_SMALLEST_LENGTH_LIMIT, 2 * size))


@contextmanager
def interrupted_when(connection: apsw.Connection, passed: Callable[[], bool]) -> Iterator[None]:
    """Let SQLite ask `passed` every few thousand steps, and stop (InterruptError) when it answers True."""
    connection.set_progress_handler(passed, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)


def touch(connection: apsw.Connection) -> None:
    """Read one row of the schema: takes the read lock, and keeps it if a transaction has been begun.

    A reader without write rights can take the journal of a writer that is just beginning or just committing for
    a hot one, because it tests existence, lock and content one after the other (`hasHotJournal` in pager.c). A
    connection with write rights would look again under an exclusive lock; here the read is tried again for half
    a second.

    Raises:
        apsw.ReadOnlyError: the journal stays hot, or a WAL cannot be read without write access.
        apsw.BusyError: a lock is held for longer than the busy timeout.
    """
    for left in reversed(range(_RACE_TRIES)):
        try:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
        except apsw.ReadOnlyError:
            if not left:
                raise
            time.sleep(_RACE_PAUSE)
        else:
            return


@contextmanager
def mapped_errors(path: Path, operation: str = "read") -> Iterator[None]:
    """Turn what apsw raises into our errors, with the operation and the path.

    Raises:
        SourceLocked: another process holds a lock (SQLITE_BUSY, SQLITE_LOCKED).
        NotSqlite: SQLITE_NOTADB.
        SourceCorrupt: SQLITE_CORRUPT, or text in the schema that is not valid UTF-8.
        SourceChanged: SQLITE_SCHEMA.
        SourceError: every other error of SQLite.
        StateError: a fence, which a DEFENSIVE connection takes for damage where the file has virtual tables.
    """
    try:
        yield
    except apsw.InterruptError:
        raise  # a deadline or Ctrl-C of ours, not a fact about the file
    except apsw.Error as error:
        raise _mapped(error, path, operation) from error
    except UnicodeDecodeError as error:
        raise SourceCorrupt(
            f"{path}: cannot {operation}: a name or SQL text in the schema is not valid UTF-8 "
            f"(byte {error.start} of {bytes(error.object)[:40]!r})",
            hint="rename the object in the source, or restore the file from a backup",
        ) from error


def _regular_file(path: Path) -> Path:
    try:
        kind = path.lstat().st_mode
        # A link is resolved once, here, so that every later message and lock names the file itself.
        resolved = path.resolve(strict=True)
        if stat.S_ISLNK(kind):
            kind = resolved.lstat().st_mode
        str(resolved).encode()
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: no such file",
            hint="check the path; nasmigrate never creates a source",
        ) from error
    except UnicodeEncodeError as error:
        raise SourceError(f"{os.fsencode(path)!r}: the path is not valid UTF-8", hint="rename it") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links before Python 3.13
        raise SourceError(f"{path}: cannot look at the file: {error}", hint="check the path and its rights") from error
    if stat.S_ISREG(kind):
        return resolved
    what = next(
        (
            name
            for test, name in (
                (stat.S_ISDIR, "a directory"),
                (stat.S_ISFIFO, "a FIFO"),
                (stat.S_ISSOCK, "a socket"),
                (stat.S_ISBLK, "a block device"),
                (stat.S_ISCHR, "a character device"),
            )
            if test(kind)
        ),
        "no regular file",
    )
    raise SourceError(f"{resolved}: this is {what}, not a database file", hint="name the SQLite file itself")


def _not_sqlite(path: Path, size: int, sample: bytes) -> SourceError:
    start = f"{path}: not a SQLite database (first 16 bytes are {sample[:16].hex(' ')})"
    for magic, what in _KNOWN_STARTS:
        if sample.startswith(magic):
            return NotSqlite(f"{start}: it looks like {what.partition(';')[0]}", hint=what)
    if _is_text(sample):
        return NotSqlite(
            f"{start}: it looks like a text file",
            hint="a .sql dump must be loaded into a SQLite file first: sqlite3 new.db < dump.sql",
        )
    if size >= 512 and _entropy_share(sample) > 0.95:
        return SourceEncrypted(
            f"{start}: it looks encrypted",
            hint="decrypt it first (SQLCipher: sqlcipher_export); nasmigrate takes no database keys",
        )
    return NotSqlite(start, hint="check the path")


def _is_text(sample: bytes) -> bool:
    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 3:  # otherwise a character cut by the sample's end
            return False
        text = sample[: error.start].decode()
    return all(character.isprintable() or character in "\t\r\n\ufeff" for character in text)


def _entropy_share(sample: bytes) -> float:
    """Shannon entropy of the bytes, as a share of what random bytes of this length would show."""
    total = len(sample)
    entropy = -sum(n / total * math.log2(n / total) for n in Counter(sample).values())
    # Expected entropy of uniform bytes is 8 bits less the finite-sample bias (Miller 1955): 255 / (2 n ln 2).
    return entropy / (8 - 255 / (2 * total * math.log(2)))


def _open_guarded(path: Path, query: str, busy_timeout: float, *, defensive: bool = True) -> apsw.Connection:
    uri = f"file://{quote_from_bytes(os.fsencode(path))}?{query}"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOFOLLOW
    # A connection is used by the one thread that opened it; without the mutex a scan takes a fifth less time.
    flags |= apsw.SQLITE_OPEN_NOMUTEX
    with mapped_errors(path, "open"):
        connection = apsw.Connection(uri, flags=flags)
        try:
            connection.set_busy_timeout(math.ceil(busy_timeout * 1000))
            _guard(connection, defensive=defensive)
            _limit(connection, path.stat().st_size)
            until = time.monotonic() + SCHEMA_DEADLINE + busy_timeout
            # SQLite opens lazily: read the schema now, so that a lock or damage is named here.
            with interrupted_when(connection, lambda: time.monotonic() > until):
                touch(connection)
        except apsw.InterruptError as error:
            connection.close()
            raise SourceHostile(
                f"{path}: its schema cannot be read within {SCHEMA_DEADLINE:g} s",
                hint="a sound file takes milliseconds: this one is damaged, or made to keep a reader busy",
            ) from error
        except BaseException:
            connection.close()
            raise
    return connection


def _guard(connection: apsw.Connection, *, defensive: bool) -> None:
    """Switch off everything by which a file's own SQL could act (https://sqlite.org/security.html)."""
    for option, value in (
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, int(defensive)),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    ):
        connection.config(option, value)
    connection.execute("PRAGMA query_only = 1; PRAGMA cell_size_check = 1; PRAGMA mmap_size = 0").fetchall()
    connection.authorizer = _authorize


def _limit(connection: apsw.Connection, size: int) -> None:
    """What no sound file of this size needs (https://sqlite.org/limits.html)."""
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, length_limit(size))
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.limit(apsw.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
    connection.limit(apsw.SQLITE_LIMIT_WORKER_THREADS, 0)


def _authorize(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    if action in _ACTIONS:
        allowed = True
    elif action == apsw.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _FUNCTIONS_REFUSED
    elif action == apsw.SQLITE_PRAGMA:
        name = (first or "").lower()
        allowed = name in _PRAGMAS_WITH_ARGUMENT or (name in _PRAGMAS_READ and second is None)
    else:
        allowed = False
    return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY


def earlier_run(path: Path, objects: Sequence[str]) -> StateError:
    """The error for a file that holds objects of ours: a fence, or what an earlier run left."""
    return StateError(
        f"{path}: holds {', '.join(objects[:3])}{' and more' if len(objects) > 3 else ''} of an earlier run",
        hint="`nasmigrate status` shows it; `nasmigrate resume` finishes that run, `nasmigrate abort` undoes it",
        details={"objects": list(objects)},
        code="NM1108",
    )


def _mapped(error: apsw.Error, path: Path, operation: str) -> NasmigrateError:
    # The text is the connection's last one, which another call may have reset.
    text = type(error).__name__ if str(error) == "not an error" else str(error)
    message = f"{path}: cannot {operation}: {text}"
    details: dict[str, object] = {"path": str(path), "operation": operation, "sqlite": type(error).__name__}
    if (extended := getattr(error, "extendedresult", None)) is not None:
        details["extended_result"] = extended

    def made(kind: Callable[..., SourceError], hint: str | None) -> SourceError:
        return kind(message, hint=hint, details=details)

    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return made(SourceLocked, "another process holds a lock; close it, or raise the busy timeout")
    if isinstance(error, apsw.NotADBError):
        return made(NotSqlite, "the file is not a SQLite database, or it is encrypted")
    if fence := _FENCE_BEHIND_VIRTUAL_TABLE.search(text):
        return earlier_run(path, [fence[1]])
    if isinstance(error, apsw.CorruptError):
        return made(SourceCorrupt, "restore the file from a backup; nasmigrate does not salvage")
    if isinstance(error, apsw.SchemaChangeError):
        return made(SourceChanged, "the schema changed while it was read; run the command again")
    readable = os.access(path, os.R_OK, effective_ids=True)
    folder_is_closed = readable and not os.access(path.parent, os.W_OK, effective_ids=True)
    if isinstance(error, apsw.ReadOnlyError) or (isinstance(error, apsw.CantOpenError) and folder_is_closed):
        return made(
            NeedsWriteAccess,
            "the file needs recovery or is in WAL mode, which takes write access to its folder: "
            "start and stop the application once, or run as a user who may write there",
        )
    if isinstance(error, (apsw.CantOpenError, apsw.PermissionsError)):
        return made(SourceError, "check the rights of the file and of its folder")
    if isinstance(error, apsw.IOError):
        return made(SourceError, "the disk or the file system failed; look at the system's log")
    if isinstance(error, apsw.AuthError):
        return made(SourceError, "the file's own SQL asked for more than reading")
    if isinstance(error, (apsw.TooBigError, apsw.NoMemError)):
        return made(SourceHostile, "an expression of the schema makes values larger than the file can explain")
    if missing_function(error):
        return SourceError(
            message,
            hint="only the application has that function, and the file's own text calls it (a generated column, an"
            " index): keep what it computes in an ordinary column",
            details=details,
            code="NM0711",
        )
    return made(SourceError, None)
