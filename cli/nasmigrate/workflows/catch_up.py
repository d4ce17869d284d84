"""One pass that makes the target equal to the source again: digest, compare what changed, apply, verify.

The same pass serves the catch-up on a fresh snapshot and the drain while the live file's write lock is held. It
commits nothing: the caller does, and until then nobody sees any of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from nasmigrate.core.errors import TransferError
from nasmigrate.core.pool import Pool
from nasmigrate.postgres.apply import apply_changes
from nasmigrate.postgres.digests import bucket_digests, range_digest
from nasmigrate.postgres.finish import set_sequences
from nasmigrate.postgres.ledger import replace_chunks
from nasmigrate.schema.changes import Counts, TableChanges
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.ledger import ChunkRow, bits_of, in_key_order
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.sequences import high_water
from nasmigrate.verify.from_source import FromSource
from nasmigrate.verify.source_scan import Scan, scan_source

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


def catch_up(connection: psycopg.Connection, these: Pass, source: SourceFile, ledger: Ledger, guard: Guard) -> CaughtUp:
    """Make the target equal to `source`, in one transaction that the caller commits (or rolls back after an error).

    The source is digested before the transaction begins, so `connection` must be idle. When nothing changed, the
    transaction holds only the guard and the sequences.

    Args:
        connection: not in a transaction, not in autocommit mode; as the owner of the tables.
        these: the plan, the run, and where to work.
        source: a snapshot, or the live file while nobody can write to it; other processes open it too, and this one.
        ledger: what the target holds: `read_chunks`, or the `ledger` of the pass before.
        guard: called first in the transaction.

    Raises:
        TransferError: a value does not fit its codec (NM0903; before the transaction begins); the server counted
            other rows than planned (NM0904); a row without parent (NM0905); what was applied is not equal (NM0906).
        CopyFailed: a constraint of the target refuses a row.
        SourceError: the source cannot be read.
    """
    started = time.perf_counter()
    scan = scan_source(these.pool, source, these.plan, ledger, these.workdir)
    digested = time.perf_counter()
    guard(connection)
    return _apply_scan(connection, these, source, ledger, scan, (started, digested))


def _apply_scan(
    connection: psycopg.Connection,
    these: Pass,
    source: SourceFile,
    ledger: Ledger,
    scan: Scan,
    times: tuple[float, float],
) -> CaughtUp:
    plan = these.plan
    changes: list[TableChanges] = []
    counts: dict[str, Counts] = {}
    try:
        with closing(source.open()) as reader:
            difference = FromSource(reader, connection, plan, these.limits, these.workdir)
            for name, chunks in scan.changed.items():
                changes.append(difference.table(name, chunks, ledger.get(name, [])))
            sequences = high_water(reader)
        compared = time.perf_counter()
        if changes:
            counts = apply_changes(connection, plan, changes)
            for change in changes:
                replace_chunks(connection, these.run_id, change)
        set_sequences(connection, plan, sequences)
        applied = time.perf_counter()
        for change in changes:
            _verify(connection, plan, change)
        verified = time.perf_counter()
        after = {name: list(chunks) for name, chunks in ledger.items()}
        for change in changes:
            gone = {chunk.chunk for chunk in change.before}
            kept = [chunk for chunk in after.get(change.table, []) if chunk.chunk not in gone]
            after[change.table] = in_key_order([*kept, *change.after])
    finally:
        for change in changes:
            change.close()
    return CaughtUp(
        ledger=after,
        counts=counts,
        chunks=scan.chunks,
        rows=scan.rows,
        seconds=Seconds(
            digest=times[1] - times[0],
            compare=compared - times[1],
            apply=applied - compared,
            verify=verified - applied,
        ),
    )


def _verify(connection: psycopg.Connection, plan: Plan, change: TableChanges) -> None:
    """Digest the chunks that were applied on the target.

    Raises:
        TransferError: one is not what the source's is.
    """
    table = plan.table(change.table)
    codecs = table.codecs()
    if table.mode == "multiset":
        found = bucket_digests(connection, table, codecs, bits_of(change.before))
        numbers = {chunk.chunk for chunk in change.before}
        wanted = {chunk.chunk: (chunk.rows, chunk.digests) for chunk in change.after if chunk.rows}
        there = {n: (digest.rows, digest.digests) for n, digest in found.items() if n in numbers}
        different = [str(number) for number in numbers if wanted.get(number) != there.get(number)]
    else:
        different = []
        for chunk in change.after:
            digest = range_digest(connection, table, codecs, chunk.after, chunk.last)
            if (digest.rows, digest.digests) != (chunk.rows, chunk.digests):
                digest = range_digest(connection, table, codecs, chunk.after, chunk.last, careful=True)
            if (digest.rows, digest.digests) != (chunk.rows, chunk.digests):
                different.append(str(chunk.chunk))
    if different:
        raise TransferError(
            f"{change.table}: chunk {different[0]} of the target is not equal to the source after it was applied",
            hint="a trigger of the target changes rows, or someone else writes to it; nothing was kept",
            details={"table": change.table, "chunks": different},
            code="NM0906",
        )
