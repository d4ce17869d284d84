"""Rows in send form: taken apart, put together, named by key or digest, and kept in any number."""

from __future__ import annotations

import struct
import tempfile
import weakref
from collections.abc import Iterator, Sequence

import numpy as np

from nasmigrate.schema.chunks import EncodedBatch
from nasmigrate.schema.codecs import Codec, Encoded, Misfit, SqliteValue
from nasmigrate.schema.codecs.base import NULL_LENGTH
from nasmigrate.schema.copy_format import HEADER, NULL_FIELD, TRAILER, assemble, parse
from nasmigrate.schema.digest import row_digest
from nasmigrate.schema.ledger import Key
from nasmigrate.schema.plan import PlanTable

Fields = list[bytes | None]
"""A row taken apart: send bytes of each column in plan order, None for NULL."""

_IN_MEMORY = 32 * 1024 * 1024
_BLOCK = 1 << 20
_WORDS = (1, 2, 4, 8)


def row_of_fields(fields: Sequence[bytes | None]) -> bytes:
    """The row as binary COPY writes it."""
    parts = [struct.pack(">h", len(fields))]
    parts.extend(NULL_FIELD if raw is None else struct.pack(">i", len(raw)) + raw for raw in fields)
    return b"".join(parts)


def fields_of(batch: EncodedBatch) -> Iterator[Fields]:
    """The rows of an encoded batch."""
    return parse([HEADER + assemble(batch.columns) + TRAILER])


def encoded(codec: Codec, values: Sequence[SqliteValue]) -> list[bytes | None] | None:
    """Send bytes of values; None when one does not fit the codec."""
    try:
        return raws_of(codec.encode(values))
    except (Misfit, UnicodeEncodeError, OverflowError):
        return None


def raws_of(column: Encoded) -> list[bytes | None]:
    """Send bytes of each row of an encoded column, None for NULL."""
    if column.width is None:
        if not len(column.nulls):
            return list(column.values)
        return [
            None if length == NULL_LENGTH else raw
            for raw, length in zip(column.values, column.lengths.tolist(), strict=True)
        ]
    nulls = set(column.nulls.tolist())
    present = iter(range(0, len(column.data), column.width))
    return [
        None if row in nulls else column.data[(start := next(present)) : start + column.width]
        for row in range(column.rows)
    ]


def digest_of_fields(fields: Sequence[bytes | None]) -> bytes:
    """The row digest of a row taken apart."""
    return row_digest(row_of_fields(fields))


def key_of_fields(table: PlanTable, codecs: Sequence[Codec], fields: Sequence[bytes | None]) -> bytes:
    """Key bytes of a row taken apart (`schema.digest.key_of`); a NULL, which should not be, is told from ''."""
    parts = []
    for index in table.key_indices:
        field = fields[index]
        if field is None:
            parts.append(NULL_FIELD)
        else:
            parts.append(field if codecs[index].width is not None else struct.pack(">i", len(field)) + field)
    return b"".join(parts)


def keys_gone(table: PlanTable, codecs: Sequence[Codec], before: bytes, now: bytes) -> list[bytes]:
    """The keys that are among those before and not among those now; either are key bytes of rows, concatenated."""
    widths = [codecs[index].width for index in table.key_indices]
    width = sum(each for each in widths if each is not None)
    if None not in widths and width in _WORDS:
        # Whole numbers by their bytes, whatever they mean: they are only compared for being equal.
        there, here = (np.frombuffer(keys, dtype=f"u{width}") for keys in (before, now))
        gone = np.flatnonzero(np.isin(there, here, assume_unique=True, invert=True))
        return [before[place * width : (place + 1) * width] for place in gone.tolist()]
    left = set(_split_keys(widths, now))
    return [key for key in _split_keys(widths, before) if key not in left]


def _split_keys(widths: Sequence[int | None], keys: bytes) -> Iterator[bytes]:
    start = position = 0
    while start < len(keys):
        for width in widths:
            if width is None:
                (length,) = struct.unpack_from(">i", keys, position)
                position += 4 + length
            else:
                position += width
        yield keys[start:position]
        start = position


def key_of_bytes(table: PlanTable, codecs: Sequence[Codec], key: bytes) -> Key:
    """The key that key bytes stand for; of a table with a range key, whose codecs are exact."""
    values: list[SqliteValue] = []
    position = 0
    for index in table.key_indices:
        width = codecs[index].width
        if width is None:
            (width,) = struct.unpack_from(">i", key, position)
            position += 4
        values.append(codecs[index].decode_one(key[position : position + width]))
        position += width
    return tuple(values)


class Rows:
    """Rows as binary COPY writes them, counted; beyond 32 MiB they are on disk, in a file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as the rows
        weakref.finalize(self, self._file.close)
        self.count = 0

    def add(self, row: bytes) -> None:
        """Take in one row."""
        self._file.write(row)
        self.count += 1

    def blocks(self) -> Iterator[bytes]:
        """All rows as bytes for COPY, without header and trailer."""
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block
        self._file.seek(0, 2)

    def __iter__(self) -> Iterator[Fields]:
        """Each row taken apart."""
        return parse(self._stream())

    def _stream(self) -> Iterator[bytes]:
        yield HEADER
        yield from self.blocks()
        yield TRAILER

    def close(self) -> None:
        """Free memory and disk."""
        self._file.close()
