"""What stands in Postgres is decoded into a new SQLite file and must be the snapshot again, value by value."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import psycopg
import pytest
from psycopg import sql

from nasmigrate.core.errors import SourceError
from nasmigrate.postgres.copy_out import read_rows
from nasmigrate.schema.codecs import (
    BigInt,
    Boolean,
    Bytea,
    Codec,
    Date,
    Double,
    Misfit,
    Numeric,
    RawText,
    SqliteValue,
    Text,
    Time,
    Timestamp,
    TimestampTz,
    same,
)
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble, assemble_rows
from nasmigrate.schema.digest import key_of, row_digest
from nasmigrate.schema.model import Column, SourceSchema, StorageClass, Table
from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable
from nasmigrate.sqlite.write_back import RowRefused, SqliteWriter
from nasmigrate.verify.decode_many import column_decoder, decode
from nasmigrate.verify.round_trip import RoundTripOutcome, StoredOriginal, round_trip

Row = tuple[SqliteValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One source table: its DDL, how its columns are carried, and its rows."""

    name: str
    ddl: str
    columns: Sequence[tuple[str, Codec]]
    rows: Sequence[Row]
    key: tuple[str, ...] = ()
    rowid_alias: str | None = None
    generated: frozenset[str] = frozenset()

    def table(self) -> Table:
        return Table(
            name=self.name,
            columns=tuple(
                Column(name=name, generated="stored" if name in self.generated else None) for name, _ in self.columns
            ),
            primary_key=self.key,
            rowid_alias=self.rowid_alias,
            sql=self.ddl,
        )

    def plan_table(self) -> PlanTable:
        return PlanTable(
            name=self.name,
            columns=tuple(
                PlanColumn(
                    name=name,
                    declared_type="",
                    codec=codec.name,
                    parameters=codec.parameters(),
                    pg_type=codec.pg_type,
                    collation="C" if codec.pg_type == "text" else None,
                    generated="stored" if name in self.generated else None,
                )
                for name, codec in self.columns
            ),
            key=self.key,
            mode="range" if self.key else "multiset",
        )


@dataclass(slots=True)
class Moved:
    """Tables standing in both databases, and the originals of the move."""

    connection: psycopg.Connection
    snapshot: Path
    plan: Plan
    schema: SourceSchema
    originals: dict[str, dict[tuple[bytes, str], list[StoredOriginal]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def round_trip(self, **options: bool) -> RoundTripOutcome:
        workdir = self.snapshot.parent
        before = sorted(workdir.iterdir())
        outcome = round_trip(
            self.connection,
            self.plan,
            self.schema,
            self.snapshot,
            workdir,
            originals=lambda table: self.originals[table.name],
            **options,
        )
        assert sorted(workdir.iterdir()) == before
        return outcome


Move = Callable[..., Moved]


@pytest.fixture
def move(database: str, tmp_path: Path) -> Iterator[Move]:
    """Makes a SQLite file of some tables and stands their encoded rows in Postgres."""
    with psycopg.connect(database, autocommit=True) as connection:

        def moved(*tables: Made, encoding: str = "UTF-8") -> Moved:
            snapshot = tmp_path / "snapshot.db"
            file = apsw.Connection(str(snapshot))
            file.execute(f"PRAGMA encoding = '{encoding}'")
            result = Moved(
                connection=connection,
                snapshot=snapshot,
                plan=Plan(encoding=encoding, tables=tuple(made.plan_table() for made in tables)),
                schema=SourceSchema(tables=tuple(made.table() for made in tables), encoding=encoding),
            )
            for made in tables:
                fill_sqlite(file, made)
                fill_postgres(connection, made, result)
            file.close()
            return result

        yield moved


def fill_sqlite(file: apsw.Connection, made: Made) -> None:
    file.execute(made.ddl)
    stored = [i for i, (name, _) in enumerate(made.columns) if name not in made.generated]
    names = ", ".join('"' + made.columns[i][0].replace('"', '""') + '"' for i in stored)
    table = '"' + made.name.replace('"', '""') + '"'
    with file:
        for row in made.rows:
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(row[i], RawText) else "?" for i in stored)
            file.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [row[i] for i in stored])


def fill_postgres(connection: psycopg.Connection, made: Made, result: Moved) -> None:
    plan = made.plan_table()
    columns = sql.SQL(", ").join(
        sql.SQL("{} {} {}").format(
            sql.Identifier(column.name),
            sql.SQL(column.pg_type),
            sql.SQL('COLLATE "C"' if column.collation else ""),
        )
        for column in plan.columns
    )
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(made.name), columns))
    if not made.rows:
        return
    batch = [
        codec.encode(column) for (_, codec), column in zip(made.columns, zip(*made.rows, strict=True), strict=True)
    ]
    with connection.cursor() as cursor:
        copy_in = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(sql.Identifier(made.name))
        with cursor.copy(copy_in) as copy:
            copy.write(HEADER + assemble(batch) + TRAILER)
    rows = assemble_rows(batch)
    seen: dict[bytes, dict[int, int]] = defaultdict(dict)
    for (name, _), encoded in zip(made.columns, batch, strict=True):
        for original in encoded.originals:
            if plan.key:
                row, ordinal = key_of(batch, plan.key_indices, original.row), 0
            else:
                row = row_digest(rows[original.row])
                ordinal = seen[row].setdefault(original.row, len(seen[row]))
            result.originals[made.name][row, name].append((ordinal, original.storage_class, original.value))


EVERY_CODEC = Made(
    name='every % "codec"',
    ddl='CREATE TABLE "every % ""codec"""(id INTEGER PRIMARY KEY, flag BOOLEAN, r REAL, n NUMERIC, dec DECIMAL,'
    " t TEXT, b, raw, d DATE, ti TIME, ts DATETIME, tz DATETIME, mixed)",
    columns=[
        ("id", BigInt()),
        ("flag", Boolean()),
        ("r", Double()),
        ("n", Double(integers=1)),
        ("dec", Numeric()),
        ("t", Text()),
        ("b", Bytea()),
        ("raw", Bytea(native_class="text")),
        ("d", Date("YYYY-MM-DD")),
        ("ti", Time("HH:II:SS")),
        ("ts", Timestamp("YYYY-MM-DDTHH:II:SS.fff")),
        ("tz", TimestampTz("YYYY-MM-DD HH:II:SS+02:00")),
        ("mixed", Text()),
    ],
    rows=list(
        zip(
            (-(2**63), 1, 2, 2**63 - 1),
            (0, 1, None, 1),
            (0.1, 5e-324, None, -1.7976931348623157e308),
            (1, 1.5, None, 2**53),
            (19.99, 3, None, -0.5),
            ("", "é\U0001f600", None, "a\nb"),
            (b"", b"\x00\xff", None, b"x" * 70000),
            ("text", RawText(b"\xff\xfe"), None, RawText(b"\xed\xa0\x80")),
            ("0001-01-01", "9999-12-31", None, "2000-02-29"),
            ("00:00:00", "23:59:59", None, "12:34:56"),
            ("0001-01-01T00:00:00.000", "9999-12-31T23:59:59.999", None, "1969-12-31T23:59:59.001"),
            ("0001-01-02 00:00:00+02:00", "9999-12-31 23:59:59+02:00", None, "2024-06-01 12:00:00+02:00"),
            ("x", 5, None, 2.5),
            strict=True,
        )
    ),
    key=("id",),
    rowid_alias="id",
)


def test_every_codec_comes_back(move: Move) -> None:
    moved = move(EVERY_CODEC)
    assert moved.originals[EVERY_CODEC.name], "the mixed column must need originals, or the test says less"
    outcome = moved.round_trip()
    assert (outcome.gate.status, outcome.total, outcome.rows) == ("pass", 0, 4)
    assert outcome.gate.name == "round-trip"
    assert outcome.gate.checked == 4


ORDERS = Made(
    name="orders",
    ddl="CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT COLLATE NOCASE NOT NULL, price REAL, at TEXT)",
    columns=[
        ("id", BigInt()),
        ("item", Text()),
        ("price", Double()),
        ("at", Timestamp("YYYY-MM-DD HH:II:SS")),
    ],
    rows=[(i, f"Item {i}", i * 1.1, f"2024-01-{i % 28 + 1:02d} 00:00:00") for i in range(1, 5000)],
    key=("id",),
    rowid_alias="id",
)


def test_many_rows_come_back_in_several_batches_and_progress_is_told(move: Move) -> None:
    moved = move(ORDERS)
    told: list[tuple[str, int]] = []
    outcome = round_trip(
        moved.connection,
        moved.plan,
        moved.schema,
        moved.snapshot,
        moved.snapshot.parent,
        originals=lambda table: {},
        progress=lambda name, rows: told.append((name, rows)),
    )
    assert (outcome.gate.status, outcome.rows) == ("pass", 4999)
    assert told[-1] == ("orders", 4999)
    assert len(told) > 1


@pytest.mark.parametrize(
    ("change", "kind", "column"),
    [
        ("UPDATE orders SET item = upper(item) WHERE id = 77", "changed row", "item"),
        ("UPDATE orders SET price = price + 1e-13 WHERE id = 77", "changed row", "price"),
        ("UPDATE orders SET price = 'NaN' WHERE id = 77", "changed row", "price"),
        ("UPDATE orders SET price = NULL WHERE id = 77", "changed row", "price"),
        ("UPDATE orders SET at = at + interval '1 second' WHERE id = 77", "changed row", "at"),
        ("UPDATE orders SET at = 'infinity' WHERE id = 77", "changed row", "at"),
        ("DELETE FROM orders WHERE id = 77", "missing row", None),
        ("INSERT INTO orders VALUES (-77, 'x')", "extra row", None),
    ],
)
def test_one_changed_value_is_found(move: Move, change: str, kind: str, column: str | None) -> None:
    moved = move(ORDERS)
    moved.connection.execute(change)
    outcome = moved.round_trip()
    assert (outcome.gate.status, outcome.total) == ("fail", 1)
    (difference,) = outcome.differences
    assert (difference.kind, difference.table, difference.column) == (kind, "orders", column)
    assert difference.key is not None and difference.key.endswith("77")


def test_nan_does_not_pass_for_null(move: Move) -> None:
    # SQLite binds NaN as NULL, so a NaN in Postgres would equal the NULL of the source.
    made = Made(
        name="t",
        ddl="CREATE TABLE t(id INTEGER PRIMARY KEY, v REAL)",
        columns=[("id", BigInt()), ("v", Double())],
        rows=[(1, None)],
        key=("id",),
        rowid_alias="id",
    )
    moved = move(made)
    assert moved.round_trip().gate.status == "pass"
    moved.connection.execute("UPDATE t SET v = 'NaN'")
    outcome = moved.round_trip()
    assert [d.column for d in outcome.differences] == ["v"]


def test_values_are_masked_unless_asked_for(move: Move) -> None:
    moved = move(ORDERS)
    moved.connection.execute("UPDATE orders SET item = 'another secret' WHERE id = 77")
    assert "another secret" not in moved.round_trip().differences[0].model_dump_json()
    assert moved.round_trip(show_values=True).differences[0].target == "another secret"


KEYLESS = Made(
    name="log",
    ddl="CREATE TABLE log(a, b)",
    columns=[("a", Text()), ("b", Text())],
    # '5' and 5 are one text in Postgres: seven rows that are equal there and only some of them here.
    rows=[("5", "5"), (5, "5"), (5, 5), ("5", 5), ("5", "5"), (5.5, -0.0), ("x", "y")],
)


def test_equal_rows_without_a_key_get_their_own_originals(move: Move) -> None:
    moved = move(KEYLESS)
    assert moved.round_trip().gate.status == "pass"
    # Giving a row the originals of two rows must not go unseen.
    for entries in moved.originals["log"].values():
        entries[:] = [(0, storage, value) for _, storage, value in entries]
    assert moved.round_trip().gate.status == "fail"


def test_a_lost_original_is_found(move: Move) -> None:
    moved = move(KEYLESS)
    moved.originals["log"].popitem()
    outcome = moved.round_trip()
    assert outcome.gate.status == "fail"


def test_an_original_without_its_row_is_found(move: Move) -> None:
    moved = move(ORDERS)
    key = struct.pack(">q", 4711471)
    moved.originals["orders"][key, "item"].append((0, StorageClass.INTEGER, bytes(8)))
    outcome = moved.round_trip()
    assert (outcome.gate.status, outcome.total) == ("fail", 1)
    assert (outcome.differences[0].kind, outcome.differences[0].column) == ("originals", "item")


def test_an_original_stands_for_null(move: Move) -> None:
    # The rule empty-as-null: Postgres holds NULL, the source held ''.
    moved = move(ORDERS)
    file = apsw.Connection(str(moved.snapshot))
    file.execute("UPDATE orders SET at = '' WHERE id = 5")
    file.close()
    moved.connection.execute("UPDATE orders SET at = NULL WHERE id = 5")
    assert moved.round_trip().gate.status == "fail"
    moved.originals["orders"][struct.pack(">q", 5), "at"].append((0, StorageClass.TEXT, b""))
    assert moved.round_trip().gate.status == "pass"


def test_a_text_and_number_key_names_its_originals(move: Move) -> None:
    made = Made(
        name="kv",
        ddl="CREATE TABLE kv(ns TEXT, n INT, v, PRIMARY KEY (n, ns)) WITHOUT ROWID",
        columns=[("ns", Text()), ("n", BigInt()), ("v", Text())],
        rows=[("a", 1, 1), ("ab", 1, "1"), ("a", 2, 1.0)],
        key=("n", "ns"),
    )
    moved = move(made)
    assert len(moved.originals["kv"]) == 2
    assert moved.round_trip().gate.status == "pass"


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_utf_16_files_come_back(move: Move, encoding: str) -> None:
    surrogate = b"\x00\xd8" if encoding == "UTF-16le" else b"\xd8\x00"
    made = Made(
        name="t",
        ddl="CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
        columns=[("id", BigInt()), ("v", Bytea(native_class="text"))],
        rows=[(1, "é\U0001f600"), (2, RawText(surrogate)), (3, "\ufeffbom"), (4, "nul\0nul")],
        key=("id",),
        rowid_alias="id",
    )
    moved = move(made, encoding=encoding)
    outcome = moved.round_trip()
    assert (outcome.gate.status, outcome.rows) == ("pass", 4)


def test_noncharacters_survive_in_utf_16_files(tmp_path: Path) -> None:
    # SQLite turns a bound U+FFFF into U+FFFD there, though the file can hold it.
    plan = PlanTable(name="t", columns=(PlanColumn(name="v", declared_type="", codec="text", pg_type="text"),))
    schema = SourceSchema(
        tables=(Table(name="t", columns=(Column(name="v"),), sql="CREATE TABLE t(v)"),), encoding="UTF-16le"
    )
    path = tmp_path / "n.db"
    with SqliteWriter(path, encoding="UTF-16le", schema=schema) as writer:
        writer.insert(plan, [["a\uffff"], ["b\ufffe"], ["c\ufffd"]])
    file = apsw.Connection(str(path))
    found = [row[0] for row in file.execute("SELECT CAST(v AS BLOB) FROM t")]
    file.close()
    assert found == [text.encode("utf-16-le") for text in ("a\uffff", "b\ufffe", "c\ufffd")]


def test_generated_columns_are_computed_by_sqlite(move: Move) -> None:
    made = Made(
        name="g",
        ddl="CREATE TABLE g(id INTEGER PRIMARY KEY, twice INT AS (id * 2) STORED, t TEXT)",
        columns=[("id", BigInt()), ("twice", BigInt()), ("t", Text())],
        rows=[(1, 2, "a"), (2, 4, "b")],
        key=("id",),
        rowid_alias="id",
        generated=frozenset({"twice"}),
    )
    outcome = move(made).round_trip()
    assert (outcome.gate.status, outcome.rows) == ("pass", 2)


def test_a_row_that_sqlite_refuses_fails_the_gate_and_other_tables_are_still_compared(move: Move) -> None:
    # ON CONFLICT REPLACE in the table's own text must not make the second row eat the first.
    made = Made(
        name="u",
        ddl="CREATE TABLE u(id INTEGER PRIMARY KEY, k TEXT UNIQUE ON CONFLICT REPLACE)",
        columns=[("id", BigInt()), ("k", Text())],
        rows=[(1, "a"), (2, "b")],
        key=("id",),
        rowid_alias="id",
    )
    moved = move(made, ORDERS)
    moved.connection.execute("INSERT INTO u SELECT i, 'a' FROM generate_series(3, 5000) AS i")
    with moved.connection.transaction():
        outcome = moved.round_trip()
        # The caller's transaction goes on: its snapshot is what makes all tables one moment.
        assert moved.connection.execute("SELECT count(*) FROM u").fetchone() == (5000,)
    assert (outcome.gate.status, outcome.total, outcome.rows) == ("fail", 1, 4999)
    (difference,) = outcome.differences
    assert (difference.kind, difference.table) == ("object", "u")
    assert "UNIQUE constraint failed" in (difference.target or "")


@pytest.mark.parametrize("tables", [[], ["empty"]])
def test_nothing_compared_is_inconclusive(move: Move, tables: list[str]) -> None:
    made = [Made(name=name, ddl=f"CREATE TABLE {name}(a)", columns=[("a", Text())], rows=[]) for name in tables]
    moved = move(*made)
    if not tables:
        file = apsw.Connection(str(moved.snapshot))
        file.execute("CREATE TABLE other(a)")
        file.close()
    outcome = moved.round_trip()
    assert (outcome.gate.status, outcome.gate.checked, outcome.total) == ("inconclusive", 0, 0)


def test_the_rebuilt_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "private.db"
    with SqliteWriter(path, encoding="UTF-8", schema=SourceSchema(tables=())):
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        SqliteWriter(path, encoding="UTF-8", schema=SourceSchema(tables=()))


def test_a_create_table_text_can_do_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    text = f"CREATE TABLE t(a); ATTACH '{other}' AS x; CREATE TABLE x.y(a)"
    schema = SourceSchema(tables=(Table(name="t", columns=(Column(name="a"),), sql=text),))
    plan = PlanTable(name="t", columns=(PlanColumn(name="a", declared_type="", codec="text", pg_type="text"),))
    with (
        SqliteWriter(tmp_path / "n.db", encoding="UTF-8", schema=schema) as writer,
        pytest.raises(SourceError, match="not authorized"),
    ):
        writer.insert(plan, [])
    assert not other.exists()


def test_a_refused_table_leaves_nothing_and_names_itself(tmp_path: Path) -> None:
    schema = SourceSchema(
        tables=(Table(name="t", columns=(Column(name="a"),), sql="CREATE TABLE t(a NOT NULL DEFAULT 1)"),)
    )
    plan = PlanTable(name="t", columns=(PlanColumn(name="a", declared_type="", codec="text", pg_type="text"),))
    with SqliteWriter(tmp_path / "n.db", encoding="UTF-8", schema=schema) as writer:
        with pytest.raises(RowRefused, match=r"table t.*NOT NULL"):
            writer.insert(plan, [["a"], [RawText(b"\xff")], [None]])
        assert writer.insert(plan, [["a"]]) == 1


def test_part_of_a_table_is_read_with_literals(move: Move) -> None:
    moved = move(EVERY_CODEC, ORDERS)
    where = sql.SQL("{} >= %s AND item <> %s").format(sql.Identifier("id"))
    rows = list(read_rows(moved.connection, ORDERS.plan_table(), where=where, parameters=(4990, "o'x%s\\")))
    assert [BigInt().decode_one(row[0] or b"") for row in rows] == list(range(4990, 5000))
    assert len(list(read_rows(moved.connection, EVERY_CODEC.plan_table(), where=sql.SQL("flag")))) == 2


def test_the_connection_is_free_after_reading_and_after_giving_up(move: Move) -> None:
    moved = move(ORDERS)
    rows = read_rows(moved.connection, ORDERS.plan_table())
    next(rows)
    rows.close()
    assert len(list(read_rows(moved.connection, ORDERS.plan_table()))) == 4999
    assert moved.connection.execute("SELECT 1").fetchone() == (1,)


SHAPES = ["YYYY-MM-DD HH:II", "YYYY-MM-DD HH:II:SS", "YYYY-MM-DDTHH:II:SS.f", "YYYY-MM-DDTHH:II:SS.fff",
          "YYYY-MM-DD HH:II:SS.ffffff"]  # fmt: skip
CODECS: list[Codec] = [
    BigInt(), Boolean(), Double(), Double(integers=1), Numeric(), Text(), Text(numbers=1), Bytea(),
    Bytea(native_class="text"), Date("YYYY-MM-DD"), Time("HH:II"), Time("HH:II:SS.fff"),
    *map(Timestamp, SHAPES),
    *(TimestampTz(shape + offset) for shape in SHAPES for offset in ("Z", "+05:45", "-99:59")),
]  # fmt: skip


def raws_of(codec: Codec, seed: int) -> list[bytes | None]:
    """Send bytes of the codec's type, at its limits, beyond what SQLite's text can say, and between."""
    chance = random.Random(seed)
    if isinstance(codec, Boolean):
        return [b"\x00", None, b"\x01"]
    if codec.width is None:
        encodable: list[SqliteValue] = [
            "",
            "a",
            "12",
            "1.5",
            "1e5",
            "007",
            0,
            -7,
            10**18,
            0.1,
            1.5e300,
            b"\xff",
            b"",
            "é",
        ]
        found: list[bytes | None] = [None]
        for value in encodable * 2:
            try:
                found.append(codec.encode_one(value))
            except Misfit:
                continue
        return found
    bits = 8 * codec.width
    edges = [0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]
    days = [chance.randrange(-740_000, 2_930_000) for _ in range(300)]
    step = 10 ** (6 - codec.precision) if isinstance(codec, (Time, Timestamp)) else 1
    numbers = [chance.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1)) for _ in range(50)] + edges
    if isinstance(codec, Date):
        numbers += days
    elif isinstance(codec, Time):
        numbers += [chance.randrange(0, 86_400_000_000 // step) * step for _ in range(300)]
    elif isinstance(codec, Timestamp):
        numbers += [day * 86_400_000_000 + chance.randrange(0, 86_400_000_000 // step) * step for day in days]
    elif isinstance(codec, Double):
        floats = [0.0, -0.0, 1.0, 2.0**53, 2.0**53 + 2, float("nan"), float("inf"), 0.1]
        return [None, *(struct.pack(">d", value) for value in floats)]
    return [None, *(number.to_bytes(codec.width, "big", signed=True) for number in numbers)]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.name} {codec.parameters() or ''}".strip())
def test_columns_decode_as_single_values_do(codec: Codec) -> None:
    raws = raws_of(codec, 1)
    # One value a time and all at once: a single bad value sends a whole batch down the slow road.
    single = [column_decoder(codec)([raw])[0] for raw in raws]
    together = column_decoder(codec)(raws)
    good = [raw for raw in raws if raw is None or not str(decode(codec, raw)).startswith("<outside")]
    expected = [None if raw is None else decode(codec, raw) for raw in raws]
    assert len(good) > 1
    assert all(map(same, single, expected))
    assert all(map(same, together, expected))
    assert all(
        same(value, None if raw is None else codec.decode_one(raw))
        for value, raw in zip(column_decoder(codec)(good), good, strict=True)
    )
    assert column_decoder(codec)([]) == []
    assert column_decoder(codec)([None, None]) == [None, None]
