"""The source's side of a verification: the same bounds as the ledger, digests made anew from the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import apsw

from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk, bucket_bits
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.ledger import ChunkRow, bits_of
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.read import BATCH_ROWS, Bounds, KeyRange


def read_again(
    connection: apsw.Connection,
    plan: Plan,
    ledger: Mapping[str, list[ChunkRow]],
    workdir: Path,
    progress: Callable[[str, int], None] | None = None,
) -> dict[str, list[ChunkRow]]:
    """Digest every table of the plan by the bounds of the ledger.

    Args:
        connection: a snapshot.
        plan: tables and codecs.
        ledger: bounds; a table that is not in it is read as one chunk.
        workdir: where row digests may spill.
        progress: called with (table, rows read of it).

    Raises:
        TransferError: a value no longer fits its codec.
    """
    found = {}
    for table in plan.tables:
        rows = 0
        chunks: list[ChunkRow] = []
        for chunk in _table(connection, plan, table, ledger.get(table.name, []), workdir):
            chunks.append(chunk)
            rows += chunk.rows
            if progress is not None:
                progress(table.name, rows)
        found[table.name] = chunks
    return found


def _table(
    connection: apsw.Connection, plan: Plan, table: PlanTable, like: list[ChunkRow], workdir: Path
) -> Iterator[ChunkRow]:
    if table.mode == "multiset":
        yield from digest_buckets(connection, plan, table, like, workdir)
        return
    codecs = table.codecs()
    # The ledger's own numbers: originals in the target are filed under them.
    for number, after, last in [(chunk.chunk, chunk.after, chunk.last) for chunk in like] or [(0, None, None)]:
        yield digest_range(connection, plan, table, codecs, number=number, bounds=KeyRange(after=after, last=last))


def digest_range(
    connection: apsw.Connection, plan: Plan, table: PlanTable, codecs: list[Codec], *, number: int, bounds: KeyRange
) -> ChunkRow:
    """The ledger row of one part of the key space.

    Raises:
        TransferError: a value does not fit its codec.
    """
    making = RangeChunk(table, codecs, number)
    for batch in source_batches(connection, plan, table, codecs, bounds):
        making.add(batch)
    return making.finish(bounds.after, bounds.last)


def digest_buckets(
    connection: apsw.Connection, plan: Plan, table: PlanTable, like: Sequence[ChunkRow], workdir: Path
) -> list[ChunkRow]:
    """The ledger rows of a table without a range key, with as many bits per bucket as those of `like`.

    Raises:
        TransferError: a value does not fit its codec.
    """
    evidence = plan.evidence.get(table.name)
    bits = bits_of(like) if like else bucket_bits(evidence.rows if evidence else 0)
    with Buckets(table, bits, workdir) as buckets:
        for batch in source_batches(connection, plan, table, table.codecs()):
            buckets.add(batch)
        return buckets.finish()[0]


def source_batches(
    connection: apsw.Connection,
    plan: Plan,
    table: PlanTable,
    codecs: list[Codec],
    bounds: Bounds | None = None,
    *,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[EncodedBatch]:
    """The rows of a table, or of a part of its key space, encoded.

    Raises:
        TransferError: a value does not fit its codec.
    """
    evidence = plan.evidence.get(table.name)
    return encoded_batches(
        connection,
        table,
        codecs,
        encoding=plan.encoding,
        bounds=bounds,
        max_row_bytes=evidence.max_row_bytes if evidence else 0,
        batch_rows=batch_rows,
    )
