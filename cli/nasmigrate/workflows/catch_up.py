"""One pass that makes the target equal to the source again: digest, compare what changed, apply, verify.

The same pass serves the catch-up on a fresh snapshot and the drain while the live file's write lock is held. It
commits nothing: the caller does, and until then nobody sees any of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg

from nasmigrate.core.errors import TransferError
from nasmigrate.core.pool import Pool
from nasmigrate.postgres.apply import apply_changes, read_back
from nasmigrate.postgres.digests import bucket_digests, range_digest
from nasmigrate.postgres.finish import set_sequences
from nasmigrate.postgres.ledger import read_originals, replace_chunks
from nasmigrate.schema.changes import Counts, TableChanges
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.digest import ChunkDigest, originals_digest
from nasmigrate.schema.ledger import ChunkRow, bits_of, in_key_order, is_pending
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.rows import row_of_fields
from nasmigrate.sqlite.open import SourceFile, open_snapshot
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.sqlite.sequences import high_water
from nasmigrate.verify.from_pages import changes_of_pages, compare_pages
from nasmigrate.verify.from_source import FromSource
from nasmigrate.verify.source_scan import scan_source
from nasmigrate.verify.source_side import digest_range
from nasmigrate.workflows.aside import set_aside

Ledger = Mapping[str, list[ChunkRow]]
Guard = Callable[[psycopg.Connection], None]
"""Called first in the transaction that writes; raises when this run may not write any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a pass needs that does not change from one to the next. `workdir` is private and has room to spill."""

    plan: Plan
    run_id: str
    pool: Pool
    limits: Limits
    workdir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time of a pass went."""

    digest: float = 0.0
    compare: float = 0.0
    apply: float = 0.0
    verify: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.digest + self.compare + self.apply + self.verify


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """What a pass came to.

    `ledger` is the ledger as it stands once the transaction commits; `counts` are the rows of each changed table,
    `chunks` those that had changed, `rows` those read from the source.
    """

    ledger: dict[str, list[ChunkRow]]
    counts: dict[str, Counts] = field(default_factory=dict)
    chunks: int = 0
    rows: int = 0
    seconds: Seconds = Seconds()

    @property
    def changed_rows(self) -> int:
        """Rows written or deleted."""
        return sum(counts.total for counts in self.counts.values())


def catch_up(
    connection: psycopg.Connection,
    these: Pass,
    source: SourceFile,
    ledger: Ledger,
    guard: Guard,
    *,
    since: Path | None = None,
) -> CaughtUp:
    """Make the target equal to `source`, in one transaction that the caller commits (or rolls back after an error).

    With `since` only the pages that changed are read where they tell which rows can have changed (`sqlite.pages`);
    the chunks of these rows are then pending in the ledger, until `record_pending` or a pass without `since`. All
    other tables are digested. Either is done before the transaction begins, so `connection` must be idle. When nothing
    changed, the transaction holds only the guard and the sequences.

    Args:
        connection: not in a transaction, not in autocommit mode; as the owner of the tables.
        these: the plan, the run, and where to work.
        source: a snapshot, or the live file while nobody can write to it; other processes open it too, and this one.
        ledger: what the target holds: `read_chunks`, or the `ledger` of the pass before.
        guard: called first in the transaction.
        since: the snapshot that the target is equal to, of the pass before; `source` must be a snapshot too.

    Raises:
        TransferError: a value does not fit its codec (NM0903; before the transaction begins); the server counted
            other rows than planned (NM0904); a row without parent (NM0905); what was applied is not equal (NM0906).
        CopyFailed: a constraint of the target refuses a row.
        SourceError: the source cannot be read.
    """
    clock = _Clock()
    plan = these.plan
    told: Mapping[str, tuple[tuple[int, int], ...] | None] = {table.name: None for table in plan.tables}
    if since is not None and not source.live:
        told = compare_pages(plan, since, source.path)
        # Whether a row is set aside depends on its parent: pages of another table may decide it.
        told = {name: None if plan.table(name).kept else ranges for name, ranges in told.items()}
    to_scan = [name for name, ranges in told.items() if ranges is None]
    scan = scan_source(these.pool, source, plan, ledger, these.workdir, to_scan)
    clock.lap("digest")
    with closing(source.open()) as reader, ExitStack() as stack:
        changes: list[TableChanges] = []
        stack.callback(_close, changes)
        if since is not None:
            before = stack.enter_context(closing(open_snapshot(since)))
            ranges = {name: these_ranges for name, these_ranges in told.items() if these_ranges}
            changes += changes_of_pages(plan, before, reader, ranges, ledger)
        clock.lap("compare")
        guard(connection)
        difference = FromSource(reader, connection, plan, these.limits, these.workdir)
        for name, chunks in scan.changed.items():
            changes.append(difference.table(name, chunks, ledger.get(name, [])))
        clock.lap("compare")
        counts = apply_changes(connection, plan, changes) if changes else {}
        for change in changes:
            replace_chunks(connection, these.run_id, change)
        set_sequences(connection, plan, set_aside(connection, reader, plan, high_water(reader)))
        clock.lap("apply")
        for change in changes:
            _verify(connection, plan, change)
        clock.lap("verify")
        return CaughtUp(
            ledger=_after(ledger, changes),
            counts={name: found for name, found in counts.items() if found.total},
            chunks=sum(len(change.before) for change in changes),
            rows=scan.rows,
            seconds=clock.seconds,
        )


def record_pending(
    connection: psycopg.Connection, these: Pass, source: SourceFile, ledger: Ledger, guard: Guard
) -> dict[str, list[ChunkRow]]:
    """Make the digests of pending chunks, in one transaction that the caller commits; the ledger as it is then.

    Of the target only the originals are read, so its rows may have changed since.

    Args:
        connection: as for `catch_up`.
        these: as for `catch_up`.
        source: what the target was equal to when the chunks became pending: the fenced file, for example.
        ledger: with pending chunks or without.
        guard: called first in the transaction.

    Raises:
        TransferError: the originals of a chunk are not the source's (NM0906).
        SourceError: the source cannot be read.
    """
    guard(connection)
    changes = []
    with closing(source.open()) as reader:
        for name, chunks in ledger.items():
            table = these.plan.table(name)
            codecs = table.codecs()
            change = TableChanges(table=name, partial=True, before=tuple(filter(is_pending, chunks)))
            change.after = tuple(
                digest_range(
                    reader,
                    these.plan,
                    table,
                    codecs,
                    number=chunk.chunk,
                    bounds=KeyRange(after=chunk.after, last=chunk.last),
                )
                for chunk in change.before
            )
            for chunk in change.after:
                if originals_digest(read_originals(connection, name, chunk.chunk)) != chunk.originals_digest:
                    raise _unequal(name, [str(chunk.chunk)])
            if change.before:
                replace_chunks(connection, these.run_id, change)
                changes.append(change)
    return _after(ledger, changes)


def _close(changes: Sequence[TableChanges]) -> None:
    for change in changes:
        change.close()


def _after(ledger: Ledger, changes: Sequence[TableChanges]) -> dict[str, list[ChunkRow]]:
    """The ledger once the changes are there."""
    after = {name: list(chunks) for name, chunks in ledger.items()}
    for change in changes:
        gone = {chunk.chunk for chunk in change.before}
        kept = [chunk for chunk in after.get(change.table, []) if chunk.chunk not in gone]
        after[change.table] = in_key_order([*kept, *change.after])
    return after


class _Clock:
    """Adds up where the time goes."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds = Seconds()

    def lap(self, name: str) -> None:
        """What passed since the last lap was spent on `name`."""
        now = time.perf_counter()
        spent = getattr(self.seconds, name) + now - self._last
        self.seconds = replace(self.seconds, **{name: spent})
        self._last = now


def _verify(connection: psycopg.Connection, plan: Plan, change: TableChanges) -> None:
    """Digest the chunks that were applied on the target; of pending ones, read the changed rows back.

    The latter is enough: the server's counts say that no other row was moved.

    Raises:
        TransferError: one is not what the source's is.
    """
    table = plan.table(change.table)
    codecs = table.codecs()
    different: list[str] = []
    if change.partial:
        wanted = {row_of_fields(fields) for rows in (change.updated, change.inserted) for fields in rows}
        if wanted != set(read_back(connection, plan, change)):
            different = [str(chunk.chunk) for chunk in change.after]
    elif table.mode == "multiset":
        found = bucket_digests(connection, table, codecs, bits_of(change.before))
        numbers = {chunk.chunk for chunk in change.before}
        expected = {chunk.chunk: (chunk.rows, chunk.digests) for chunk in change.after if chunk.rows}
        there = {n: (digest.rows, digest.digests) for n, digest in found.items() if n in numbers}
        different = [str(number) for number in numbers if expected.get(number) != there.get(number)]
    else:
        for chunk in change.after:
            known = ChunkDigest(rows=chunk.rows, digests=chunk.digests)
            if known != range_digest(connection, table, codecs, chunk.after, chunk.last) and known != range_digest(
                connection, table, codecs, chunk.after, chunk.last, careful=True
            ):
                different.append(str(chunk.chunk))
    if different:
        raise _unequal(change.table, different)


def _unequal(table: str, chunks: Sequence[str]) -> TransferError:
    return TransferError(
        f"{table}: chunk {chunks[0]} of the target is not equal to the source after it was applied",
        hint="a trigger of the target changes rows, or someone else writes to it; nothing was kept",
        details={"table": table, "chunks": list(chunks)},
        code="NM0906",
    )
