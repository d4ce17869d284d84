"""The native engine: binary COPY, chunk by chunk, with the chunk's digests in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from nasmigrate.core.errors import CopyFailed
from nasmigrate.core.pool import Pool
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import is_lost
from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.copy_format import HEADER, TRAILER
from nasmigrate.schema.plan import PlanTable
from nasmigrate.transfer.chunked import ChunkWriter, Sink, take_through
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
    def writing(self, table: PlanTable, number: int) -> Iterator[Sink]:
        """See ChunkWriter."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            table_name(table),
            sql.SQL(", ").join(sql.Identifier(table.columns[place].target) for place in table.written),
        )
        if not self._guarded:
            self._job.guard(self._target)
            self._guarded = True
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
