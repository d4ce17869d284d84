"""The two definitions of a digest, in Python and in SQL, are one: on any rows, in any order, under any settings."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from support import strategies as made

from nasmigrate.postgres.digests import bucket_digests, bucket_rows, count_rows, range_digest
from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk
from nasmigrate.schema.codecs import (
    BigInt,
    Boolean,
    Bytea,
    Codec,
    Double,
    Numeric,
    SqliteValue,
    Text,
)
from nasmigrate.schema.codecs.temporal import codec_of_shape
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import PlanColumn, PlanTable

Row = tuple[SqliteValue, ...]

SETTINGS = {
    "TimeZone": ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"),
    "DateStyle": ("ISO, MDY", "SQL, DMY", "German", "Postgres, MDY"),
    "extra_float_digits": ("-15", "0", "3"),
    "bytea_output": ("hex", "escape"),
    "IntervalStyle": ("postgres", "iso_8601"),
    "enable_sort": ("on", "off"),
    "lc_numeric": ("C",),
}

session_settings = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SETTINGS.items()})

PAYLOAD: list[tuple[Codec, st.SearchStrategy[SqliteValue]]] = [
    (BigInt(), made.integers),
    (Boolean(), st.integers(0, 1)),
    (Double(), made.reals),
    (Double(integers=1), made.reals | st.integers(-9, 9)),
    (Numeric(), made.integers | st.integers(-9, 9).map(lambda n: n / 8)),
    (Text(), made.plain_text),
    (Text(numbers=1), made.plain_text | made.integers | made.reals),
    (Bytea(), made.blobs),
    (Bytea(native_class="text"), made.any_text | made.blobs | made.integers),
]
KEYS: list[tuple[Codec, st.SearchStrategy[SqliteValue]]] = [
    (BigInt(), made.integers),
    (Boolean(), st.integers(0, 1)),
    (Text(), made.plain_text),
    (Bytea(), made.blobs),
]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of the plan with its rows; in key order where it has a range key."""

    table: PlanTable
    rows: tuple[Row, ...]

    @property
    def codecs(self) -> list[Codec]:
        return self.table.codecs()

    def batch(self, rows: Sequence[Row]) -> EncodedBatch:
        columns = [codec.encode(values) for codec, values in zip(self.codecs, zip(*rows, strict=True), strict=True)]
        return EncodedBatch(
            columns=columns,
            rows=len(rows),
            size=sum(column.size for column in columns),
            last_key=tuple(rows[-1][index] for index in self.table.key_indices),
        )

    def chunk(self, rows: Sequence[Row], cuts: Sequence[int] = (), *, after: Row | None, last: Row | None) -> ChunkRow:
        """The source side's chunk, its rows read in batches ending at `cuts`."""
        making = RangeChunk(self.table, self.codecs, 0)
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            if start < end:
                making.add(self.batch(rows[start:end]))
        return making.finish(after, last)

    def key(self, row: Row) -> Row:
        return tuple(row[index] for index in self.table.key_indices)


def order(value: SqliteValue) -> object:
    """SQLite's BINARY order of a key value in a UTF-8 file."""
    return value.encode() if isinstance(value, str) else value


def plan_column(name: str, codec: Codec, *, nullable: bool = True) -> PlanColumn:
    return PlanColumn(
        name=name,
        declared_type="",
        codec=codec.name,
        parameters=codec.parameters(),
        pg_type=codec.pg_type,
        collation="C" if codec.pg_type == "text" else None,
        nullable=nullable,
    )


@st.composite
def carriers(draw: st.DrawFn, source: str) -> tuple[Codec, st.SearchStrategy[SqliteValue]]:
    """A codec with the values it carries, for a key or for the other columns."""
    if draw(st.integers(0, 3)) == 0:
        shape = draw(made.shapes())
        return codec_of_shape(shape)(shape), made.moments(shape)
    return draw(st.sampled_from(KEYS if source == "key" else PAYLOAD))


@st.composite
def keyed(draw: st.DrawFn) -> Rows:
    """A table with a range key of one to three columns, anywhere among the others, in any order."""
    keys = [draw(carriers("key")) for _ in range(draw(st.integers(1, 3)))]
    payload = [draw(carriers("payload")) for _ in range(draw(st.integers(0, 4)))]
    places = draw(st.permutations(range(len(keys) + len(payload))))
    names = draw(st.lists(made.usable_names, min_size=len(places), max_size=len(places), unique=True))
    columns: list[PlanColumn] = []
    values: list[st.SearchStrategy[SqliteValue]] = []
    for place in places:
        is_key = place < len(keys)
        codec, strategy = keys[place] if is_key else payload[place - len(keys)]
        nullable = not is_key and draw(st.booleans())
        columns.append(plan_column(names[len(columns)], codec, nullable=nullable))
        values.append(st.none() | strategy if nullable else strategy)
    key = [columns[places.index(i)].name for i in range(len(keys))]
    table = PlanTable(name=draw(made.usable_names), columns=tuple(columns), key=tuple(key), mode="range")
    indices = table.key_indices

    def key_of(row: Row) -> tuple[object, ...]:
        return tuple(order(row[index]) for index in indices)

    rows = draw(st.lists(st.tuples(*values), max_size=10, unique_by=key_of))
    return Rows(table, tuple(sorted(rows, key=key_of)))  # type: ignore[arg-type]


@st.composite
def keyless(draw: st.DrawFn) -> Rows:
    """A table without a key: NULLs anywhere, equal rows."""
    carried = [draw(carriers("payload")) for _ in range(draw(st.integers(1, 4)))]
    names = draw(st.lists(made.usable_names, min_size=len(carried), max_size=len(carried), unique=True))
    columns = tuple(plan_column(name, codec) for name, (codec, _) in zip(names, carried, strict=True))
    rows = draw(st.lists(st.tuples(*(st.none() | values for _, values in carried)), max_size=8))
    if rows:
        rows += draw(st.lists(st.sampled_from(rows), max_size=4))
    return Rows(PlanTable(name=draw(made.usable_names), columns=columns, mode="multiset"), tuple(rows))


def stand(connection: psycopg.Connection, made_rows: Rows, seed: int) -> None:
    """Create the table and load its rows in an order of their own."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {} {} {}").format(
            sql.Identifier(column.name),
            sql.SQL(column.pg_type),
            sql.SQL('COLLATE "C"' if column.collation else ""),
            sql.SQL("" if column.nullable else "NOT NULL"),
        )
        for column in made_rows.table.columns
    )
    name = sql.Identifier("public", made_rows.table.name)
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, columns))
    rows = list(made_rows.rows)
    random.Random(seed).shuffle(rows)
    if rows:
        with (
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(name)) as copy,
        ):
            copy.write(HEADER + assemble(made_rows.batch(rows).columns) + TRAILER)


def set_all(connection: psycopg.Connection, chosen: dict[str, str]) -> None:
    for name, value in chosen.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))


@given(keyed(), st.data(), session_settings, st.integers(0, 99))
@settings(max_examples=250)
def test_a_chunk_has_one_digest_on_both_sides(
    connection: psycopg.Connection, table: Rows, data: st.DataObject, session: dict[str, str], seed: int
) -> None:
    """For any bounds, batches, physical order and session settings."""
    count = len(table.rows)
    start = data.draw(st.integers(0, count))
    end = data.draw(st.integers(start, count))
    after = table.key(table.rows[start - 1]) if start else None
    last = table.key(table.rows[end - 1]) if start < end < count or (end == start and start) else None
    inside = table.rows[start:] if last is None else table.rows[start:end]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(inside)), max_size=3)))
    ours = table.chunk(inside, cuts, after=after, last=last)
    try:
        stand(connection, table, seed)
        set_all(connection, session)
        for careful in (False, True):
            theirs = range_digest(connection, table.table, table.codecs, after, last, careful=careful)
            assert theirs.rows == ours.rows == len(inside)
            assert theirs.digests == ours.digests
        assert count_rows(connection, table.table) == count
    finally:
        connection.rollback()


@given(keyless(), st.integers(0, 10), session_settings, st.integers(0, 99))
@settings(max_examples=150)
def test_buckets_have_one_digest_on_both_sides(
    connection: psycopg.Connection,
    tmp_path_factory: pytest.TempPathFactory,
    table: Rows,
    bits: int,
    session: dict[str, str],
    seed: int,
) -> None:
    with Buckets(table.table, bits, _spill(tmp_path_factory)) as buckets:
        if table.rows:
            buckets.add(table.batch(table.rows))
        chunks, _ = buckets.finish()
        try:
            stand(connection, table, seed)
            set_all(connection, session)
            theirs = bucket_digests(connection, table.table, table.codecs, bits)
            for chunk in chunks if table.rows else ():
                assert theirs.pop(chunk.chunk).digests == chunk.digests
                rows = list(bucket_rows(connection, table.table, table.codecs, bits, [chunk.chunk]))
                assert rows == buckets.row_digests(chunk.chunk)
            assert theirs == {}
        finally:
            connection.rollback()


def _spill(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp()


@given(keyed().filter(lambda table: len(table.rows) > 1), st.data())
@settings(max_examples=100)
def test_the_verdict_does_not_depend_on_the_size_of_chunks(
    connection: psycopg.Connection, table: Rows, data: st.DataObject
) -> None:
    """One row is left out of Postgres, or changed there, or nothing is: every cut of the table says the same."""
    what = data.draw(st.sampled_from(["nothing", "left out", "changed"]))
    place = data.draw(st.integers(0, len(table.rows) - 1))
    changed = list(table.rows)
    free = [i for i, c in enumerate(table.table.columns) if c.nullable and changed[place][i] is not None]
    if what == "left out":
        del changed[place]
    elif what == "changed" and free:
        column = data.draw(st.sampled_from(free))
        changed[place] = tuple(None if i == column else value for i, value in enumerate(changed[place]))
    differs = tuple(changed) != table.rows
    try:
        stand(connection, Rows(table.table, tuple(changed)), 1)
        verdicts = set()
        for size in (1, 2, 3, 7, len(table.rows)):
            equal = True
            for start in range(0, len(table.rows), size):
                rows = table.rows[start : start + size]
                after = table.key(table.rows[start - 1]) if start else None
                last = table.key(rows[-1]) if start + size < len(table.rows) else None
                ours = table.chunk(rows, after=after, last=last)
                theirs = range_digest(connection, table.table, table.codecs, after, last)
                equal = equal and ours.rows == theirs.rows and ours.digests == theirs.digests
            verdicts.add(equal)
        assert verdicts == {not differs}
    finally:
        connection.rollback()


@given(keyed().filter(lambda table: len(table.rows) > 0), st.data())
@settings(max_examples=100)
def test_a_moved_null_changes_the_digest(table: Rows, data: st.DataObject) -> None:
    """Equal values in equal order with the NULL in another row: counts and bytes agree, only the keys do not."""
    nullable = [i for i, column in enumerate(table.table.columns) if column.nullable]
    if not nullable or len(table.rows) < 2:
        return
    column = data.draw(st.sampled_from(nullable))
    one, other = data.draw(st.permutations(range(len(table.rows))))[:2]
    value = table.rows[one][column]
    if value is None:
        return
    whole = table.codecs[column].encode([value])
    if whole.originals:
        return

    def with_null_at(row: int, value_at: int) -> ChunkRow:
        rows = [list(each) for each in table.rows]
        rows[row][column], rows[value_at][column] = None, value
        return table.chunk([tuple(each) for each in rows], after=None, last=None)

    assert with_null_at(one, other).digests[column] != with_null_at(other, one).digests[column]
