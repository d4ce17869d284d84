"""Two SQLite files are called equal only if every value has the same class and bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from nasmigrate.core.errors import SourceError
from nasmigrate.schema.model import Column, Index, IndexTerm, Table
from nasmigrate.sqlite.equality import EqualityOutcome, compare_files, open_pair
from nasmigrate.sqlite.equality_sql import GroupedSql, KeyedSql, usable_key


def make(path: Path, *statements: str, encoding: str = "UTF-8") -> Path:
    connection = apsw.Connection(str(path))
    try:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()
    return path


def table(
    name: str, *columns: str, key: tuple[str, ...] = (), rowid_alias: str | None = None, index: Index | None = None
) -> Table:
    return Table(
        name=name,
        columns=tuple(Column(name=column) for column in columns),
        primary_key=key,
        rowid_alias=rowid_alias,
        indexes=(index,) if index else (),
    )


Pair = Callable[..., EqualityOutcome]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Compares one table of two files that were made with the same DDL and other rows."""

    def compare(ddl: str, source: str, target: str, described: Table, **options: bool) -> EqualityOutcome:
        snapshot = make(tmp_path / "snap shot?#%.db", ddl, source)
        rebuilt = make(tmp_path / "rebuilt.db", ddl, target)
        return compare_files(snapshot, rebuilt, [described], **options)

    return compare


KEYED = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
KEYLESS = "CREATE TABLE t(id, v)"
BY_ID = table("t", "id", "v", rowid_alias="id", key=("id",))
NO_KEY = table("t", "id", "v")

VALUES = ["NULL", "''", "x''", "0", "0.0", "-0.0", "1", "1.0", "'1'", "x'31'", "'a'", "'A'", "'a '", "'a' || char(0)"]


@pytest.mark.parametrize(("ddl", "described"), [(KEYED, BY_ID), (KEYLESS, NO_KEY)], ids=["keyed", "keyless"])
@pytest.mark.parametrize("source", VALUES)
@pytest.mark.parametrize("target", VALUES)
def test_two_values_are_equal_only_if_they_are_the_same(
    pair: Pair, ddl: str, described: Table, source: str, target: str
) -> None:
    # SQL text has no way to write -0.0: the literal is a negated 0.0, which SQLite keeps as REAL -0.0.
    outcome = pair(ddl, f"INSERT INTO t VALUES (1, {source})", f"INSERT INTO t VALUES (1, {target})", described)
    assert outcome.rows == 1
    assert (outcome.total == 0) == (source == target)
    assert bool(outcome.differences) == (source != target)


def test_the_values_under_test_hold_a_negative_zero(tmp_path: Path) -> None:
    path = make(tmp_path / "z.db", KEYED, "INSERT INTO t VALUES (1, -0.0)")
    connection = apsw.Connection(str(path))
    assert str(connection.execute("SELECT v FROM t").fetchone()) == "(-0.0,)"
    connection.close()


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_text_that_is_not_valid_is_compared_by_its_bytes(tmp_path: Path, encoding: str) -> None:
    # Two lone surrogates in either encoding; decoding them leniently would make them one.
    one, other = ("x'eda080'", "x'eda081'") if encoding == "UTF-8" else ("x'00d8'", "x'01d8'")
    files = [
        make(tmp_path / f"{i}.db", KEYED, f"INSERT INTO t VALUES (1, CAST({raw} AS TEXT))", encoding=encoding)
        for i, raw in enumerate((one, one, other))
    ]
    assert compare_files(files[0], files[1], [BY_ID]).total == 0
    outcome = compare_files(files[0], files[2], [BY_ID], show_values=True)
    assert outcome.total == 1
    assert outcome.differences[0].column == "v"


def test_a_changed_value_is_named_by_key_column_and_byte_and_masked(pair: Pair) -> None:
    outcome = pair(KEYED, "INSERT INTO t VALUES (7, 'secret')", "INSERT INTO t VALUES (7, 'secreT')", BY_ID)
    (difference,) = outcome.differences
    assert (difference.kind, difference.table, difference.key) == ("changed row", "t", "id=7")
    assert (difference.column, difference.first_differing_byte) == ("v", 5)
    assert "secre" not in difference.model_dump_json()


def test_values_are_shown_when_asked_for(pair: Pair) -> None:
    outcome = pair(KEYED, "INSERT INTO t VALUES (7, 'a')", "INSERT INTO t VALUES (7, 'b')", BY_ID, show_values=True)
    assert (outcome.differences[0].source, outcome.differences[0].target) == ("a", "b")


def test_missing_and_extra_rows_are_counted_and_named(pair: Pair) -> None:
    outcome = pair(KEYED, "INSERT INTO t VALUES (1, 1), (2, 2)", "INSERT INTO t VALUES (2, 2), (3, 3), (4, 4)", BY_ID)
    assert outcome.total == 3
    assert [(d.kind, d.key) for d in outcome.differences] == [
        ("missing row", "id=1"),
        ("extra row", "id=3"),
        ("extra row", "id=4"),
    ]


def test_duplicates_count_where_no_key_names_a_row(pair: Pair) -> None:
    outcome = pair(
        KEYLESS, "INSERT INTO t VALUES (1, 1), (1, 1), (2, 2)", "INSERT INTO t VALUES (1, 1), (2, 2), (2, 2)", NO_KEY
    )
    assert outcome.total == 2
    assert {d.kind for d in outcome.differences} == {"missing row", "extra row"}


def test_all_differences_are_counted_and_twenty_named(pair: Pair) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
    outcome = pair(
        KEYED, f"INSERT INTO t {numbers} SELECT i, i FROM n", f"INSERT INTO t {numbers} SELECT i, -i FROM n", BY_ID
    )
    assert outcome.total == 1000
    assert 0 < len(outcome.differences) <= 20


def test_a_nocase_key_does_not_hide_another_case(pair: Pair) -> None:
    ddl = "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, v TEXT COLLATE NOCASE) WITHOUT ROWID"
    described = Table(
        name="t",
        columns=(Column(name="k", collation="NOCASE"), Column(name="v", collation="NOCASE")),
        primary_key=("k",),
        without_rowid=True,
    )
    outcome = pair(ddl, "INSERT INTO t VALUES ('a', 'x')", "INSERT INTO t VALUES ('A', 'X')", described)
    assert {d.column for d in outcome.differences} == {"k", "v"}
    assert outcome.total == 2


def test_null_in_a_primary_key_falls_back_to_whole_rows(pair: Pair) -> None:
    ddl = "CREATE TABLE t(k TEXT PRIMARY KEY, v)"
    described = table("t", "k", "v", key=("k",))
    same = "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('a', 2)"
    outcome = pair(ddl, same, "INSERT INTO t VALUES (NULL, 1), (NULL, 9), ('a', 2)", described)
    assert outcome.total == 2
    assert {d.kind for d in outcome.differences} == {"missing row", "extra row"}


def test_null_in_a_primary_key_can_be_equal(pair: Pair) -> None:
    same = "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('a', 2)"
    outcome = pair("CREATE TABLE t(k TEXT PRIMARY KEY, v)", same, same, table("t", "k", "v", key=("k",)))
    assert (outcome.rows, outcome.total) == (3, 0)


def test_generated_columns_are_compared(tmp_path: Path) -> None:
    snapshot = make(
        tmp_path / "a.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, v AS (id * 2))", "INSERT INTO t VALUES (1)"
    )
    rebuilt = make(
        tmp_path / "b.db", "CREATE TABLE t(id INTEGER PRIMARY KEY, v AS (id * 3))", "INSERT INTO t VALUES (1)"
    )
    outcome = compare_files(snapshot, rebuilt, [BY_ID])
    assert [d.column for d in outcome.differences] == ["v"]


def test_names_full_of_quotes_stay_names(pair: Pair) -> None:
    name = 'a"; DROP TABLE users; --'
    quoted = '"' + name.replace('"', '""') + '"'
    described = table(name, name, rowid_alias=name, key=(name,))
    outcome = pair(
        f"CREATE TABLE {quoted}({quoted} INTEGER PRIMARY KEY)",
        f"INSERT INTO {quoted} VALUES (1)",
        f"INSERT INTO {quoted} VALUES (2)",
        described,
    )
    assert outcome.total == 2


@pytest.mark.parametrize("keyed", [True, False])
def test_the_widest_tables_are_compared_in_every_column(tmp_path: Path, keyed: bool) -> None:
    # PostgreSQL holds 1600 columns; SQLite limits results to 2000 and expressions to a depth of 1000.
    names = [f"c{i}" for i in range(1600)]
    ddl = f"CREATE TABLE t({', '.join(names)}{', PRIMARY KEY (c0)' if keyed else ''})"
    values = ["1"] * 1600
    snapshot = make(tmp_path / "a.db", ddl, f"INSERT INTO t VALUES ({', '.join(values)})")
    described = table("t", *names, key=("c0",) if keyed else ())
    for changed in (1, 800, 1599):
        values_here = values.copy()
        values_here[changed] = "1.0"
        rebuilt = make(tmp_path / f"{changed}.db", ddl, f"INSERT INTO t VALUES ({', '.join(values_here)})")
        outcome = compare_files(snapshot, rebuilt, [described])
        assert outcome.total == (1 if keyed else 2)
        if keyed:
            assert outcome.differences[0].column == names[changed]


def plan_of(connection: apsw.Connection, query: str) -> list[str]:
    return [str(row[3]) for row in connection.execute("EXPLAIN QUERY PLAN " + query.replace("LIMIT ?", "LIMIT 1"))]


NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "


@pytest.mark.parametrize(
    ("ddl", "described"),
    [
        ("CREATE TABLE t(a INTEGER PRIMARY KEY, b, c)", table("t", "a", "b", "c", key=("a",), rowid_alias="a")),
        ("CREATE TABLE t(a, b, c, PRIMARY KEY (b, a)) WITHOUT ROWID", table("t", "a", "b", "c", key=("b", "a"))),
        ("CREATE TABLE t(a, b, c, PRIMARY KEY (b, a))", table("t", "a", "b", "c", key=("b", "a"))),
        (
            # The key's own index may have another collation than the column.
            "CREATE TABLE t(a, b, c, PRIMARY KEY (a COLLATE NOCASE))",
            table(
                "t",
                "a",
                "b",
                "c",
                key=("a",),
                index=Index(name="i", unique=True, origin="pk", terms=(IndexTerm(column="a", collation="NOCASE"),)),
            ),
        ),
    ],
    ids=["rowid", "without rowid", "composite", "collated index"],
)
def test_large_tables_are_joined_by_the_key_s_index(tmp_path: Path, ddl: str, described: Table) -> None:
    # A nested scan of 20,000 rows would be 400 million steps, of a million rows a night's work.
    fill = f"INSERT INTO t {NUMBERS} SELECT i, i % 100, 'x' || i FROM n"
    snapshot, rebuilt = make(tmp_path / "a.db", ddl, fill), make(tmp_path / "b.db", ddl, fill)
    connection = open_pair(snapshot, rebuilt)
    sql = KeyedSql(described)
    queries = [*sql.changed_rows(), sql.missing_keys(), sql.extra_keys(), sql.changed_values(["c"]), sql.values("c")]
    for query in queries:
        steps = plan_of(connection, query)
        assert len([step for step in steps if step.startswith("SCAN")]) == 1, steps
        assert len([step for step in steps if step.startswith("SEARCH")]) == 1, steps
        assert not [step for step in steps if "AUTOMATIC" in step], steps
    connection.close()
    outcome = compare_files(snapshot, rebuilt, [described])
    assert (outcome.rows, outcome.total) == (20000, 0)


def test_keyless_tables_are_sorted_not_joined(tmp_path: Path) -> None:
    path = make(tmp_path / "a.db", KEYLESS)
    connection = open_pair(path, make(tmp_path / "b.db", KEYLESS))
    steps = plan_of(connection, GroupedSql(NO_KEY).totals(["v"]))
    connection.close()
    assert not [step for step in steps if "SEARCH" in step or "CORRELATED" in step], steps


def test_a_collation_that_sqlite_does_not_have_is_no_key() -> None:
    described = Table(name="t", columns=(Column(name="k", collation="de_DE"),), primary_key=("k",))
    assert not usable_key(described)


def test_files_of_different_encodings_are_refused(tmp_path: Path) -> None:
    snapshot = make(tmp_path / "a.db", KEYED)
    rebuilt = make(tmp_path / "b.db", KEYED, encoding="UTF-16le")
    with pytest.raises(SourceError, match="encoding"):
        compare_files(snapshot, rebuilt, [BY_ID])


def test_a_snapshot_in_wal_mode_is_read_without_files_beside_it(tmp_path: Path) -> None:
    snapshot = make(tmp_path / "a.db", "PRAGMA journal_mode = WAL", KEYED, "INSERT INTO t VALUES (1, 1)")
    rebuilt = make(tmp_path / "b.db", KEYED, "INSERT INTO t VALUES (1, 1)")
    outcome = compare_files(snapshot, rebuilt, [BY_ID])
    assert (outcome.rows, outcome.total) == (1, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "b.db"]


def test_neither_file_is_written(tmp_path: Path) -> None:
    snapshot, rebuilt = make(tmp_path / "a.db", KEYED), make(tmp_path / "b.db", KEYED)
    connection = open_pair(snapshot, rebuilt)
    for schema in ("main", "snapshot"):
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute(f"INSERT INTO {schema}.t VALUES (1, 1)")
    connection.close()
