"""Chunks in the making: batches go in, a ledger row and originals come out.

Used by the copy and by the verification of the source alike; where the bytes go is their matter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from nasmigrate.schema.codecs import Codec, Encoded, SqliteValue
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.digest import ChunkDigester, bucket_digest, key_of, originals_digest, row_digest
from nasmigrate.schema.ledger import ChunkRow, OriginalRow
from nasmigrate.schema.plan import PlanTable

DIGEST_BYTES = 32
ROWS_PER_BUCKET = 50_000
MAX_BITS = 10
_SPILL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """A batch in send form. `last_key` is the key of its last row, empty when the table has no range key."""

    columns: list[Encoded]
    rows: int
    size: int
    last_key: tuple[SqliteValue, ...]


def digest_of(originals: Sequence[OriginalRow]) -> bytes:
    """The digest over a chunk's originals."""
    return originals_digest(row.content for row in originals)


def originals_of(table: PlanTable, batch: EncodedBatch, number: int) -> Iterator[OriginalRow]:
    """The originals of a batch of a table with a range key, filed under a chunk's number."""
    for column, encoded in zip(table.columns, batch.columns, strict=True):
        for original in encoded.originals:
            yield OriginalRow(
                table=table.name,
                chunk=number,
                key=key_of(batch.columns, table.key_indices, original.row),
                ordinal=0,
                column=column.name,
                storage_class=original.storage_class,
                value=original.value,
            )


class RangeChunk:
    """One chunk of the key space; batches come in key order."""

    def __init__(self, table: PlanTable, codecs: Sequence[Codec], number: int) -> None:
        self._table = table
        self._number = number
        self._key = table.key_indices
        self._digester = ChunkDigester(codecs, self._key)
        self.originals: list[OriginalRow] = []
        self.size = 0
        self.last_key: tuple[SqliteValue, ...] = ()

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._digester.rows

    def add(self, batch: EncodedBatch) -> None:
        """Hash the batch and set its originals aside."""
        self._digester.update(batch.columns)
        self.size += batch.size
        self.last_key = batch.last_key
        self.originals.extend(originals_of(self._table, batch, self._number))

    def finish(self, after: tuple[SqliteValue, ...] | None, last: tuple[SqliteValue, ...] | None) -> ChunkRow:
        """The ledger row, with the bounds the chunk stands for."""
        digest = self._digester.finish()
        return ChunkRow(
            table=self._table.name,
            chunk=self._number,
            kind="range",
            after=after,
            last=last,
            rows=digest.rows,
            size=self.size,
            digests=digest.digests,
            originals=len(self.originals),
            originals_digest=digest_of(self.originals),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a chunk: whichever comes first ends it. Bytes are payload in send form."""

    chunk_rows: int = 50_000
    chunk_bytes: int = 16 * 1024 * 1024

    def full(self, chunk: RangeChunk, following: EncodedBatch) -> bool:
        """Whether the batch that follows belongs to the next chunk."""
        return chunk.rows > 0 and (
            chunk.rows + following.rows > self.chunk_rows or chunk.size + following.size > self.chunk_bytes
        )


def bucket_bits(rows: int) -> int:
    """How many leading bits of a row digest name its bucket, so that a bucket holds about 50,000 rows."""
    bits = 0
    while bits < MAX_BITS and rows >> bits > ROWS_PER_BUCKET:
        bits += 1
    return bits


def bucket_of(digest: bytes, bits: int) -> int:
    """The bucket of a row digest."""
    return ((digest[0] << 8) | digest[1]) >> (16 - bits)


class KeylessOriginals:
    """The originals of a table without a range key, named by row digest and ordinal.

    They are held in memory; they are the exception by nature.
    """

    def __init__(self, table: PlanTable, bits: int) -> None:
        self._table = table
        self._bits = bits
        self._seen: dict[bytes, int] = {}
        self.rows: list[OriginalRow] = []

    def add(self, batch: EncodedBatch, digests: Sequence[bytes]) -> None:
        """Set a batch's originals aside; `digests` are those of its rows, and batches come in the order of reading."""
        ordinals: dict[int, int] = {}
        for row in sorted({original.row for column in batch.columns for original in column.originals}):
            ordinals[row] = self._seen.get(digests[row], 0)
            self._seen[digests[row]] = ordinals[row] + 1
        for position, column in enumerate(batch.columns):
            for original in column.originals:
                self.rows.append(
                    OriginalRow(
                        table=self._table.name,
                        chunk=bucket_of(digests[original.row], self._bits),
                        key=digests[original.row],
                        ordinal=ordinals[original.row],
                        column=self._table.columns[position].name,
                        storage_class=original.storage_class,
                        value=original.value,
                    )
                )


class Buckets:
    """A table without a range key: row digests by bucket, beyond 16 MiB in temporary files."""

    def __init__(self, table: PlanTable, bits: int, directory: Path) -> None:
        self._table = table
        self._bits = bits
        self._parts: dict[int, bytearray] = {}
        self._held = 0
        self._size = 0
        self.rows = 0
        self._originals = KeylessOriginals(table, bits)
        self._spill = tempfile.TemporaryDirectory(prefix="buckets-", dir=directory)

    def __enter__(self) -> Buckets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.cleanup()

    def add(self, batch: EncodedBatch) -> list[bytes]:
        """Hash each row of the batch; returns the rows as binary COPY writes them."""
        rows = assemble_rows(batch.columns)
        digests = [row_digest(row) for row in rows]
        for digest in digests:
            self._parts.setdefault(bucket_of(digest, self._bits), bytearray()).extend(digest)
        self._held += DIGEST_BYTES * len(digests)
        if self._held >= _SPILL_BYTES:
            self._flush()
        self._originals.add(batch, digests)
        self._size += batch.size
        self.rows += batch.rows
        return rows

    def _flush(self) -> None:
        for bucket, part in self._parts.items():
            with self._path(bucket).open("ab") as file:
                file.write(part)
            part.clear()
        self._held = 0

    def _path(self, bucket: int) -> Path:
        return Path(self._spill.name) / str(bucket)

    def _digests(self) -> Iterator[tuple[int, list[bytes]]]:
        for bucket in sorted(self._parts) or [0]:
            path = self._path(bucket)
            raw = (path.read_bytes() if path.exists() else b"") + bytes(self._parts.get(bucket, b""))
            yield bucket, [raw[i : i + DIGEST_BYTES] for i in range(0, len(raw), DIGEST_BYTES)]

    def row_digests(self, bucket: int) -> list[bytes]:
        """All row digests of one bucket, ascending."""
        return sorted(next((digests for number, digests in self._digests() if number == bucket), []))

    def finish(self) -> tuple[list[ChunkRow], list[OriginalRow]]:
        """The ledger rows in bucket order (an empty table has one empty bucket), and all originals."""
        by_bucket: dict[int, list[OriginalRow]] = {}
        for original in self._originals.rows:
            by_bucket.setdefault(original.chunk, []).append(original)
        chunks = []
        for bucket, digests in self._digests():
            mine = by_bucket.get(bucket, [])
            chunks.append(
                ChunkRow(
                    table=self._table.name,
                    chunk=bucket,
                    kind="bucket",
                    after=(self._bits,),
                    last=None,
                    rows=len(digests),
                    # The payload is known for the whole table only; shares by rows add up to it.
                    size=self._size * len(digests) // max(1, self.rows),
                    digests=(bucket_digest(digests),),
                    originals=len(mine),
                    originals_digest=digest_of(mine),
                )
            )
        return chunks, self._originals.rows
