"""What goes home to SQLite: rows as SQLite shall store them, and the values that can't."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nasmigrate.schema.changes import Counts
from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.ledger import Key

_IN_MEMORY = 32 * 1024 * 1024

Item = TypeVar("Item")
Values = tuple[SqliteValue, ...]


@dataclass(frozen=True, slots=True)
class Update:
    """New values for some columns of the row at `place`; `columns` are positions in the table of the changes."""

    place: Key
    columns: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A value in Postgres that would not come back as itself: NaN, a finer moment. `value` is masked."""

    table: str
    column: str
    key: str
    value: str


class Spool(Generic[Item]):
    """Any number of items in the order they came; beyond 32 MiB they are on disk, in a file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as the items
        weakref.finalize(self, self._file.close)
        self.count = 0

    def add(self, item: Item) -> None:
        """Take in one."""
        # Nobody else can write to this file, so what is read back is what was written.
        pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self.count += 1

    def __iter__(self) -> Iterator[Item]:
        self._file.seek(0)
        for _ in range(self.count):
            item: Item = pickle.load(self._file)  # noqa: S301 - as above
            yield item

    def close(self) -> None:
        """Free memory and disk."""
        self._file.close()


@dataclass(slots=True, kw_only=True)
class HomeChanges:
    """What makes one table of SQLite equal to the one in Postgres.

    `columns` are written and compared: those that SQLite does not compute. `place` names the columns that locate a
    row: a unique key, or the rowid by the word in `rowid`. Inserted rows have a value for each of `columns`, updates
    for some of them.
    """

    table: str
    columns: tuple[str, ...]
    place: tuple[str, ...]
    rowid: str | None = None
    deleted: Spool[Key] = field(default_factory=Spool)
    updated: Spool[Update] = field(default_factory=Spool)
    inserted: Spool[Values] = field(default_factory=Spool)

    @property
    def counts(self) -> Counts:
        """How many rows."""
        return Counts(inserted=self.inserted.count, updated=self.updated.count, deleted=self.deleted.count)

    def close(self) -> None:
        """Free what the rows hold."""
        for spool in (self.deleted, self.updated, self.inserted):
            spool.close()
