"""Chunk after chunk through a table: what every engine does that writes the ledger.

Large tables are dealt to worker processes, each with its own reader and its own connection; a task is a part of a
table's key space, or a table that has none.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import apsw
import psycopg

from nasmigrate.core.pool import Pool
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import begin_writing
from nasmigrate.postgres.ledger import add_chunks, add_originals
from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk, bucket_bits
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import assemble
from nasmigrate.schema.ledger import ChunkRow, Key, OriginalRow, gaps
from nasmigrate.schema.parts import SPREAD_ROWS, split_keys
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.transfer.engine import CopyJob, TableCopied


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A part of one table: rows with `after < key <= last`; its chunks are numbered first, first + step and so on."""

    table: str
    after: Key | None
    last: Key | None
    first: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task came to; seconds are of this task alone."""

    rows: int
    size: int
    chunks: int
    originals: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What a refused chunk takes with it: the rows of its table since the last commit, the chunk's own the last.

    `most` is how many they are at most, of those within the bounds.
    """

    bounds: KeyRange
    most: int


class Sink(Protocol):
    """Where the rows of a chunk go, in the form of binary COPY."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""


class Nowhere:
    """Takes rows that are there already."""

    def write(self, data: bytes) -> None:
        """Let them go."""


class ChunkWriter(ABC):
    """Takes tasks through one source and one target connection; a subclass says where the rows go.

    `undoes_transaction` says that a refused chunk takes those before it in its transaction with it.
    """

    undoes_transaction = True

    def __init__(self, job: CopyJob, source: apsw.Connection, target: psycopg.Connection, each_task: bool) -> None:
        self._job = job
        self._source = source
        self._target = target
        # With one process, small tables share a transaction; a worker's task ends with a commit.
        self._each_task = each_task
        self._uncommitted = 0
        self._guarded = False
        self._tables = {table.name: table for table in job.plan.tables}

    def run(self, task: Task) -> Done:
        """Take one task to its end and say what it came to."""
        started = time.perf_counter()
        table = self._tables[task.table]
        chunks = self._multiset(table) if table.mode == "multiset" else list(self._ranges(table, task))
        if self._each_task:
            self.commit()
        return Done(
            rows=sum(chunk.rows for chunk in chunks),
            size=sum(chunk.size for chunk in chunks),
            chunks=len(chunks),
            originals=sum(chunk.originals for chunk in chunks),
            seconds=time.perf_counter() - started,
        )

    @abstractmethod
    def writing(self, table: PlanTable, number: int, stretch: Stretch) -> AbstractContextManager[Sink]:
        """Where the rows of one chunk go.

        Raises:
            CopyFailed: Postgres refused the chunk.
        """

    def batches(self, table: PlanTable, codecs: list[Codec], bounds: KeyRange) -> Iterator[EncodedBatch]:
        """A part of a table, read and encoded."""
        return encoded_batches(
            self._source,
            table,
            codecs,
            encoding=self._job.plan.encoding,
            bounds=bounds,
            max_row_bytes=self._job.plan.evidence[table.name].max_row_bytes,
            batch_rows=self._job.limits.chunk_rows,
        )

    # -- tables with a range key -----------------------------------------------------------------------------

    def _ranges(self, table: PlanTable, task: Task) -> Iterator[ChunkRow]:
        """Chunk after chunk; together they tile the task's part of the key space."""
        codecs = table.codecs()
        after, number = task.after, task.first
        batches = self.batches(table, codecs, KeyRange(after=after, last=task.last))
        pending = next(batches, None)
        since, before = after, 0
        while True:
            making = RangeChunk(table, codecs, number)
            self._guard()
            most = before + self._job.limits.chunk_rows
            stretch = Stretch(bounds=KeyRange(after=since, last=task.last), most=most)
            with self.writing(table, number, stretch) as sink:
                while pending is not None and not self._job.limits.full(making, pending):
                    sink.write(assemble([pending.columns[place] for place in table.written]))
                    making.add(pending)
                    pending = next(batches, None)
            chunk = making.finish(after, task.last if pending is None else making.last_key)
            self._record([chunk], making.originals)
            yield chunk
            if pending is None:
                return
            after = chunk.last
            number += task.step
            alone = self._uncommitted == 0 or not self.undoes_transaction
            since, before = (after, 0) if alone else (since, before + chunk.rows)

    # -- tables without one ----------------------------------------------------------------------------------

    def _multiset(self, table: PlanTable) -> list[ChunkRow]:
        """The whole table in one transaction; its ledger rows are buckets of row digests."""
        codecs = table.codecs()
        bits = bucket_bits(self._job.plan.evidence[table.name].rows)
        with Buckets(table, bits, self._job.workdir) as buckets:
            self._guard()
            stretch = Stretch(bounds=KeyRange(), most=self._job.plan.evidence[table.name].rows)
            with self.writing(table, 0, stretch) as sink:
                for batch in self.batches(table, codecs, KeyRange()):
                    rows = buckets.add(batch)
                    whole = len(table.written) == len(table.columns)
                    sink.write(b"".join(rows) if whole else assemble([batch.columns[p] for p in table.written]))
            chunks, originals = buckets.finish()
        self._record(chunks, originals)
        return chunks

    # -- the ledger ------------------------------------------------------------------------------------------

    def _record(self, chunks: list[ChunkRow], originals: list[OriginalRow]) -> None:
        """Ledger and originals into the same transaction; small tables share one."""
        add_chunks(self._target, self._job.run_id, chunks)
        if originals:
            add_originals(self._target, originals)
        self._uncommitted += sum(chunk.size for chunk in chunks)
        if self._uncommitted >= self._job.limits.chunk_bytes // 4:
            self.commit()

    def _guard(self) -> None:
        """The first statement of a transaction says whether this run may still write."""
        if not self._guarded:
            self._job.guard(self._target)
            self._guarded = True

    def commit(self) -> None:
        """End the transaction of the chunks so far."""
        self._target.commit()
        self._uncommitted = 0
        self._guarded = False


Writer = TypeVar("Writer", bound=ChunkWriter)


@contextmanager
def open_writer(kind: type[Writer], job: CopyJob, each_task: bool) -> Iterator[Writer]:
    """A reader and a writer of this process; `each_task` commits at the end of every task."""
    source = open_snapshot(job.snapshot)
    try:
        with connected(job.conninfo, purpose="nasmigrate copy") as target:
            begin_writing(target, job.run_id)
            # A crash loses at most the last chunks, which a resume copies again: no need to wait for the disk.
            # The finish phase commits with waiting, and everything before it is on disk with that.
            target.execute("SET synchronous_commit = off")
            target.commit()
            writer = kind(job, source, target, each_task)
            yield writer
            target.commit()
    finally:
        source.close()


def take_through(
    pool: Pool, kind: type[ChunkWriter], job: CopyJob, progress: Callable[[str, int], None]
) -> list[TableCopied]:
    """Take all that the ledger does not show as done through writers of one kind.

    Args:
        pool: the processes to use.
        kind: which writer; must be importable, since other processes make their own.
        job: what and where.
        progress: called with (table, rows of that table so far).
    """
    tasks = [task for table in job.plan.tables for task in tasks_of(job, table)]
    totals = {table.name: already_taken(job, table.name) for table in job.plan.tables}
    left = sum(job.plan.evidence[name].rows - already.rows for name, already in totals.items())
    spread = left >= SPREAD_ROWS
    for index, done in pool.run(open_writer, (kind, job, spread), _run, tasks, spread=spread):
        table = tasks[index].table
        totals[table] = with_done(totals[table], done)
        progress(table, totals[table].rows)
    return list(totals.values())


def with_done(before: TableCopied, done: Done) -> TableCopied:
    """What a table came to, one more task of it included."""
    return TableCopied(
        table=before.table,
        rows=before.rows + done.rows,
        size=before.size + done.size,
        chunks=before.chunks + done.chunks,
        originals=before.originals + done.originals,
        seconds=before.seconds + done.seconds,
    )


def _run(writer: ChunkWriter, task: Task) -> Done:
    return writer.run(task)


def already_taken(job: CopyJob, table: str) -> TableCopied:
    """What the ledger shows of a table."""
    chunks = job.done.get(table, [])
    return TableCopied(
        table=table,
        rows=sum(chunk.rows for chunk in chunks),
        size=sum(chunk.size for chunk in chunks),
        chunks=len(chunks),
        originals=sum(chunk.originals for chunk in chunks),
        seconds=0.0,
    )


def tasks_of(job: CopyJob, table: PlanTable) -> list[Task]:
    """What is left to do of a table: the gaps of its ledger, large ones in parts."""
    done = job.done.get(table.name, [])
    if table.mode == "multiset":
        return [] if done else [Task(table=table.name, after=None, last=None, first=0, step=1)]
    evidence = job.plan.evidence[table.name]
    parts: list[tuple[Key | None, Key | None]] = []
    for after, last in gaps(done):
        whole = after is None and last is None
        parts += split_keys(table, evidence) if whole else [(after, last)]
    base = max((chunk.chunk for chunk in done), default=-1) + 1
    return [
        Task(table=table.name, after=after, last=last, first=base + number, step=len(parts))
        for number, (after, last) in enumerate(parts)
    ]
