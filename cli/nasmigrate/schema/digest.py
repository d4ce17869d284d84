"""Digests of a chunk: what is hashed, defined once for every implementation.

The canonical form of a value is the bytes of its Postgres binary send function in the target type. For a chunk
with rows in key order, the digest of a column is

    sha256( D || L || N || int8(values) || int8(nulls) )
    D = sha256(send bytes of all non-NULL values, concatenated)
    L = sha256(their lengths as int4, concatenated), left out for fixed-width types
    N = sha256(key bytes of the rows that are NULL, concatenated)

key bytes = for each key column its send bytes, preceded by an int4 length when the type varies in width. Lengths
and counts make the form injective without separators. A table without a usable key is hashed by row instead:
sha256 of the row as binary COPY writes it; a bucket's digest is sha256 over its row digests in ascending order.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nasmigrate.schema.codecs import Codec, Encoded

_INT8 = struct.Struct(">q").pack


class ColumnDigester:
    """Collects one column of one chunk, batch by batch."""

    def __init__(self, codec: Codec) -> None:
        self._data = hashlib.sha256()
        self._lengths = hashlib.sha256() if codec.width is None else None
        self._null_keys = hashlib.sha256()
        self._values = 0
        self._nulls = 0

    def update(self, column: Encoded, batch: Sequence[Encoded], key: Sequence[int]) -> None:
        """Add a batch; `key` are the indices of the key columns within `batch`."""
        nulls = len(column.nulls)
        if self._lengths is None:
            self._data.update(column.data)
        else:
            self._data.update(b"".join(column.values))
            self._lengths.update((column.lengths[column.lengths >= 0] if nulls else column.lengths).tobytes())
        if nulls:
            self._null_keys.update(keys_of(batch, key, column.nulls.tolist()))
        self._nulls += nulls
        self._values += column.rows - nulls

    def digest(self) -> bytes:
        """32 bytes."""
        lengths = self._lengths.digest() if self._lengths is not None else b""
        return hashlib.sha256(
            self._data.digest() + lengths + self._null_keys.digest() + _INT8(self._values) + _INT8(self._nulls)
        ).digest()


def key_of(batch: Sequence[Encoded], key: Sequence[int], row: int) -> bytes:
    """Key bytes of one row of a batch. Key columns hold no NULL."""
    parts = []
    for index in key:
        column = batch[index]
        if column.width is not None:
            parts.append(column.data[row * column.width : (row + 1) * column.width])
        else:
            parts.append(struct.pack(">i", len(column.values[row])) + column.values[row])
    return b"".join(parts)


def keys_of(batch: Sequence[Encoded], key: Sequence[int], rows: Sequence[int]) -> bytes:
    """Key bytes of several rows, concatenated."""
    first = batch[key[0]]
    if len(key) == 1 and first.width is not None:
        return np.frombuffer(first.data, dtype=f"V{first.width}")[list(rows)].tobytes()
    return b"".join(key_of(batch, key, row) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkDigest:
    """What one side says of a chunk: rows, and one digest per column (or a single one for a bucket)."""

    rows: int
    digests: tuple[bytes, ...]


class ChunkDigester:
    """Collects all columns of one chunk."""

    def __init__(self, codecs: Sequence[Codec], key: Sequence[int]) -> None:
        self._columns = [ColumnDigester(codec) for codec in codecs]
        self._key = tuple(key)
        self.rows = 0

    def update(self, batch: Sequence[Encoded]) -> None:
        """Add a batch; batches come in key order."""
        for digester, column in zip(self._columns, batch, strict=True):
            digester.update(column, batch, self._key)
        self.rows += batch[0].rows

    def finish(self) -> ChunkDigest:
        """The chunk's digests."""
        return ChunkDigest(rows=self.rows, digests=tuple(column.digest() for column in self._columns))


def row_digest(row: bytes) -> bytes:
    """sha256 of a row as binary COPY writes it, field count included."""
    return hashlib.sha256(row).digest()


def bucket_digest(digests: Iterable[bytes]) -> bytes:
    """sha256 over row digests in ascending order; equal multisets give equal digests."""
    return hashlib.sha256(b"".join(sorted(digests))).digest()


def originals_digest(originals: Iterable[tuple[bytes, int, str, str, bytes]]) -> bytes:
    """Digest over a chunk's originals: (key bytes, ordinal, column, storage class, bytes), in any order."""
    whole = hashlib.sha256()
    for key, ordinal, column, storage, value in sorted(originals):
        for part in (key, column.encode(), storage.encode(), value):
            whole.update(_INT8(len(part)) + part)
        whole.update(_INT8(ordinal))
    return whole.digest()


def table_digest(name: str, columns: Iterable[tuple[str, str]], chunks: Iterable[ChunkDigest]) -> bytes:
    """Digest over a table's chunks, tagged with its name, column names and types."""
    whole = hashlib.sha256()
    for text in (name, *(part for column in columns for part in column)):
        raw = text.encode()
        whole.update(_INT8(len(raw)) + raw)
    for chunk in chunks:
        whole.update(_INT8(chunk.rows) + b"".join(chunk.digests))
    return whole.digest()


def fingerprint(tables: Iterable[bytes]) -> str:
    """Hexadecimal digest over table digests in the order of the plan."""
    return hashlib.sha256(b"".join(tables)).hexdigest()
