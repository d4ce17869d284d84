"""The rows of the ledger: what is remembered of a chunk, and of a value kept in its original form."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nasmigrate.schema.codecs import SqliteValue

Key = tuple[SqliteValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """One chunk. Bounds are exclusive below, inclusive above; None = open. `size` is payload in bytes.

    For kind `bucket`, `chunk` is the bucket's number, `after` holds the number of bits that name a bucket, and
    `digests` has one entry, over the bucket's row digests.
    """

    table: str
    chunk: int
    kind: str
    after: tuple[SqliteValue, ...] | None
    last: tuple[SqliteValue, ...] | None
    rows: int
    size: int
    digests: tuple[bytes, ...]
    originals: int
    originals_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRow:
    """One stored original. `key` are key bytes, or the row digest in a table without a range key.

    `ordinal` is 0 in a table with a range key; else the row is the ordinal-th with that digest that has originals.
    """

    table: str
    chunk: int
    key: bytes
    ordinal: int
    column: str
    storage_class: str
    value: bytes

    @property
    def content(self) -> tuple[bytes, int, str, str, bytes]:
        """What the digest over originals covers."""
        return self.key, self.ordinal, self.column, self.storage_class, self.value


def _position(chunk: ChunkRow) -> tuple[bool, Any]:
    """Sorts chunks of one kind: the one that is open below first, then by lower bound; buckets by number.

    Keys of a range are of one storage class per column, and Python orders str by code point, as SQLite's BINARY
    orders UTF-8.
    """
    if chunk.kind == "bucket":
        return True, chunk.chunk
    return chunk.after is not None, chunk.after or ()


def in_key_order(chunks: Iterable[ChunkRow]) -> list[ChunkRow]:
    """The chunks of a table in the order of their keys; their numbers say only when they were begun."""
    return sorted(chunks, key=_position)


def bits_of(chunks: Sequence[ChunkRow]) -> int:
    """How many bits name a bucket: recorded by the ledger in the lower bound of each bucket; at least one is given."""
    after = chunks[0].after
    assert after is not None  # noqa: S101 - written for every bucket
    bits = after[0]
    assert isinstance(bits, int)  # noqa: S101 - as above
    return bits


def same_content(left: ChunkRow, right: ChunkRow) -> bool:
    """Whether two readings of a chunk saw the same rows and originals; of a pending one nobody knows."""
    return (
        not is_pending(left)
        and not is_pending(right)
        and left.rows == right.rows
        and left.digests == right.digests
        and left.originals_digest == right.originals_digest
    )


def pending(chunk: ChunkRow, rows: int) -> ChunkRow:
    """A chunk of which some rows changed, and whose digests were not made anew: it differs from any reading."""
    return replace(chunk, rows=rows, digests=(), originals_digest=b"")


def is_pending(chunk: ChunkRow) -> bool:
    """Whether the ledger does not know what the chunk holds."""
    return not chunk.digests


class ChunksByKey:
    """Finds the chunk of a key among the chunks of one table, which tile its key space."""

    def __init__(self, chunks: Iterable[ChunkRow]) -> None:
        self._chunks = in_key_order(chunks)
        self._bounds: list[Any] = [chunk.last for chunk in self._chunks[:-1]]

    def __getitem__(self, key: Key) -> ChunkRow:
        return self._chunks[bisect_left(self._bounds, key)]


def gaps(chunks: Iterable[ChunkRow]) -> list[tuple[Key | None, Key | None]]:
    """The parts of the key space, (after, last], that no chunk covers yet; all of it when there is none."""
    found: list[tuple[Key | None, Key | None]] = []
    reached: Key | None = None
    open_above = True
    for chunk in in_key_order(chunks):
        if chunk.after != reached:
            found.append((reached, chunk.after))
        reached = chunk.last
        open_above = chunk.last is not None
    if open_above:
        found.append((reached, None))
    return found
