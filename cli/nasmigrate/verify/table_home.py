"""One table's way home in the making: what differs becomes what SQLite is to write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from nasmigrate.postgres.ledger import has_originals, read_originals
from nasmigrate.schema.chunks import EncodedBatch, originals_of
from nasmigrate.schema.codecs import Codec, SqliteValue, from_exact
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.digest import ChunkDigest
from nasmigrate.schema.home import HomeChanges, Outside, Update
from nasmigrate.schema.ledger import ChunkRow, Key
from nasmigrate.schema.model import SourceSchema, StorageClass
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, Rows, key_of_fields
from nasmigrate.sqlite.apply import place_of
from nasmigrate.sqlite.read import BATCH_BYTES
from nasmigrate.verify.diff import RowDifference
from nasmigrate.verify.homeward import Homeward, kept_originals
from nasmigrate.verify.same_rows import SameRows, Settled, Stored

DECODED_AT_ONCE = 2000


_NEW = Settled()
Item = TypeVar("Item")


def in_pieces(items: Iterable[Item], row_of: Callable[[Item], Fields]) -> Iterator[list[Item]]:
    """Items in pieces that memory holds, by the size of their rows."""
    piece: list[Item] = []
    size = 0
    for item in items:
        piece.append(item)
        size += sum(len(raw) for raw in row_of(item) if raw is not None)
        if len(piece) >= DECODED_AT_ONCE or size >= BATCH_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


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
        return in_pieces(self.rows, lambda row: row)


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


class Present:
    """The raw rows of the file in a part of a key space; as they pass, what they hold as originals is remembered."""

    def __init__(self, table: PlanTable, batches: Iterable[EncodedBatch]) -> None:
        self._table = table
        self._batches = batches
        self._stored: dict[bytes, dict[int, SqliteValue]] = {}

    def __iter__(self) -> Iterator[bytes]:
        places = {column.name: index for index, column in enumerate(self._table.columns)}
        for batch in self._batches:
            for row in originals_of(self._table, batch, 0):
                value = from_exact(StorageClass(row.storage_class), row.value)
                self._stored.setdefault(row.key, {})[places[row.column]] = value
            yield from assemble_rows(batch.columns)

    def stored(self, key: bytes) -> Stored:
        """What the row of this key holds otherwise than its codecs give it back."""
        return self._stored.get(key, {})


@contextmanager
def same_rows(target: psycopg.Connection, table: PlanTable) -> Iterator[SameRows | None]:
    """What tells rows that went and came again; None where SQLite holds every value as its codec gives it back."""
    if not has_originals(target, table.name):
        yield None
        return
    with closing(SameRows(table)) as same:
        yield same


def homeward_of(
    target: psycopg.Connection, table: PlanTable, codecs: Sequence[Codec], rows: Sequence[Fields]
) -> Homeward:
    """What decodes these rows of a table with a range key."""
    keys = [key_of_fields(table, codecs, fields) for fields in rows]
    return Homeward(table, kept_originals(read_originals(target, table.name, keys=keys)))


def add_difference(
    table: PlanTable,
    homeward: Homeward,
    found: RowDifference,
    changes: HomeChanges,
    same: SameRows | None = None,
    present: Present | None = None,
) -> None:
    """Take in what differs in a part of a key space.

    With `same`, rows that may be others under a new key are left to it, until all of the table is seen.
    """
    for key in homeward.keys(found.deleted):
        changes.deleted.add(key)
    places = homeward.keys([after for _, after in found.updated])
    pairs = [(place, before, after) for place, (before, after) in zip(places, found.updated, strict=True)]
    inserted = found.inserted
    if same is not None and present is not None:
        codecs = table.codecs()

        def stored(fields: Fields) -> Stored:
            return present.stored(key_of_fields(table, codecs, fields))

        for fields in found.deleted:
            same.went(fields, stored(fields))
        for fields in inserted:
            same.came(fields)
        inserted = []
        pairs = [
            (place, before, after)
            for place, before, after in pairs
            if not same.may_be_another(place, before, stored(before), after)
        ]
    add_updates(table, homeward, pairs, changes)
    add_inserts(table, homeward, inserted, changes)


def add_same_rows(
    table: PlanTable, same: SameRows, changes: HomeChanges, homeward_of: Callable[[Sequence[Fields]], Homeward]
) -> list[Outside]:
    """Take in the rows that `same` holds, with what it knows of them; the values that cannot come home.

    `homeward_of` gives what decodes some rows of Postgres.
    """
    outside: list[Outside] = []
    into_inserted, into_replaced = same.settle()
    number = 0
    for rows in in_pieces(same.inserted, lambda row: row):
        homeward = homeward_of(rows)
        settled = [into_inserted.get(number + place, _NEW) for place in range(len(rows))]
        add_inserts(table, homeward, rows, changes, settled)
        outside += homeward.outside
        number += len(rows)
    number = 0
    for pairs in in_pieces(same.replaced, lambda pair: pair[2]):
        homeward = homeward_of([after for _, _, after in pairs])
        settled = [into_replaced.get(number + place, _NEW) for place in range(len(pairs))]
        add_updates(table, homeward, pairs, changes, settled)
        outside += homeward.outside
        number += len(pairs)
    return outside


def add_updates(
    table: PlanTable,
    homeward: Homeward,
    pairs: Sequence[tuple[Key, Fields, Fields]],
    changes: HomeChanges,
    settled: Sequence[Settled] = (),
) -> None:
    """Update only the columns that differ; of these, and of columns in doubt, `settled` may know more."""
    new: list[dict[int, SqliteValue]] = [{} for _ in pairs]
    for position, name in enumerate(changes.columns):
        index = [column.name for column in table.columns].index(name)
        for number, known in enumerate(settled):
            _, before, after = pairs[number]
            if index in known.doubts and before[index] == after[index]:
                homeward.doubt(index, after, known.doubts[index])
        rows = [number for number, (_, before, after) in enumerate(pairs) if before[index] != after[index]]
        if not rows:
            continue
        afters = [pairs[number][2] for number in rows]
        known_of = [settled[number] for number in rows] if settled else ()
        values_of = homeward.column(index, [row[index] for row in afters], afters, known_of)
        for number, value in zip(rows, values_of, strict=True):
            new[number][position] = value
    for (place, _, _), values in zip(pairs, new, strict=True):
        if values:
            changes.updated.add(Update(place, tuple(values), tuple(values.values())))


def add_inserts(
    table: PlanTable,
    homeward: Homeward,
    rows: Sequence[Fields],
    changes: HomeChanges,
    settled: Sequence[Settled] = (),
) -> None:
    """Insert whole rows, without what SQLite computes."""
    written = [index for index, column in enumerate(table.columns) if column.name in set(changes.columns)]
    for start in range(0, len(rows), DECODED_AT_ONCE):
        end = start + DECODED_AT_ONCE
        for row in homeward.rows(rows[start:end], settled[start:end]):
            changes.inserted.add(tuple(row[index] for index in written))
