"""The native engine: binary COPY, chunk by chunk, with the chunk's digests in the same transaction."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw
import psycopg
from psycopg import sql

from nasmigrate.core.errors import CopyFailed
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import add_chunks, add_originals
from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk, bucket_bits
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble
from nasmigrate.schema.ledger import ChunkRow, OriginalRow
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.transfer.engine import CopyJob, TableCopied


class NativeEngine:
    """Reads the snapshot exactly, encodes whole columns, writes binary COPY. Implements TransferEngine."""

    name = "native"

    def copy(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        """See TransferEngine."""
        source = open_snapshot(job.snapshot)
        try:
            with connected(job.conninfo, purpose="nasmigrate copy") as target, _few_collections():
                # A crash loses at most the last chunks, which a resume copies again: no need to wait for disk.
                target.execute("SET synchronous_commit = off")
                target.commit()
                run = _Run(job, source, target, progress)
                copied = [run.table(table) for table in job.plan.tables]
                # This commit is waited for: everything before it is on disk with it.
                target.execute("SET synchronous_commit = on")
                target.execute("SELECT pg_catalog.txid_current()")
                target.commit()
                return copied
        finally:
            source.close()


@contextmanager
def _few_collections() -> Iterator[None]:
    """Batches make many short-lived tuples and no cycles; the collector's frequent young passes only cost."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    """One pass over all tables, on one source and one target connection."""

    def __init__(
        self,
        job: CopyJob,
        source: apsw.Connection,
        target: psycopg.Connection,
        progress: Callable[[str, int], None],
    ) -> None:
        self._job = job
        self._source = source
        self._target = target
        self._progress = progress
        self._uncommitted = 0

    def table(self, table: PlanTable) -> TableCopied:
        """Copy one table, or what is left of it."""
        started = time.perf_counter()
        done = self._job.done.get(table.name, [])
        if table.mode == "multiset":
            chunks = done or self._multiset(table)
        else:
            chunks = [*done]
            if not done or done[-1].last is not None:
                for chunk in self._ranges(table, done):
                    chunks.append(chunk)
                    self._progress(table.name, sum(each.rows for each in chunks))
        rows = sum(chunk.rows for chunk in chunks)
        self._progress(table.name, rows)
        return TableCopied(
            table=table.name,
            rows=rows,
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

    def _ranges(self, table: PlanTable, done: list[ChunkRow]) -> Iterator[ChunkRow]:
        """Copy chunk after chunk; the first is open below, the last above."""
        codecs = table.codecs()
        after = done[-1].last if done else None
        batches = self._batches(table, codecs, KeyRange(after=after))
        pending = next(batches, None)
        number = len(done)
        while True:
            making = RangeChunk(table, codecs, number)
            with self._copying(table, number) as copy:
                while pending is not None and not self._full(making, pending):
                    copy.write(assemble(pending.columns))
                    making.add(pending)
                    pending = next(batches, None)
            last = pending is None
            chunk = making.finish(after, None if last else making.last_key)
            self._record([chunk], making.originals)
            yield chunk
            if last:
                return
            after = chunk.last
            number += 1

    def _full(self, making: RangeChunk, following: EncodedBatch) -> bool:
        """Whether the batch that follows belongs to the next chunk."""
        limits = self._job.limits
        return making.rows > 0 and (
            making.rows + following.rows > limits.chunk_rows or making.size + following.size > limits.chunk_bytes
        )

    # -- tables without one ----------------------------------------------------------------------------------

    def _multiset(self, table: PlanTable) -> list[ChunkRow]:
        """Copy the whole table in one transaction; its ledger rows are buckets of row digests."""
        codecs = table.codecs()
        bits = bucket_bits(self._job.plan.evidence[table.name].rows)
        with Buckets(table, bits, self._job.workdir) as buckets:
            with self._copying(table, 0) as copy:
                for batch in self._batches(table, codecs, KeyRange()):
                    copy.write(b"".join(buckets.add(batch)))
                    self._progress(table.name, buckets.rows)
            chunks, originals = buckets.finish()
        self._record(chunks, originals)
        return chunks

    # -- writing ---------------------------------------------------------------------------------------------

    @contextmanager
    def _copying(self, table: PlanTable, number: int) -> Iterator[psycopg.Copy]:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            table_name(table), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        )
        try:
            with self._target.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(HEADER)
                yield copy
                copy.write(TRAILER)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
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
            self._target.commit()
            self._uncommitted = 0
