"""What differs between two sides of a table, as rows to be deleted, updated and inserted: pure facts, no direction.

Rows are in send form, as binary COPY writes them, so that they cost little, go to Postgres as they are, and go to
SQLite through the codecs' inverses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nasmigrate.schema.ledger import ChunkRow, OriginalRow
from nasmigrate.schema.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of one table that a set of changes inserts, updates and deletes."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.inserted + self.updated + self.deleted


@dataclass(slots=True, kw_only=True)
class TableChanges:
    """What makes one side of a table equal to the other.

    In a table with a range key, `deleted` and `updated` and `inserted` hold whole rows: as they are now on the side to
    be changed, and as they shall be; an updated row keeps its key. In a table without one, `deleted` holds a row of
    one field for each row to be deleted, its row digest, and nothing is updated: n equal rows go, n others come.

    `before` are the ledger's chunks that the changes touch, `after` those that replace them (more of them where one
    outgrew its size), and `originals` all originals of `after`. With `partial`, `after` are chunks whose digests are
    not known yet (`schema.ledger.pending`), `originals` are those that came, and `originals_gone` those that went.
    """

    table: str
    deleted: Rows = field(default_factory=Rows)
    updated: Rows = field(default_factory=Rows)
    inserted: Rows = field(default_factory=Rows)
    before: tuple[ChunkRow, ...] = ()
    after: tuple[ChunkRow, ...] = ()
    originals: list[OriginalRow] = field(default_factory=list)
    partial: bool = False
    originals_gone: list[OriginalRow] = field(default_factory=list)

    @property
    def counts(self) -> Counts:
        """How many rows."""
        return Counts(inserted=self.inserted.count, updated=self.updated.count, deleted=self.deleted.count)

    def close(self) -> None:
        """Free what the rows hold."""
        for rows in (self.deleted, self.updated, self.inserted):
            rows.close()
