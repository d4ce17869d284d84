"""The rows of the ledger: what is remembered of a chunk, and of a value kept in its original form."""

from __future__ import annotations

from dataclasses import dataclass

from nasmigrate.schema.codecs import SqliteValue


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
