"""The native engine: binary COPY, chunk by chunk, with the chunk's digests in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

import psycopg
from psycopg import sql

from nasmigrate.core.errors import CopyFailed
from nasmigrate.core.pool import Pool
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import DISK_FULL, is_lost
from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.copy_format import HEADER, TRAILER
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.read import KeyRange, Selection, read
from nasmigrate.transfer.bad_row import Tries, find_bad_row
from nasmigrate.transfer.chunked import ChunkWriter, Sink, Stretch, take_through
from nasmigrate.transfer.engine import CopyJob, TableCopied


class NativeEngine:
    """Reads the snapshot exactly, encodes whole columns, writes binary COPY. Implements TransferEngine."""

    name = "native"
    told = ""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def copy(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        """See TransferEngine."""
        return take_through(self._pool, Copier, job, progress)


class Copier(ChunkWriter):
    """Writes each chunk with one COPY."""

    @contextmanager
    def writing(self, table: PlanTable, number: int, stretch: Stretch) -> Iterator[Sink]:
        """See ChunkWriter."""
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
            if is_lost(error) or error.sqlstate == DISK_FULL:
                raise
            raise self._refused(table, number, stretch, statement, error) from error

    def undo(self) -> None:
        """Take back what was written since the last commit."""
        self._target.rollback()

    def _refused(
        self, table: PlanTable, number: int, stretch: Stretch, statement: sql.Composed, error: psycopg.Error
    ) -> CopyFailed:
        """The error for a chunk that Postgres refused, with the row it is about."""
        self.undo()
        codecs = table.codecs()
        tries = Tries(
            connection=self._target,
            statement=statement,
            table=table,
            batches=lambda: self.batches(table, codecs, stretch.bounds),
            undo=self.undo,
        )
        bad = find_bad_row(tries, stretch.most)
        if bad is None:
            where, reason, column = f"chunk {number}", redact(error.diag.message_primary or str(error)), None
        else:
            where, reason, column = self._row(table, stretch.bounds, bad.place), redact(bad.reason), bad.column
        named = f"{table.name}.{column}" if column else table.name
        return CopyFailed(
            f"Postgres refused {named} at {where}: {reason.strip()}",
            hint="its chunk was not kept, and nothing was dropped; correct the row, or what the target asks of it",
            details={"sqlstate": error.sqlstate, "table": table.name, "column": column, "chunk": number, "row": where},
        )

    def _row(self, table: PlanTable, bounds: KeyRange, place: int) -> str:
        """A row's name: its key, or its place in a table without one."""
        if table.mode == "multiset" or not table.key:
            return f"row {place + 1:,} as the file has them"
        selection = Selection(
            table=table.name,
            columns=table.key,
            key=table.key,
            raw_text=frozenset(column.name for column in table.columns if column.raw_text) & frozenset(table.key),
            encoding=self._job.plan.encoding,
        )
        rows = chain.from_iterable(read(self._source, selection, bounds=bounds))
        key = next(islice(rows, place, None))
        return ", ".join(f"{name}={value!r}" for name, value in zip(table.key, key, strict=True))
