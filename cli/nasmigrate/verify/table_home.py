"""One table's way home in the making: what differs becomes what SQLite is to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.digest import ChunkDigest
from nasmigrate.schema.home import HomeChanges, Outside, Update
from nasmigrate.schema.ledger import ChunkRow, Key
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, Rows
from nasmigrate.sqlite.apply import place_of
from nasmigrate.sqlite.read import BATCH_BYTES
from nasmigrate.verify.diff import RowDifference
from nasmigrate.verify.homeward import Homeward

DECODED_AT_ONCE = 2000


def going_home(table: PlanTable) -> PlanTable:
    """The table without the columns that SQLite computes, unless they name the row."""
    kept = tuple(column for column in table.columns if column.generated is None or column.name in table.key)
    return table if len(kept) == len(table.columns) else table.model_copy(update={"columns": kept})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the file is to hold of a table: `count` rows, and among them `rows`, at least those that are written."""

    count: int
    rows: Rows = field(default_factory=Rows)

    def batches(self) -> Iterator[list[Fields]]:
        """The rows taken apart, in pieces that memory holds."""
        batch: list[Fields] = []
        size = 0
        for fields in self.rows:
            batch.append(fields)
            size += sum(len(raw) for raw in fields if raw is not None)
            if len(batch) >= DECODED_AT_ONCE or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


@dataclass(slots=True, kw_only=True)
class TableHome:
    """One table's changes, and the values that cannot come home.

    `before` are the chunks that were compared, `after` those without digests that take their place. `told` is of a
    table with a range key; `buckets` are what Postgres holds in those of a table without.
    """

    changes: HomeChanges
    before: tuple[ChunkRow, ...] = ()
    after: list[ChunkRow] = field(default_factory=list)
    buckets: dict[int, ChunkDigest] = field(default_factory=dict)
    told: Told | None = None
    outside: list[Outside] = field(default_factory=list)

    def close(self) -> None:
        """Free what the rows hold."""
        self.changes.close()
        if self.told is not None:
            self.told.rows.close()


def table_home(schema: SourceSchema, table: PlanTable) -> TableHome:
    """Nothing yet of the changes of a table, which is one with the columns that go home."""
    written = tuple(column.name for column in table.columns if column.generated is None)
    place, rowid = place_of(schema.table(table.name), table.key)
    return TableHome(changes=HomeChanges(table=table.name, columns=written, place=place, rowid=rowid))


def add_difference(table: PlanTable, homeward: Homeward, found: RowDifference, changes: HomeChanges) -> None:
    """Take in what differs in a part of a key space."""
    for key in homeward.keys(found.deleted):
        changes.deleted.add(key)
    places = homeward.keys([after for _, after in found.updated])
    pairs = [(place, before, after) for place, (before, after) in zip(places, found.updated, strict=True)]
    add_updates(table, homeward, pairs, changes)
    add_inserts(table, homeward, found.inserted, changes)


def add_updates(
    table: PlanTable, homeward: Homeward, pairs: Sequence[tuple[Key, Fields, Fields]], changes: HomeChanges
) -> None:
    """Update only the columns that differ."""
    new: list[dict[int, SqliteValue]] = [{} for _ in pairs]
    for position, name in enumerate(changes.columns):
        index = [column.name for column in table.columns].index(name)
        rows = [number for number, (_, before, after) in enumerate(pairs) if before[index] != after[index]]
        if not rows:
            continue
        afters = [pairs[number][2] for number in rows]
        for number, value in zip(rows, homeward.column(index, [row[index] for row in afters], afters), strict=True):
            new[number][position] = value
    for (place, _, _), values in zip(pairs, new, strict=True):
        if values:
            changes.updated.add(Update(place, tuple(values), tuple(values.values())))


def add_inserts(table: PlanTable, homeward: Homeward, rows: Sequence[Fields], changes: HomeChanges) -> None:
    """Insert whole rows, without what SQLite computes."""
    written = [index for index, column in enumerate(table.columns) if column.name in set(changes.columns)]
    for start in range(0, len(rows), DECODED_AT_ONCE):
        for row in homeward.rows(rows[start : start + DECODED_AT_ONCE]):
            changes.inserted.add(tuple(row[index] for index in written))
