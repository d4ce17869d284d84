"""The source's side of a verification: the same bounds as the ledger, digests made anew from the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import apsw

from nasmigrate.schema.chunks import Buckets, RangeChunk, bucket_bits
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.read import KeyRange


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
) -> list[ChunkRow]:
    codecs = table.codecs()
    evidence = plan.evidence.get(table.name)
    max_row_bytes = evidence.max_row_bytes if evidence else 0
    if table.mode == "multiset":
        bits = like[0].after[0] if like and like[0].after else bucket_bits(evidence.rows if evidence else 0)
        assert isinstance(bits, int)  # noqa: S101 - the ledger holds a number there
        with Buckets(table, bits, workdir) as buckets:
            for batch in encoded_batches(
                connection, table, codecs, encoding=plan.encoding, max_row_bytes=max_row_bytes
            ):
                buckets.add(batch)
            return buckets.finish()[0]
    # The ledger's own numbers: originals in the target are filed under them.
    parts = [(chunk.chunk, chunk.after, chunk.last) for chunk in like] or [(0, None, None)]
    chunks = []
    for number, after, last in parts:
        making = RangeChunk(table, codecs, number)
        for batch in encoded_batches(
            connection,
            table,
            codecs,
            encoding=plan.encoding,
            bounds=KeyRange(after=after, last=last),
            max_row_bytes=max_row_bytes,
        ):
            making.add(batch)
        chunks.append(making.finish(after, last))
    return chunks
