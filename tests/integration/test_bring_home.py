"""What the application wrote to Postgres comes home to SQLite exactly, whatever it is, or nothing does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from support import cases
from support.pipeline import Pipeline
from support.two_sides import TwoSides, two_sides, two_sides_of

from nasmigrate.core.errors import StateError, TransferError
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.row_versions import see_moment
from nasmigrate.schema.changes import Counts
from nasmigrate.schema.home import HomeChanges, Update
from nasmigrate.schema.ledger import is_pending
from nasmigrate.sqlite.apply import apply_home, prepare
from nasmigrate.sqlite.write_back import RowRefused
from nasmigrate.verify.from_versions import FromVersions, NotTold
from nasmigrate.workflows.bring_home import ValuesOutsideCodec, bring_home

SOURCE = """
CREATE TABLE owner (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, boss INTEGER REFERENCES owner (id));
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    made DATETIME,
    price REAL,
    pic BLOB,
    owner INTEGER REFERENCES owner (id) ON DELETE CASCADE ON UPDATE CASCADE,
    twice GENERATED ALWAYS AS (id * 2) VIRTUAL,
    UNIQUE (owner, name) ON CONFLICT REPLACE
);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE tag (label TEXT NOT NULL PRIMARY KEY, weight REAL);
CREATE UNIQUE INDEX heaviest ON tag (weight) WHERE weight > 100;
CREATE TABLE nick (name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v INTEGER);
CREATE TABLE log (line TEXT, n INTEGER, pic BLOB);
CREATE TABLE hen (id INTEGER PRIMARY KEY, egg INTEGER REFERENCES egg (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE egg (id INTEGER PRIMARY KEY, hen INTEGER NOT NULL REFERENCES hen (id));
CREATE TABLE "%s odd "" name" (id INTEGER PRIMARY KEY, "a'%%b" TEXT, made DATETIME);
CREATE TABLE later (id INTEGER PRIMARY KEY, v TEXT);
CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT);
CREATE TRIGGER item_gone AFTER DELETE ON item BEGIN INSERT INTO audit (what) VALUES ('gone ' || old.id); END;
CREATE TRIGGER item_changed AFTER UPDATE ON item BEGIN INSERT INTO audit (what) VALUES ('changed ' || old.id); END;
CREATE TRIGGER pair_never BEFORE INSERT ON pair WHEN new.b > 900 BEGIN SELECT RAISE(ABORT, 'never'); END;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
INSERT INTO owner SELECT i, 'code' || i, nullif(i / 2, 0) FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
INSERT INTO item SELECT i, 'item' || i, strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 5003, 'unixepoch'), i / 7.0,
    CASE WHEN i % 10 THEN x'00ff' ELSE 'text' || i END, 1 + i % 20 FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO pair SELECT char(96 + i % 7), i, 'v' || i FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO tag (rowid, label, weight) SELECT i * 10, 'ä' || i, i * 0.1 FROM n;
UPDATE tag SET weight = 101 WHERE label = 'ä1';
UPDATE tag SET weight = 102 WHERE label = 'ä2';
INSERT INTO nick VALUES ('Anna', 1), ('BERT', 2), ('cäsar', 3);
INSERT INTO log VALUES ('same', 1, NULL), ('same', 1, NULL), ('other', 2, 'text'), (NULL, 3, x'00'),
    ('other', 2, x'74');
INSERT INTO hen VALUES (1, NULL), (2, NULL);
INSERT INTO egg VALUES (1, 1), (2, 2);
UPDATE hen SET egg = 3 - id;
INSERT INTO "%s odd "" name" VALUES (1, 'x', '2024-01-01 00:00:00'), (2, NULL, NULL);
"""

CHANGES = {
    "nothing": "SELECT 1",
    "inserted everywhere": """
        INSERT INTO item (name, owner, price, pic)
            SELECT 'new' || i, 1 + i % 20, i, '\\x0102' FROM generate_series(1, 50) i;
        INSERT INTO item (id, name) OVERRIDING SYSTEM VALUE VALUES (-5, 'low'), (100000, 'high');
        INSERT INTO pair VALUES ('', 0, NULL), ('d', 1000, 'x'), ('zz', 901, 'y');
        INSERT INTO nick VALUES ('Dora', 4); INSERT INTO log VALUES ('same', 1, NULL), ('new', NULL, '\\xff');
        INSERT INTO tag VALUES ('ä99', 'Infinity')""",
    "updated in every table": """
        UPDATE owner SET code = code || 'x' WHERE id % 3 = 0;
        UPDATE item SET price = -0.5, made = NULL WHERE id % 9 = 0;
        UPDATE pair SET v = NULL WHERE b % 5 = 0; UPDATE tag SET weight = 1e30 WHERE label = 'ä3';
        UPDATE nick SET v = 9; UPDATE log SET n = 7 WHERE line = 'same';
        UPDATE "%s odd "" name" SET "a'%%b" = '%s'""",
    "deleted here and there": """
        DELETE FROM item WHERE id % 4 = 0; DELETE FROM pair WHERE a = 'c'; DELETE FROM tag WHERE label = 'ä7';
        DELETE FROM nick WHERE v = 2; DELETE FROM log WHERE line IS NULL""",
    "all rows deleted": """
        DELETE FROM item; UPDATE owner SET boss = NULL; DELETE FROM owner; DELETE FROM pair; DELETE FROM log;
        DELETE FROM nick; UPDATE hen SET egg = NULL; DELETE FROM egg; DELETE FROM hen; DELETE FROM audit""",
    "an empty table filled": "INSERT INTO later SELECT i * 3, 'later' || i FROM generate_series(1, 500) i",
    "two rows swap a unique value": """
        UPDATE owner SET code = 'temporary' WHERE id = 3; UPDATE owner SET code = 'code3' WHERE id = 4;
        UPDATE owner SET code = 'code4' WHERE id = 3""",
    "two rows swap a value that is unique under a condition": """
        UPDATE tag SET weight = 103 WHERE label = 'ä1'; UPDATE tag SET weight = 101 WHERE label = 'ä2';
        UPDATE tag SET weight = 102 WHERE label = 'ä1'""",
    "two rows swap their keys": """
        UPDATE item SET id = -1 WHERE id = 7; UPDATE item SET id = 7 WHERE id = 93;
        UPDATE item SET id = 93 WHERE id = -1;
        UPDATE tag SET label = 'q' WHERE label = 'ä1'; UPDATE tag SET label = 'ä1' WHERE label = 'ä40';
        UPDATE tag SET label = 'ä40' WHERE label = 'q'""",
    "a unique value goes to a new row": """
        DELETE FROM item WHERE owner = 20; DELETE FROM owner WHERE id = 20;
        INSERT INTO owner VALUES (21, 'code20', 3)""",
    "a row with the unique value of another, which goes to a third": """
        DELETE FROM item WHERE id = 1; UPDATE item SET name = 'item1', owner = 2 WHERE id = 21;
        INSERT INTO item (name, owner) VALUES ('item21', 2)""",
    "a cascade in Postgres": "UPDATE owner SET boss = NULL; UPDATE owner SET id = 500 WHERE id = 5;"
    "DELETE FROM owner WHERE id = 6",
    "a tree turned around": "UPDATE owner SET boss = 21 - id",
    "a cycle of two tables replaced": """
        UPDATE hen SET egg = NULL; DELETE FROM egg; DELETE FROM hen; INSERT INTO hen VALUES (8, NULL);
        INSERT INTO egg VALUES (8, 8); UPDATE hen SET egg = 8""",
    "a value that had an original changed, another touched beside it": """
        UPDATE item SET pic = '\\x00' WHERE id = 10; UPDATE item SET price = 1 WHERE id = 20""",
    "a key changed only in its case": "UPDATE nick SET name = upper(name)",
    "large rows": """
        INSERT INTO later VALUES (5, repeat('x', 1400000));
        UPDATE log SET pic = decode(repeat('00', 3000000), 'hex')""",
    "every key moved": "UPDATE item SET id = id + 1000000; UPDATE pair SET b = -b",
}


def make(pipeline: Pipeline, folder: Path, script: str = SOURCE, *, chunk_rows: int = 16) -> TwoSides:
    return two_sides_of(pipeline, folder, script, chunk_rows=chunk_rows)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_comes_home_exactly(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(CHANGES[name])
    planned = sides.survey()
    assert planned.outside == ()
    done = sides.bring_home()
    assert done.counts == planned.counts
    assert (done.changed_rows > 0) == (name != "nothing")
    sides.assert_home()
    again = sides.bring_home()
    assert again.changed_rows == 0


def test_rows_that_were_not_touched_keep_their_bytes_and_their_place(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    before = {table: sides.stored(table) for table in ("item", "tag", "log")}
    sides.postgres(
        "UPDATE item SET price = 1 WHERE id IN (10, 30); UPDATE tag SET weight = 7 WHERE label = 'ä5';"
        "DELETE FROM log WHERE line = 'other' AND pic = '\\x74'"
    )
    done = sides.bring_home()
    assert done.counts["item"] == Counts(updated=2)
    after = {table: sides.stored(table) for table in before}
    assert {rowid for rowid in before["item"] if before["item"][rowid] != after["item"][rowid]} == {10, 30}
    # The original beside the changed value is as it was: text in a BLOB column.
    assert after["item"][10][8:10] == (b"text", b"text10")
    assert {rowid for rowid in before["tag"] if before["tag"][rowid] != after["tag"][rowid]} == {50}
    assert after["log"] == {rowid: row for rowid, row in before["log"].items() if rowid != 5}
    assert sides.stored("audit") == {}


@pytest.mark.parametrize("by_versions", [True, False])
def test_passes_add_up_in_one_transaction(pipeline: Pipeline, tmp_path: Path, *, by_versions: bool) -> None:
    sides = make(pipeline, tmp_path)
    these = sides.homecoming(sides.schema())
    with connected(pipeline.conninfo) as connection, closing(sides.writer()) as live:
        sides.postgres(CHANGES["inserted everywhere"])
        first = bring_home(connection, live, these, sides.ledger)
        connection.rollback()
        sides.postgres(CHANGES["updated in every table"])
        second = bring_home(connection, live, these, first.ledger, first.seen if by_versions else None)
        connection.rollback()
        sides.postgres(CHANGES["deleted here and there"])
        third = bring_home(connection, live, these, second.ledger, second.seen if by_versions else None)
        assert bring_home(connection, live, these, third.ledger).changed_rows == 0
        live.execute("COMMIT")
    sides.assert_home()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t RENAME TO before; ALTER TABLE twin RENAME TO t",
        "ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME c TO b",
        "ALTER TABLE t DROP a, ADD a text DEFAULT 'fast'",
        "ALTER TABLE t ALTER a TYPE word USING a::word",
        "CREATE TABLE child () INHERITS (t)",
    ],
)
def test_what_row_versions_do_not_tell_is_compared(pipeline: Pipeline, tmp_path: Path, change: str) -> None:
    rows = "INSERT INTO t VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2')"
    sides = make(pipeline, tmp_path, f"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT); {rows}")
    sides.postgres(
        "CREATE TABLE twin (LIKE t INCLUDING ALL); INSERT INTO twin SELECT id, b, a FROM t;"
        "CREATE TYPE word AS ENUM ('a1', 'a2')"
    )
    with connected(pipeline.conninfo) as target, closing(sides.writer()) as live:
        first = bring_home(target, live, sides.homecoming(sides.schema()), sides.ledger)
        target.rollback()
        sides.postgres(change)
        now = see_moment(target, sides.plan)
        with pytest.raises(NotTold):
            FromVersions(target, live, sides.plan, sides.schema(), since=first.seen, now=now).table(
                "t", first.ledger["t"]
            )


def test_rows_come_home_past_chunks_whose_digests_nobody_made(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET price = 3 WHERE id % 10 = 1; UPDATE tag SET weight = 3 WHERE label = 'ä9'")
    sides.catch_up(by_pages=True)
    assert any(map(is_pending, sides.ledger["item"]))
    sides.postgres(CHANGES["updated in every table"])
    sides.postgres("DELETE FROM item WHERE id = 12; INSERT INTO item (name) VALUES ('new')")
    sides.bring_home()
    sides.assert_home()


@pytest.mark.parametrize("without_rowid", ["", "WITHOUT ROWID"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE nc SET v = 100 WHERE k = 'a'",
        "DELETE FROM nc WHERE k = 'A'; UPDATE nc SET k = 'A' WHERE k = 'a'",
        "UPDATE nc SET k = 'x' WHERE k = 'a'; UPDATE nc SET k = 'a' WHERE k = 'A'; UPDATE nc SET k = 'A' WHERE k = 'x'",
        "UPDATE nc SET v = v + 10, w = w || k",
        "DELETE FROM nc WHERE k = 'a'",
    ],
)
def test_rows_that_differ_in_case_alone_are_two(
    pipeline: Pipeline, tmp_path: Path, change: str, without_rowid: str
) -> None:
    shape = f"(k TEXT NOT NULL COLLATE NOCASE, v INTEGER, w TEXT, PRIMARY KEY (k COLLATE BINARY)) {without_rowid}"
    sides = make(
        pipeline,
        tmp_path,
        f"CREATE TABLE nc {shape}; INSERT INTO nc VALUES ('a', 1, 'x'), ('A', 2, 'y'), ('b', 3, 'z')",
    )
    sides.postgres(change)
    sides.bring_home()
    sides.assert_home()


def test_rows_of_a_table_that_inherits_are_not_this_tables(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(
        "CREATE TABLE item_2025 () INHERITS (item); INSERT INTO item_2025 (id, name) VALUES (1, 'of the child');"
        "CREATE TABLE log_2025 () INHERITS (log); INSERT INTO log_2025 VALUES ('of the child', 1, NULL);"
        "UPDATE item SET price = 3 WHERE id = 1; UPDATE log SET n = 8 WHERE n = 3"
    )
    done = sides.bring_home()
    assert done.counts == {"item": Counts(updated=1), "log": Counts(inserted=1, deleted=1)}
    sides.postgres("DROP TABLE item_2025, log_2025")
    sides.assert_home()


def test_sequences_are_the_larger_of_both(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres("INSERT INTO item (name) VALUES ('a'), ('b'); DELETE FROM item WHERE id > 100")
    sides.bring_home()
    with closing(sqlite3.connect(sides.live)) as connection:
        assert connection.execute("SELECT * FROM sqlite_sequence").fetchall() == [("item", 102)]
        connection.execute("INSERT INTO item (name) VALUES ('next')")
        assert connection.execute("SELECT max(id) FROM item").fetchone() == (103,)


# -- what stops it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "column", "key"),
    [
        ("UPDATE item SET price = 'NaN' WHERE id = 3", "price", "id=3"),
        ("UPDATE item SET made = '-infinity' WHERE id = 3", "made", "id=3"),
        ("UPDATE item SET made = '10000-01-01' WHERE id = 3", "made", "id=3"),
        ("ALTER TABLE item ALTER made TYPE timestamp(6); UPDATE item SET made = '2024-01-01 00:00:00.5' WHERE id = 3",
         "made", "id=3"),
        ("INSERT INTO item (id, name, price) OVERRIDING SYSTEM VALUE VALUES (700, 'x', 'NaN')", "price", "id=700"),
    ],
)  # fmt: skip
def test_a_value_outside_its_codec_stops_and_is_named(
    pipeline: Pipeline, tmp_path: Path, change: str, column: str, key: str
) -> None:
    sides = make(pipeline, tmp_path)
    before = sides.live.read_bytes()
    sides.postgres(change)
    (found,) = sides.survey().outside
    assert (found.table, found.column, found.key) == ("item", column, key)
    with pytest.raises(ValuesOutsideCodec) as raised:
        sides.bring_home()
    assert raised.value.exit_code == 9
    assert raised.value.details["count"] == 1
    assert sides.live.read_bytes() == before


# -- values that are one to Postgres and not to SQLite ---------------------------------------------------------------

MIXED = """
CREATE TABLE loose (a, b TEXT);
INSERT INTO loose VALUES (5, 'five'), ('5', 'five-text'), (x'01', 'blob'), (x'02', 'blob');
CREATE TABLE twins (a, b TEXT);
INSERT INTO twins VALUES (5, 'same'), ('5', 'same'), (x'01', 'blob'), (x'02', 'blob'), (x'03', 'blob');
CREATE TABLE keyed (id INTEGER PRIMARY KEY, a, b TEXT, c TEXT);
INSERT INTO keyed VALUES (1, 5, 'x', 'one'), (2, '5', 'x', 'two'), (3, x'01', 'y', 'three'), (4, x'02', 'y', 'four');
"""
KEPT = {
    "loose": (
        "UPDATE loose SET b = 'changed' WHERE b = 'five-text'",
        "SELECT typeof(a), b FROM loose WHERE b IN ('five', 'changed') ORDER BY 1",
        [("integer", "five"), ("text", "changed")],
    ),
    "a new value beside it": (
        "INSERT INTO loose VALUES ('5', 'new')",
        "SELECT typeof(a), b FROM loose WHERE a IN (5, '5', x'35') ORDER BY 1",
        [("blob", "new"), ("integer", "five"), ("text", "five-text")],
    ),
    "equal rows, all changed alike": (
        "UPDATE twins SET b = 'both' WHERE b = 'same'",
        "SELECT typeof(a), b FROM twins WHERE b = 'both' ORDER BY 1",
        [("integer", "both"), ("text", "both")],
    ),
    "a new key": (
        "UPDATE keyed SET id = id + 100, c = c || '!'",
        "SELECT id, typeof(a) FROM keyed ORDER BY 1",
        None,
    ),
    "a new key alone": (
        "UPDATE keyed SET id = id + 100",
        "SELECT id, typeof(a) FROM keyed ORDER BY 1",
        [(101, "integer"), (102, "text"), (103, "blob"), (104, "blob")],
    ),
    "keys exchanged": (
        "UPDATE keyed SET id = -1 WHERE id = 1; UPDATE keyed SET id = 1 WHERE id = 3;"
        "UPDATE keyed SET id = 3 WHERE id = -1",
        "SELECT id, typeof(a), c FROM keyed ORDER BY 1",
        [(1, "blob", "three"), (2, "text", "two"), (3, "integer", "one"), (4, "blob", "four")],
    ),
    "one column, at a key that stays": (
        "UPDATE keyed SET a = '6' WHERE id = 1; UPDATE keyed SET a = '5' WHERE id = 3",
        "SELECT id, typeof(a) FROM keyed ORDER BY 1",
        [(1, "blob"), (2, "text"), (3, "blob"), (4, "blob")],
    ),
    "one of equal rows deleted": (
        "DELETE FROM twins WHERE ctid = (SELECT min(ctid) FROM twins WHERE b = 'same')",
        "SELECT 1",
        None,
    ),
    "rows that may be either": ("UPDATE loose SET b = b || '!' WHERE a = '5'", "SELECT 1", None),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_value_keeps_its_class_or_stops(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    sides = make(pipeline, tmp_path, MIXED)
    change, query, expected = KEPT[name]
    sides.postgres(change)
    outside = sides.survey().outside
    if expected is None:
        # The dry run says it, and so does the run; nothing is written.
        before = sides.live.read_bytes()
        assert outside
        assert all(value.column == "a" and "cannot be told" in value.value for value in outside)
        with pytest.raises(ValuesOutsideCodec):
            sides.bring_home()
        assert sides.live.read_bytes() == before
        return
    assert outside == ()
    sides.bring_home()
    with closing(sqlite3.connect(sides.live)) as connection:
        assert connection.execute(query).fetchall() == expected
    sides.assert_home()


def test_text_with_invalid_bytes_in_a_column_that_held_none_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    rows = "INSERT INTO t VALUES ('a', 1), ('b', 2), (x'00', 3)"
    sides = make(pipeline, tmp_path, f"CREATE TABLE t (c BLOB, n INTEGER); {rows}")
    sides.postgres("UPDATE t SET c = '\\xff' WHERE n = 1")
    (found,) = sides.survey().outside
    assert (found.table, found.column) == ("t", "c")
    with pytest.raises(ValuesOutsideCodec):
        sides.bring_home()


def test_what_affinity_would_change_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(
        pipeline, tmp_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC); INSERT INTO t VALUES (1, 'a')"
    )
    sides.postgres("UPDATE t SET n = ' 12 '")
    with pytest.raises(TransferError) as raised:
        sides.bring_home()
    assert raised.value.code in ("NM0906", "NM0907")


def test_a_constraint_of_the_file_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(
        pipeline,
        tmp_path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0)); INSERT INTO t VALUES (1, 1)",
    )
    sides.postgres("ALTER TABLE t DROP CONSTRAINT t_check1; UPDATE t SET n = -1")
    with pytest.raises(RowRefused):
        sides.bring_home()


def test_rows_come_home_past_checks_and_triggers_that_call_functions_of_the_application(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    live = tmp_path / "live.db"
    cases.build("T92-functions-of-the-application", live)
    with closing(sqlite3.connect(live)) as connection:
        connection.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))")
    sides = two_sides(pipeline, live)
    sides.postgres(
        "INSERT INTO people (email) VALUES ('cid@example.org'); UPDATE people SET email = 'x@y' WHERE id = 1;"
        "DELETE FROM people WHERE id = 2; INSERT INTO posts (title, slug) VALUES ('New', 'new');"
        "UPDATE posts SET title = 'Old' WHERE id = 1; INSERT INTO t (n) VALUES (1)"
    )
    assert sides.bring_home().changed_rows == 6
    sides.assert_equal()
    with closing(sqlite3.connect(live)) as connection:
        assert connection.execute("SELECT * FROM people").fetchall() == [(1, "x@y"), (3, "cid@example.org")]
        assert connection.execute("SELECT * FROM posts").fetchall() == [(1, "Old", "first-words"), (2, "New", "new")]
    # The CHECKs of other tables act as ever, whatever was set aside before them.
    sides.postgres("ALTER TABLE t DROP CONSTRAINT t_check1; UPDATE t SET n = -1; UPDATE people SET email = 'z@y'")
    with pytest.raises(RowRefused, match="table t"):
        sides.bring_home()


def test_a_row_without_parent_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres("ALTER TABLE item DROP CONSTRAINT item_owner_fkey; DELETE FROM owner WHERE id = 20")
    with pytest.raises(TransferError) as raised:
        sides.bring_home()
    assert raised.value.code == "NM0905"


def test_a_row_that_is_not_there_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    with closing(sides.writer()) as live:
        change = HomeChanges(table="tag", columns=("label", "weight"), place=("label",))
        change.updated.add(Update(("nobody",), (0,), ("x",)))
        with pytest.raises(TransferError) as raised:
            apply_home(live, sides.schema(), sides.plan, [change])
        assert raised.value.code == "NM0904"
        change = HomeChanges(table="pair", columns=("a", "b", "v"), place=("a", "b"))
        change.deleted.add(("a", 12345))
        with pytest.raises(TransferError) as raised:
            apply_home(live, sides.schema(), sides.plan, [change])
        assert raised.value.details == {"table": "pair", "planned": 1, "counted": 0}


def test_triggers_and_foreign_keys_must_be_off(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    with closing(apsw.Connection(str(sides.live))) as live:
        with pytest.raises(StateError):
            apply_home(live, sides.schema(), sides.plan, [])
        live.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError):
            apply_home(live, sides.schema(), sides.plan, [])
        live.execute("ROLLBACK")
        prepare(live)
        live.execute("BEGIN IMMEDIATE")
        apply_home(live, sides.schema(), sides.plan, [])


# -- full-text indexes ----------------------------------------------------------------------------------------------

FULL_TEXT = """
CREATE TABLE page (id INTEGER PRIMARY KEY, title TEXT, body TEXT);
INSERT INTO page VALUES (1, 'one', 'alpha'), (2, 'two', 'beta');
CREATE VIRTUAL TABLE page_fts USING fts5(title, body, content='page', content_rowid='id');
CREATE VIRTUAL TABLE page_fts4 USING "fts4"(title, body, content="page");
CREATE VIRTUAL TABLE own USING fts5(words);
INSERT INTO page_fts (page_fts) VALUES ('rebuild');
INSERT INTO page_fts4 (page_fts4) VALUES ('rebuild');
CREATE TRIGGER page_added AFTER INSERT ON page BEGIN
    INSERT INTO page_fts (rowid, title, body) VALUES (new.id, new.title, new.body);
END;
"""


def test_full_text_indexes_over_a_table_are_rebuilt(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path, FULL_TEXT)
    sides.postgres("INSERT INTO page VALUES (3, 'three', 'gamma'); UPDATE page SET body = 'delta' WHERE id = 1")
    sides.bring_home()
    assert sides.full_text.rebuilt == ("page_fts", "page_fts4")
    assert sides.full_text.named == ("own",)
    with closing(sqlite3.connect(sides.live)) as connection:
        for index in sides.full_text.rebuilt:
            found = connection.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH 'gamma OR delta'").fetchall()
            assert sorted(found) == [(1,), (3,)]
            assert connection.execute(f"SELECT rowid FROM {index} WHERE {index} MATCH 'alpha'").fetchall() == []
        connection.execute("INSERT INTO page_fts (page_fts) VALUES ('integrity-check')")
