"""The samples keep what they promise: every other test and the demo build on them."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from data_samples import build, quirks, shapes
from data_samples.generate import VOIDED, generate, main

ROOT = Path(__file__).resolve().parents[2]
PLAIN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ISO_S = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clean") / "app.db"
    generate(path, rows=2000)
    return path


@pytest.fixture(scope="module")
def quirky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quirky") / "app.db"
    generate(path, rows=2000, variant="quirky")
    return path


def tables(connection: sqlite3.Connection) -> list[str]:
    return list(build.row_counts(connection))


def columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str, bool]]:
    """(name, declared type, NOT NULL) of each column."""
    rows = connection.execute('SELECT name, type, "notnull" FROM pragma_table_info(?)', (table,))
    return [(name, declared, bool(not_null)) for name, declared, not_null in rows]


def classes(connection: sqlite3.Connection, table: str, column: str) -> set[str]:
    return {kind for (kind,) in connection.execute(f'SELECT DISTINCT typeof("{column}") FROM "{table}"')}


def values(connection: sqlite3.Connection, table: str, column: str) -> list[object]:
    return [v for (v,) in connection.execute(f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the clean marketplace ------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [100, 137, 2000, 20_000])
def test_row_count_is_what_was_asked_for(tmp_path: Path, rows: int) -> None:
    counts = generate(tmp_path / "app.db", rows=rows)
    assert sum(counts.values()) == pytest.approx(rows, rel=0.02)
    if rows >= 2000:
        assert counts["payments"] > 0.5 * rows
    with reading(tmp_path / "app.db") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_too_few_rows_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the least is 100"):
        generate(tmp_path / "app.db", rows=99)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_sound_and_has_no_orphans(clean: Path) -> None:
    with reading(clean) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_each_column_has_one_storage_class(clean: Path) -> None:
    wanted = {"INTEGER": "integer", "BOOLEAN": "integer", "REAL": "real", "BLOB": "blob"}
    empty = []
    with reading(clean) as connection:
        for table in tables(connection):
            for name, declared, not_null in columns(connection, table):
                found = classes(connection, table, name)
                where = f"{table}.{name}"
                assert not (not_null and "null" in found), where
                found -= {"null"}
                if not found:
                    empty.append(where)
                else:
                    assert found == {wanted.get(declared, "text")}, where
    assert empty == ["users.deleted_at"]


def test_each_date_column_has_one_shape(clean: Path) -> None:
    shapes_of = {
        PLAIN: [
            "users.created_at", "properties.created_at", "properties.updated_at", "units.created_at",
            "leases.created_at", "invoices.created_at", "payments.created_at", "integrations.updated_at",
            "migrations.applied_at",
        ],
        ISO_MS: ["users.last_login_at", "leases.signed_at", "payments.paid_at", "receipts.uploaded_at"],
        DAY: ["leases.start_date", "leases.end_date", "invoices.due_date"],
    }  # fmt: skip
    seen = {"users.deleted_at"}
    with reading(clean) as connection:
        for shape, where in shapes_of.items():
            for table, column in (name.split(".") for name in where):
                texts = values(connection, table, column)
                assert texts
                assert [text for text in texts if not shape.fullmatch(str(text))] == []
                # SQLite gives the text back only if there is such a day and second.
                bad = connection.execute(
                    f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND "
                    f"replace(substr({column}, 1, 19), 'T', ' ') NOT IN "
                    f"(datetime({column}, '+0 days'), date({column}, '+0 days'))"
                )
                assert bad.fetchone() == (0,), column
                seen.add(f"{table}.{column}")
        dated = {
            f"{table}.{name}"
            for table in tables(connection)
            for name, declared, _ in columns(connection, table)
            if declared in ("DATE", "DATETIME") or name.endswith("_at")
        }
    assert dated == seen


def test_texts_are_utf8_without_nul_and_hold_the_hard_characters(clean: Path) -> None:
    everything = []
    with reading(clean) as connection:
        names = tables(connection)
        connection.text_factory = bytes
        for table in names:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                everything += [value for value in row if isinstance(value, bytes) and value[:1] != b"\x89"]
    texts = [value.decode() for value in everything]
    assert not any("\0" in text or "\ufeff" in text for text in texts)
    for wanted in ("ü", "ß", "王", "🏡", "'", '"', "\\N", "\r\n", "e\u0301"):
        assert any(wanted in text for text in texts), wanted
    assert "" in texts


def test_booleans_are_0_and_1(clean: Path) -> None:
    checked = 0
    with reading(clean) as connection:
        for table in tables(connection):
            for name, declared, _ in columns(connection, table):
                if declared == "BOOLEAN":
                    assert set(values(connection, table, name)) == {0, 1}, name
                    checked += 1
    assert checked >= 6


def test_json_columns_are_what_json_stringify_writes(clean: Path) -> None:
    with reading(clean) as connection:
        for table, column in (
            ("users", "preferences"), ("properties", "attributes"), ("leases", "terms"),
            ("payments", "metadata"), ("integrations", "config"),
        ):  # fmt: skip
            total, same = connection.execute(
                f"SELECT count({column}), sum({column} = json({column})) FROM {table}"
            ).fetchone()
            assert total > 0
            assert same == total, column


@pytest.mark.parametrize("table", ["users", "invoices", "payments"])
def test_numbers_of_deleted_rows_are_remembered(clean: Path, table: str) -> None:
    with reading(clean) as connection:
        (sequence,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        (top,) = connection.execute(f"SELECT max(id) FROM {table}").fetchone()
    assert sequence == top + VOIDED


def test_rules_of_the_schema_are_live(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    generate(path, rows=500)
    with reading(path) as connection:  # or the two deletions below would prove nothing
        assert 1 in values(connection, "receipts", "payment_id")
    refused = {
        "UPDATE users SET role = 'owner' WHERE id = 1": "CHECK",
        "UPDATE payments SET amount_cents = -1 WHERE id = 1": "CHECK",
        "UPDATE users SET email = upper((SELECT email FROM users WHERE id = 6)) WHERE id = 7": "UNIQUE",
        "INSERT INTO leases (unit_id, tenant_id, status, start_date, rent_cents) "
        "SELECT unit_id, tenant_id, status, start_date, 1 FROM leases WHERE status = 'active' LIMIT 1": "UNIQUE",
        "UPDATE invoices SET (lease_id, period) = (SELECT lease_id, period FROM invoices WHERE id = 1) "
        "WHERE id = 2": "UNIQUE",
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement, rule in refused.items():
            with pytest.raises(sqlite3.IntegrityError, match=rule):
                connection.execute(statement)
        connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            connection.execute("DELETE FROM users WHERE id = (SELECT tenant_id FROM leases LIMIT 1)")
        connection.execute("INSERT INTO users (id, email, password_hash, full_name) VALUES (900, 'x@y', '', 'X')")
        connection.execute("UPDATE users SET referred_by = 900 WHERE id = 6")
        connection.execute("DELETE FROM users WHERE id = 900")
        assert connection.execute("SELECT referred_by FROM users WHERE id = 6").fetchone() == (None,)
        connection.execute("DELETE FROM payments WHERE id = 1")
        assert connection.execute("SELECT count(*) FROM receipts WHERE payment_id = 1").fetchone() == (0,)


def test_addresses_that_differ_beyond_ascii_stay_two(clean: Path) -> None:
    """citext or a locale's lower() would make one of them and refuse the row."""
    with reading(clean) as connection:
        found = connection.execute("SELECT email FROM users WHERE email LIKE '%lodie@%' ORDER BY id").fetchall()
    assert [email.lower() for (email,) in found] == ["élodie@example.org"] * 2
    assert found[0] != found[1]


# --- the same again, and where it is written ----------------------------------------------------------------


@pytest.mark.parametrize("variant", ["clean", "quirky"])
def test_same_arguments_same_bytes(tmp_path: Path, variant: str) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(tmp_path / name, rows=600, seed=seed, variant=variant)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert sha256(tmp_path / "a") != sha256(tmp_path / "c")


def test_journal_mode_changes_the_header_and_no_row(tmp_path: Path) -> None:
    generate(tmp_path / "delete.db", rows=300)
    generate(tmp_path / "wal.db", rows=300, journal="wal")
    assert {path.name for path in tmp_path.iterdir()} == {"delete.db", "wal.db"}
    assert (tmp_path / "delete.db").read_bytes()[18:20] == b"\x01\x01"
    assert (tmp_path / "wal.db").read_bytes()[18:20] == b"\x02\x02"
    dumps = []
    for name in ("delete.db", "wal.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]


def test_an_existing_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="--force"):
        generate(path, rows=200)
    assert path.read_bytes() == b"mine"
    generate(path, rows=200, force=True)
    assert path.read_bytes().startswith(b"SQLite format 3\0")


def test_a_leftover_wal_is_refused_even_by_force(tmp_path: Path) -> None:
    """SQLite would replay it into the new file."""
    path = tmp_path / "app.db"
    path.with_name("app.db-wal").write_bytes(b"frames")
    with pytest.raises(FileExistsError, match=r"app\.db-wal"):
        generate(path, rows=200, force=True)
    assert not path.exists()


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    def fail() -> None:
        with build.new_database(tmp_path / "app.db", journal="wal") as connection:
            connection.execute("CREATE TABLE t (a)")
            raise Broken

    with pytest.raises(Broken):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_commands_run_as_scripts_from_anywhere(tmp_path: Path) -> None:
    for script, arguments, last in (
        ("generate.py", ["app.db", "--rows", "400", "--journal", "wal"], "400 rows"),
        ("shapes.py", ["utf16", "text.db", "--rows", "20", "--encoding", "UTF-16be"], "40 rows"),
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / "data_samples" / script), *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1].startswith(last)


def test_command_line_refuses_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        ([str(tmp_path / "a.db"), "--rows", "5"], "the least is 100"),
        ([str(tmp_path / "no" / "a.db")], "no such folder"),
        ([str(tmp_path / "a.db"), "--rows", "500", "--scale", "small"], "not allowed with"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# --- the quirky marketplace ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [100, 2000])
def test_quirky_has_three_orphans_and_is_sound_otherwise(tmp_path: Path, rows: int) -> None:
    generate(tmp_path / "app.db", rows=rows, variant="quirky")
    with reading(tmp_path / "app.db") as connection:
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
        assert sorted((table, rowid, parent) for table, rowid, parent, _ in orphans) == [
            ("payments", 2, "invoices"),
            ("properties", 3, "users"),
            ("receipts", 2, "payments"),
        ]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_quirky_money_is_a_hair_beside_the_cent(quirky: Path) -> None:
    with reading(quirky) as connection:
        kinds = dict(connection.execute("SELECT typeof(amount_cents), count(*) FROM payments GROUP BY 1").fetchall())
        reals = {v for v in values(connection, "payments", "amount_cents") if isinstance(v, float)}
    assert kinds["real"] == sum(kinds.values()) // quirks.MONEY_EVERY
    assert {struct.pack(">d", value) for value in reals if isinstance(value, float)} == {
        struct.pack(">d", value) for value in (1998.9999999999998, 434.99999999999994, 110.00000000000001)
    }


@pytest.mark.parametrize(
    ("table", "column", "found"),
    [
        ("users", "last_login_at", {"null", "text", "integer"}),
        ("users", "newsletter", {"null", "text", "integer"}),
        ("units", "floor", {"null", "text", "integer"}),
        ("receipts", "scan", {"null", "text", "blob"}),
    ],
)
def test_quirky_columns_of_several_classes(quirky: Path, table: str, column: str, found: set[str]) -> None:
    with reading(quirky) as connection:
        assert classes(connection, table, column) == found


def test_quirky_values(quirky: Path) -> None:
    with reading(quirky) as connection:
        connection.text_factory = bytes

        def value(sql: str) -> object:
            return connection.execute(sql).fetchone()[0]

        assert value("SELECT description FROM properties WHERE id = 2") == b"vor\x00nach"
        assert value("SELECT note FROM payments WHERE id = 4") == b"\xffA"
        assert value("SELECT newsletter FROM users WHERE id = 3") == 2
        assert value("SELECT newsletter FROM users WHERE id = 4") == b"true"
        assert value("SELECT last_login_at FROM users WHERE id = 5") == 1_704_067_200_005
        assert value("SELECT count(*) FROM units WHERE floor = ''") == 2
        assert value("SELECT scan FROM receipts WHERE id = 4") == b"\\x6162"
        lengths = {length for (length,) in connection.execute("SELECT length(updated_at) FROM properties")}
    assert lengths == {10, 19, 20, 23, 25}


def test_quirky_objects(quirky: Path) -> None:
    with reading(quirky) as connection:
        kinds = {(kind, name) for kind, name in connection.execute("SELECT type, name FROM sqlite_schema")}
        assert {("view", "active_leases"), ("view", "lease_balances"), ("trigger", "properties_search")} <= kinds
        assert {f"properties_fts_{part}" for part in ("data", "idx", "content", "docsize", "config")} <= {
            name for _, name in kinds
        }
        found = connection.execute("SELECT count(*) FROM properties_fts WHERE properties_fts MATCH 'Balkon'")
        assert found.fetchone()[0] > 0
        assert connection.execute("SELECT count(*) FROM active_leases").fetchone()[0] > 0
        with pytest.raises(sqlite3.OperationalError, match="paid_cents"):
            connection.execute("SELECT * FROM lease_balances")
        hidden = dict(connection.execute("SELECT name, hidden FROM pragma_table_xinfo('deposits')").fetchall())
        assert (hidden["total_cents"], hidden["label"]) == (2, 3)
        copies = connection.execute("SELECT max(n) FROM (SELECT count(*) n FROM audit_log GROUP BY actor, action, at)")
        assert copies.fetchone() == (3,)
        assert connection.execute("SELECT name FROM pragma_table_info('audit_log') WHERE pk > 0").fetchall() == []
        terms = connection.execute("SELECT cid FROM pragma_index_info('idx_properties_slug')").fetchall()
        assert terms == [(-2,)]


def test_quirky_is_the_clean_one_elsewhere(clean: Path, quirky: Path) -> None:
    untouched = ("leases", "lease_tenants", "invoices", "integrations", "migrations")
    with reading(clean) as one, reading(quirky) as other:
        for table in untouched:
            assert (
                one.execute(f"SELECT * FROM {table}").fetchall() == other.execute(f"SELECT * FROM {table}").fetchall()
            )


# --- other shapes ----------------------------------------------------------------------------------------------

SMALL: dict[str, dict[str, int]] = {
    "chinook": {},
    "northwind": {},
    "many-tables": {"tables": 30, "rows": 10},
    "wide-table": {"columns": 60, "rows": 80},
    "utf16": {"rows": 60},
    "bench-table": {"rows": 3000},
}


def test_every_shape_is_tried_here() -> None:
    assert set(SMALL) == set(shapes.SHAPES)


@pytest.mark.parametrize("shape", sorted(shapes.SHAPES))
def test_shapes_are_sound_and_repeatable(tmp_path: Path, shape: str) -> None:
    make: Callable[..., dict[str, int]] = shapes.SHAPES[shape]
    counts = make(tmp_path / "a", seed=3, **SMALL[shape])
    make(tmp_path / "b", seed=3, **SMALL[shape])
    make(tmp_path / "c", seed=4, **SMALL[shape])
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    assert sha256(tmp_path / "a") != sha256(tmp_path / "c")
    with reading(tmp_path / "a") as connection:
        assert build.row_counts(connection) == counts
        assert min(counts.values()) > 0
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in counts:
            for name, declared, _ in columns(connection, table):
                found = classes(connection, table, name) - {"null"}
                if declared.startswith(("NUMERIC", "DECIMAL")):
                    assert found <= {"integer", "real"}, name
                else:
                    assert len(found) <= 1, name


@pytest.mark.parametrize(
    ("shape", "table", "column"),
    [("chinook", "Track", "UnitPrice"), ("chinook", "Invoice", "Total"), ("northwind", "Order Details", "UnitPrice")],
)
def test_money_of_the_shops_is_whole_cents_in_two_classes(tmp_path: Path, shape: str, table: str, column: str) -> None:
    shapes.SHAPES[shape](tmp_path / "shop.db")
    with reading(tmp_path / "shop.db") as connection:
        assert classes(connection, table, column) == {"integer", "real"}
        amounts = values(connection, table, column)
    assert all(isinstance(amount, int | float) and round(amount, 2) == amount for amount in amounts)


def test_declared_lengths_hold_in_chinook(tmp_path: Path) -> None:
    shapes.chinook(tmp_path / "shop.db")
    checked = 0
    with reading(tmp_path / "shop.db") as connection:
        for table in tables(connection):
            for name, declared, _ in columns(connection, table):
                limit = re.fullmatch(r"NVARCHAR\((\d+)\)", declared)
                if limit:
                    longest = connection.execute(f"SELECT max(length({name})) FROM {table}").fetchone()[0]
                    assert longest is None or longest <= int(limit[1]), name
                    checked += 1
        invoices = connection.execute(
            "SELECT count(*) FROM Invoice i WHERE abs(Total - "
            "(SELECT sum(UnitPrice * Quantity) FROM InvoiceLine l WHERE l.InvoiceId = i.InvoiceId)) > 0.001"
        )
        assert invoices.fetchone() == (0,)
    assert checked > 10


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_utf16_order_is_not_that_of_utf8(tmp_path: Path, encoding: str) -> None:
    shapes.utf16(tmp_path / "text.db", encoding=encoding)
    with reading(tmp_path / "text.db") as connection:
        assert connection.execute("PRAGMA encoding").fetchone() == (encoding,)
        ordered = [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]
    assert sorted(ordered) != ordered


def test_unknown_encoding_or_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="memory"):
        shapes.chinook(tmp_path / "shop.db", journal="memory")
    with pytest.raises(ValueError, match="latin-1"):
        shapes.utf16(tmp_path / "text.db", encoding="latin-1")
    assert list(tmp_path.iterdir()) == []


def test_bench_table_is_the_table_of_the_benchmarks(tmp_path: Path) -> None:
    shapes.bench_table(tmp_path / "big.db", rows=5000)
    with reading(tmp_path / "big.db") as connection:
        found = columns(connection, "big")
        assert [declared for _, declared, _ in found] == [
            "INTEGER", "INTEGER", "INTEGER", "REAL", "TEXT", "DATETIME", "BOOLEAN", "BLOB",
        ]  # fmt: skip
        assert [text for text in values(connection, "big", "made") if not ISO_S.fullmatch(str(text))] == []
        assert set(values(connection, "big", "flag")) == {0, 1}
        for name, _, not_null in found[1:]:
            nulls = connection.execute(f"SELECT count(*) FROM big WHERE {name} IS NULL").fetchone()[0]
            assert (nulls == 0) == not_null, name
