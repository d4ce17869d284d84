"""Everything that is done with a source before it is trusted: snapshot, checks, schema, counts.

It runs in a child process with limits (`core.limited`), since here a file that is damaged, or made to, meets SQLite
and our own reading of its DDL for the first time. What comes back are facts. What is read of the snapshot later,
without limits, has been read here first: all trees were walked, and every computed value was computed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import ResumeMismatch, SourceCorrupt, SourceHostile, SourceLocked
from nasmigrate.core.limited import Limits, Watch
from nasmigrate.schema.model import SourceSchema, Table
from nasmigrate.sqlite.check import check_expressions, check_indexes, check_key_order, checkable_indexes
from nasmigrate.sqlite.inspect import count_rows, inspect
from nasmigrate.sqlite.locks import lock_of_others
from nasmigrate.sqlite.open import check_file, interrupted_when, length_limit, mapped_errors, open_snapshot
from nasmigrate.sqlite.snapshot import Snapshot, take_snapshot
from nasmigrate.sqlite.wal import WalState, suspect_if_whole_without, wal_state, without_wal

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_ROOM: Final = 1 << 30
"""Bytes of address space for Python and SQLite beside the values themselves."""
_VALUES_AT_ONCE: Final = 4
_NICENESS: Final = 10
_INDEX_CACHE: Final = 4 * 1024
"""KiB of pages kept while indexes are compared with their tables. A larger cache was measured to gain nothing over
the pages that the system keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamineJob:
    """What to examine.

    `sha256` is None for a source of which a snapshot is to be taken; else `snapshot` exists, and must have that
    digest. With `fenced` the fence of a run is expected in the source, and left out of the snapshot. `step_back` =
    leave the processor to others once the facts are told: for a process that does nothing else.
    """

    source: Path
    snapshot: Path
    busy_timeout: float
    sha256: str | None = None
    fenced: bool = False
    longest_hold: float | None = None
    step_back: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotProgress:
    """Pages copied, of pages in all."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A source that may be worked with.

    `counts` are SQLite's own `count(*)`; `wal_adds` says what an orphaned -wal adds. `snapshot` and `wal` are None when
    no snapshot was taken.
    """

    schema: SourceSchema
    counts: dict[str, int]
    snapshot: Snapshot | None = None
    wal: WalState | None = None
    wal_adds: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexesChecked:
    """The indexes of one table against its rows; `lines` says what differs, `skipped` why it cannot be known."""

    table: str
    lines: tuple[str, ...] = ()
    skipped: str = ""


def limits_for(source: Path, deadline: float, busy_timeout: float) -> Limits:
    """What an examination gets.

    Args:
        source: the file.
        deadline: seconds for a step of the examination of a small file; as many more per GiB.
        busy_timeout: seconds that may pass in waiting for a lock.
    """
    size = sum(
        beside.stat().st_size
        for beside in (source, source.with_name(source.name + "-wal"), source.with_name(source.name + "-journal"))
        if beside.is_file()
    )
    return Limits(
        seconds=deadline * (1 + size / _GIB) + busy_timeout,
        memory=_ROOM + _VALUES_AT_ONCE * length_limit(size),
        file_bytes=2 * size + 256 * _MIB,
    )


def examine(job: ExamineJob, report: Callable[[object], None], watch: Watch) -> None:
    """Report SnapshotProgress while the snapshot is taken, then Examined, then IndexesChecked for each table.

    Raises:
        SourceError: or one of its kinds.
        ResumeMismatch: the snapshot is not the one it was.
        SchemaError: an object's DDL cannot be read.
        TransferError: the snapshot cannot be written.
    """
    try:
        examined, in_order = _look(job, report, watch)
        report(examined)
    except apsw.InterruptError as error:
        raise _too_long(job, watch, "checking it and reading its schema") from error
    except (MemoryError, RecursionError) as error:
        raise SourceHostile(
            f"{job.source}: to check it and to read its schema takes more memory than a file of its size explains",
            hint="this file is damaged, or made to exhaust a reader; nothing was changed",
        ) from error
    if job.step_back:
        os.nice(_NICENESS)
    # What is not reported was not checked: whoever asked says so.
    with suppress(apsw.InterruptError, MemoryError), closing(open_snapshot(job.snapshot)) as connection:
        for name in sorted(in_order):
            report(IndexesChecked(table=name))
        tables = [table for table in examined.schema.tables if table.name not in in_order and checkable_indexes(table)]
        _compare_indexes(connection, job.source, tables, report, watch)


def _look(job: ExamineJob, report: Callable[[object], None], watch: Watch) -> tuple[Examined, frozenset[str]]:
    """The facts, and the tables whose indexes were checked on the way."""
    source = check_file(job.source) if job.sha256 is None else job.source
    wal = wal_state(source) if job.sha256 is None else None
    snapshot = None
    if wal is None:
        _same_file(job)
    else:
        snapshot = _take(job, source, wal, report, watch)
    with (
        closing(open_snapshot(job.snapshot)) as connection,
        mapped_errors(source),
        interrupted_when(connection, watch.passed),
    ):
        schema = inspect(connection)
        counts = {table.name: count_rows(connection, table.name) for table in schema.tables}
        in_order = check_key_order(connection, schema.tables, source)
        check_expressions(connection, schema.tables, job.snapshot.stat().st_size, source)
        adds = without_wal(source, connection, counts) if wal is not None and wal.orphaned else None
    return Examined(schema=schema, counts=counts, snapshot=snapshot, wal=wal, wal_adds=adds), in_order


def _take(job: ExamineJob, source: Path, wal: WalState, report: Callable[[object], None], watch: Watch) -> Snapshot:
    try:
        return take_snapshot(
            source,
            job.snapshot,
            busy_timeout=job.busy_timeout,
            progress=lambda done, total: report(SnapshotProgress(done=done, total=total)),
            stop=watch.passed,
            fenced=job.fenced,
            longest_hold=job.longest_hold,
        )
    except SourceLocked as error:
        # The connection is closed again: now the file may be asked who stands in the way.
        lock = lock_of_others(source)
        raise SourceLocked(
            f"{error.message}{f': {lock}' if lock else ''} (waited {job.busy_timeout:g} s)",
            hint="wait for that process, stop it, or raise [source] busy_timeout",
            details=error.details,
        ) from error
    except SourceCorrupt as error:
        if wal.orphaned:
            raise suspect_if_whole_without(source, error) from error
        raise


def _compare_indexes(
    connection: apsw.Connection,
    source: Path,
    tables: Sequence[Table],
    report: Callable[[object], None],
    watch: Watch,
) -> None:
    connection.execute(f"PRAGMA cache_size = -{_INDEX_CACHE}").fetchall()
    for table in tables:
        with mapped_errors(source, "compare its indexes with its rows"), interrupted_when(connection, watch.passed):
            try:
                report(IndexesChecked(table=table.name, lines=check_indexes(connection, table)))
            except apsw.SQLError as error:
                report(IndexesChecked(table=table.name, skipped=str(error)))


def _same_file(job: ExamineJob) -> None:
    with job.snapshot.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != job.sha256:
        raise ResumeMismatch(
            f"{job.snapshot}: the snapshot is no longer the file that was copied (its sha256 differs)",
            hint="begin again in an empty database",
        )


def _too_long(job: ExamineJob, watch: Watch, what: str) -> SourceHostile:
    return SourceHostile(
        f"{job.source}: {what} takes more than {watch.seconds:g} s",
        hint="a sound file of this size takes far less: it is damaged, or made to keep a reader busy; on a very slow"
        " disk raise [source] deadline",
    )
