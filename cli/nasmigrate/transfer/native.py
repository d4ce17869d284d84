"""The native engine: binary COPY, chunk by chunk, with the chunk's digests in the same transaction.

Large copies are dealt to worker processes, each with its own reader and its own connection; a task is a part of a
table's key space, or a table that has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import apsw
import psycopg
from psycopg import sql

from nasmigrate.core.errors import CopyFailed
from nasmigrate.core.pool import Pool
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import connected, is_lost
from nasmigrate.postgres.control import begin_writing
from nasmigrate.postgres.digests import table_name
from nasmigrate.postgres.ledger import add_chunks, add_originals
from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk, bucket_bits
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble
from nasmigrate.schema.ledger import ChunkRow, Key, OriginalRow, gaps
from nasmigrate.schema.parts import SPREAD_ROWS, split_keys
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.transfer.engine import CopyJob, TableCopied


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A part of one table: rows with `after < key <= last`; its chunks are numbered first, first + step and so on."""

    table: str
    after: Key | None
    last: Key | None
    first: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """What a task came to; seconds are of this task alone."""

    rows: int
    size: int
    chunks: int
    originals: int
    seconds: float


class NativeEngine:
    """Reads the snapshot exactly, encodes whole columns, writes binary COPY. Implements TransferEngine."""

    name = "native"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def copy(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        """See TransferEngine."""
        tasks = [task for table in job.plan.tables for task in _tasks(job, table)]
        left = sum(evidence.rows for evidence in job.plan.evidence.values()) - sum(
            chunk.rows for chunks in job.done.values() for chunk in chunks
        )
        spread = left >= SPREAD_ROWS
        totals = {table.name: _already(job, table.name) for table in job.plan.tables}
        for index, done in self._pool.run(_open_copier, (job, spread), _Copier.run, tasks, spread=spread):
            table = tasks[index].table
            before = totals[table]
            totals[table] = TableCopied(
                table=table,
                rows=before.rows + done.rows,
                size=before.size + done.size,
                chunks=before.chunks + done.chunks,
                originals=before.originals + done.originals,
                seconds=before.seconds + done.seconds,
            )
            progress(table, totals[table].rows)
        return list(totals.values())


def _already(job: CopyJob, table: str) -> TableCopied:
    chunks = job.done.get(table, [])
    return TableCopied(
        table=table,
        rows=sum(chunk.rows for chunk in chunks),
        size=sum(chunk.size for chunk in chunks),
        chunks=len(chunks),
        originals=sum(chunk.originals for chunk in chunks),
        seconds=0.0,
    )


def _tasks(job: CopyJob, table: PlanTable) -> list[_Task]:
    """What is left to do of a table: the gaps of its ledger, large ones in parts."""
    done = job.done.get(table.name, [])
    if table.mode == "multiset":
        return [] if done else [_Task(table=table.name, after=None, last=None, first=0, step=1)]
    evidence = job.plan.evidence[table.name]
    parts: list[tuple[Key | None, Key | None]] = []
    for after, last in gaps(done):
        whole = after is None and last is None
        parts += split_keys(table, evidence) if whole else [(after, last)]
    base = max((chunk.chunk for chunk in done), default=-1) + 1
    return [
        _Task(table=table.name, after=after, last=last, first=base + number, step=len(parts))
        for number, (after, last) in enumerate(parts)
    ]


@contextmanager
def _open_copier(job: CopyJob, each_task: bool) -> Iterator[_Copier]:
    """A reader and a writer of this process; `each_task` commits at the end of every task."""
    source = open_snapshot(job.snapshot)
    try:
        with connected(job.conninfo, purpose="nasmigrate copy") as target:
            begin_writing(target, job.run_id)
            # A crash loses at most the last chunks, which a resume copies again: no need to wait for the disk.
            # The finish phase commits with waiting, and everything before it is on disk with that.
            target.execute("SET synchronous_commit = off")
            target.commit()
            copier = _Copier(job, source, target, each_task)
            yield copier
            target.commit()
    finally:
        source.close()


class _Copier:
    """Copies tasks on one source and one target connection."""

    def __init__(self, job: CopyJob, source: apsw.Connection, target: psycopg.Connection, each_task: bool) -> None:
        self._job = job
        self._source = source
        self._target = target
        # With one process, small tables share a transaction; a worker's task ends with a commit.
        self._each_task = each_task
        self._uncommitted = 0
        self._tables = {table.name: table for table in job.plan.tables}

    def run(self, task: _Task) -> _Done:
        """Copy one task and say what it came to."""
        started = time.perf_counter()
        table = self._tables[task.table]
        chunks = self._multiset(table) if table.mode == "multiset" else list(self._ranges(table, task))
        if self._each_task:
            self._commit()
        return _Done(
            rows=sum(chunk.rows for chunk in chunks),
            size=sum(chunk.size for chunk in chunks),
            chunks=len(chunks),
            originals=sum(chunk.originals for chunk in chunks),
            seconds=time.perf_counter() - started,
        )

    def _batches(self, table: PlanTable, codecs: list[Codec], bounds: KeyRange) -> Iterator[EncodedBatch]:
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

    def _ranges(self, table: PlanTable, task: _Task) -> Iterator[ChunkRow]:
        """Copy chunk after chunk; together they tile the task's part of the key space."""
        codecs = table.codecs()
        after, number = task.after, task.first
        batches = self._batches(table, codecs, KeyRange(after=after, last=task.last))
        pending = next(batches, None)
        while True:
            making = RangeChunk(table, codecs, number)
            with self._copying(table, number) as copy:
                while pending is not None and not self._job.limits.full(making, pending):
                    copy.write(assemble([pending.columns[place] for place in table.written]))
                    making.add(pending)
                    pending = next(batches, None)
            chunk = making.finish(after, task.last if pending is None else making.last_key)
            self._record([chunk], making.originals)
            yield chunk
            if pending is None:
                return
            after = chunk.last
            number += task.step

    # -- tables without one ----------------------------------------------------------------------------------

    def _multiset(self, table: PlanTable) -> list[ChunkRow]:
        """Copy the whole table in one transaction; its ledger rows are buckets of row digests."""
        codecs = table.codecs()
        bits = bucket_bits(self._job.plan.evidence[table.name].rows)
        with Buckets(table, bits, self._job.workdir) as buckets:
            with self._copying(table, 0) as copy:
                for batch in self._batches(table, codecs, KeyRange()):
                    rows = buckets.add(batch)
                    whole = len(table.written) == len(table.columns)
                    copy.write(b"".join(rows) if whole else assemble([batch.columns[p] for p in table.written]))
            chunks, originals = buckets.finish()
        self._record(chunks, originals)
        return chunks

    # -- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def _copying(self, table: PlanTable, number: int) -> Iterator[psycopg.Copy]:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            table_name(table),
            sql.SQL(", ").join(sql.Identifier(table.columns[place].target) for place in table.written),
        )
        try:
            with self._target.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(HEADER)
                yield copy
                copy.write(TRAILER)
        except psycopg.Error as error:
            if is_lost(error):
                raise
            raise CopyFailed(
                f"Postgres refused chunk {number} of {table.name}: {redact(str(error)).strip()}",
                hint="nothing of this chunk was kept; the chunks before it are in the ledger",
                details={
                    "sqlstate": error.sqlstate,
                    "table": table.name,
                    "column": error.diag.column_name,
                    "chunk": number,
                },
            ) from error

    def _record(self, chunks: list[ChunkRow], originals: list[OriginalRow]) -> None:
        """Ledger and originals into the same transaction; small tables share one."""
        add_chunks(self._target, self._job.run_id, chunks)
        if originals:
            add_originals(self._target, originals)
        self._uncommitted += sum(chunk.size for chunk in chunks)
        if self._uncommitted >= self._job.limits.chunk_bytes // 4:
            self._commit()

    def _commit(self) -> None:
        self._target.commit()
        self._uncommitted = 0
