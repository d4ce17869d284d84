"""What would make Postgres equal to SQLite: the chunks that changed, read from both sides and compared row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, groupby
from pathlib import Path

import apsw
import psycopg

from nasmigrate.postgres.copy_out import read_raw_rows
from nasmigrate.postgres.digests import bucket_rows, where_range
from nasmigrate.schema.changes import TableChanges
from nasmigrate.schema.chunks import Buckets, Limits, RangeChunk, bucket_of
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.digest import row_digest
from nasmigrate.schema.ledger import ChunkRow, bits_of, is_pending
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import row_of_fields
from nasmigrate.sqlite.read import BATCH_ROWS, KeyRange
from nasmigrate.verify.diff import RowDifference, diff_rows
from nasmigrate.verify.source_side import source_batches


class FromSource:
    """Reads the source and the target on one connection each.

    Args:
        source: a snapshot, or the live file while nobody may write to it.
        target: in a transaction; busy while a table is compared.
        plan: tables and codecs.
        limits: beyond which a chunk is split.
        workdir: where row digests may spill.
    """

    def __init__(
        self, source: apsw.Connection, target: psycopg.Connection, plan: Plan, limits: Limits, workdir: Path
    ) -> None:
        self._source = source
        self._target = target
        self._plan = plan
        self._limits = limits
        self._workdir = workdir

    def table(self, name: str, changed: Sequence[ChunkRow], ledger: Sequence[ChunkRow]) -> TableChanges:
        """What makes one table of the target equal to the source, within the chunks that changed.

        Args:
            name: of the table.
            changed: chunks to compare.
            ledger: all chunks of the table; new ones get numbers that none of them has.

        Raises:
            TransferError: a value does not fit its codec.
        """
        table = self._plan.table(name)
        if table.mode == "multiset":
            return self._buckets(table, changed)
        changes = TableChanges(table=name, before=tuple(changed))
        numbers = count(max((chunk.chunk for chunk in ledger), default=-1) + 1)
        codecs = table.codecs()
        after: list[ChunkRow] = []
        for chunk in changed:
            after.extend(self._range(table, codecs, chunk, numbers, changes))
        changes.after = tuple(after)
        return changes

    # -- tables with a range key -----------------------------------------------------------------------------

    def _range(
        self, table: PlanTable, codecs: list[Codec], chunk: ChunkRow, numbers: Iterator[int], changes: TableChanges
    ) -> Iterator[ChunkRow]:
        """Compare one chunk, in pieces where it outgrew its size; the pieces tile its part of the key space."""
        batches = source_batches(
            self._source,
            self._plan,
            table,
            codecs,
            KeyRange(after=chunk.after, last=chunk.last),
            batch_rows=min(BATCH_ROWS, self._limits.chunk_rows),
        )
        pending = next(batches, None)
        number, after = chunk.chunk, chunk.after
        while True:
            making = RangeChunk(table, codecs, number)
            wanted: list[bytes] = []
            while pending is not None and not self._limits.full(making, pending):
                making.add(pending)
                wanted += assemble_rows(pending.columns)
                pending = next(batches, None)
            last = chunk.last if pending is None else making.last_key
            present = read_raw_rows(self._target, table, where=where_range(table, codecs, after, last))
            _add(changes, diff_rows(table, codecs, present, wanted))
            changes.originals += making.originals
            yield making.finish(after, last)
            if pending is None:
                return
            number, after = next(numbers), last

    # -- tables without one ----------------------------------------------------------------------------------

    def _buckets(self, table: PlanTable, changed: Sequence[ChunkRow]) -> TableChanges:
        """Compare buckets by their row digests; only the rows that differ are read whole, in a second reading."""
        codecs = table.codecs()
        bits = bits_of(changed)
        # Where the ledger does not know, Postgres may have rows in buckets that it does not even name.
        unknown = any(map(is_pending, changed))
        numbers = list(range(1 << bits)) if unknown else sorted(chunk.chunk for chunk in changed)
        changes = TableChanges(table=table.name, before=tuple(changed))
        missing: Counter[bytes] = Counter()
        with Buckets(table, bits, self._workdir) as buckets:
            for batch in source_batches(self._source, self._plan, table, codecs):
                buckets.add(batch)
            theirs = groupby(
                bucket_rows(self._target, table, codecs, bits, numbers), lambda digest: bucket_of(digest, bits)
            )
            present = {bucket: Counter(digests) for bucket, digests in theirs}
            for number in numbers:
                ours = Counter(buckets.row_digests(number))
                missing += ours - present.get(number, Counter())
                for digest in (present.get(number, Counter()) - ours).elements():
                    changes.deleted.add(row_of_fields([digest]))
            chunks, originals = buckets.finish()
        self._add_missing(table, codecs, missing, changes)
        changes.after = tuple(chunk for chunk in chunks if chunk.chunk in set(numbers))
        changes.originals = [original for original in originals if original.chunk in set(numbers)]
        return changes

    def _add_missing(
        self, table: PlanTable, codecs: list[Codec], missing: Counter[bytes], changes: TableChanges
    ) -> None:
        left = missing.total()
        for batch in source_batches(self._source, self._plan, table, codecs):
            if not left:
                return
            for row in assemble_rows(batch.columns):
                digest = row_digest(row)
                if missing.get(digest):
                    missing[digest] -= 1
                    left -= 1
                    changes.inserted.add(row)


def _add(changes: TableChanges, found: RowDifference) -> None:
    for fields in found.inserted:
        changes.inserted.add(row_of_fields(fields))
    for _, fields in found.updated:
        changes.updated.add(row_of_fields(fields))
    for fields in found.deleted:
        changes.deleted.add(row_of_fields(fields))
