"""What the application writes while the copy runs reaches Postgres exactly, whatever it is, or the pass stops."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.pipeline import Pipeline
from support.two_sides import TwoSides, two_sides_of

from nasmigrate.core.errors import CopyFailed, TransferError
from nasmigrate.core.pool import Pool
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.changes import Counts
from nasmigrate.schema.ledger import is_pending
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.workflows.catch_up import Pass, catch_up

SOURCE = """
CREATE TABLE owner (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, boss INTEGER REFERENCES owner (id));
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    made DATETIME,
    price REAL,
    pic BLOB,
    owner INTEGER REFERENCES owner (id) ON DELETE CASCADE ON UPDATE CASCADE,
    UNIQUE (owner, name)
);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE tag (label TEXT NOT NULL PRIMARY KEY, weight REAL) WITHOUT ROWID;
CREATE TABLE nick (name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v INTEGER);
CREATE TABLE log (line TEXT, n INTEGER, pic BLOB);
CREATE TABLE hen (id INTEGER PRIMARY KEY, egg INTEGER REFERENCES egg (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE egg (id INTEGER PRIMARY KEY, hen INTEGER NOT NULL REFERENCES hen (id));
CREATE TABLE "%s odd "" name" (id INTEGER PRIMARY KEY, "a'%%b" TEXT, made DATETIME);
CREATE TABLE later (id INTEGER PRIMARY KEY, v TEXT);
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20)
INSERT INTO owner SELECT i, 'code' || i, nullif(i / 2, 0) FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
INSERT INTO item SELECT i, 'item' || i, strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 5003, 'unixepoch'), i / 7.0,
    CASE WHEN i % 10 THEN x'00ff' ELSE 'text' || i END, 1 + i % 20 FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO pair SELECT char(96 + i % 7), i, 'v' || i FROM n;
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO tag SELECT 'ä' || i, i * 0.1 FROM n;
INSERT INTO nick VALUES ('Anna', 1), ('BERT', 2), ('cäsar', 3);
INSERT INTO log VALUES ('same', 1, NULL), ('same', 1, NULL), ('other', 2, 'text'), (NULL, 3, x'00'),
    ('other', 2, x'74');
INSERT INTO hen VALUES (1, NULL), (2, NULL);
INSERT INTO egg VALUES (1, 1), (2, 2);
UPDATE hen SET egg = 3 - id;
INSERT INTO "%s odd "" name" VALUES (1, 'x', '2024-01-01 00:00:00'), (2, NULL, NULL);
"""

CHANGES = {
    "nothing": "",
    "inserted at the end, the beginning and between": """
        DELETE FROM item WHERE id = 50; INSERT INTO item (id, name) VALUES (-5, 'low'), (1000, 'high'), (50, 'mid');
        INSERT INTO pair VALUES ('', 0, NULL), ('d', 1000, 'x'), ('zz', 1, 'y');""",
    "updated in every table": """
        UPDATE owner SET code = code || 'x' WHERE id % 3 = 0;
        UPDATE item SET price = -0.5, made = NULL WHERE id % 9 = 0;
        UPDATE pair SET v = NULL WHERE b % 5 = 0; UPDATE tag SET weight = 1e300 WHERE label > 'ä3';
        UPDATE nick SET v = 9; UPDATE log SET n = 7 WHERE line = 'same'; UPDATE "%s odd "" name" SET "a'%%b" = '%s';""",
    "deleted here and there": """
        DELETE FROM item WHERE id % 4 = 0; DELETE FROM pair WHERE a = 'c'; DELETE FROM tag WHERE label = 'ä7';
        DELETE FROM nick WHERE v = 2; DELETE FROM log WHERE rowid = 1;""",
    "all rows deleted": """
        PRAGMA foreign_keys = OFF; DELETE FROM item; DELETE FROM owner; DELETE FROM pair; DELETE FROM log;
        DELETE FROM nick; DELETE FROM egg; DELETE FROM hen;""",
    "an empty table filled": """
        WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO later SELECT i * 3, 'later' || i FROM n;""",
    "two rows swap a unique value": """
        UPDATE owner SET code = 'temporary' WHERE id = 3; UPDATE owner SET code = 'code3' WHERE id = 4;
        UPDATE owner SET code = 'code4' WHERE id = 3;""",
    "two rows swap their keys": """
        UPDATE item SET id = -1 WHERE id = 7; UPDATE item SET id = 7 WHERE id = 93;
        UPDATE item SET id = 93 WHERE id = -1;
        UPDATE tag SET label = 'q' WHERE label = 'ä1'; UPDATE tag SET label = 'ä1' WHERE label = 'ä40';
        UPDATE tag SET label = 'ä40' WHERE label = 'q';""",
    "a unique value goes to a new row": """
        DELETE FROM owner WHERE id = 20; DELETE FROM item WHERE owner = 20;
        INSERT INTO owner VALUES (21, 'code20', 3);""",
    "a cascade on both sides": """
        PRAGMA foreign_keys = ON; UPDATE owner SET boss = NULL; UPDATE owner SET id = 500 WHERE id = 5;
        DELETE FROM owner WHERE id = 6;""",
    "rows moved to another parent, the old one deleted": """
        INSERT INTO owner VALUES (99, 'new', NULL); UPDATE item SET owner = 99 WHERE owner = 12;
        UPDATE owner SET boss = 99 WHERE boss = 12; DELETE FROM owner WHERE id = 12;""",
    "a tree turned around": "UPDATE owner SET boss = 21 - id;",
    "a cycle of two tables replaced": """
        DELETE FROM egg; DELETE FROM hen; INSERT INTO hen VALUES (8, 8); INSERT INTO egg VALUES (8, 8);""",
    "an original appears, another goes, a third changes": """
        UPDATE item SET pic = 'hello' WHERE id = 1; UPDATE item SET pic = x'00' WHERE id = 10;
        UPDATE item SET pic = 'changed' WHERE id = 20;""",
    "the class alone changes": """
        UPDATE item SET pic = CAST(pic AS BLOB) WHERE id = 30;
        UPDATE log SET pic = x'74657874' WHERE line = 'other';""",
    "a key changed only in its case": "UPDATE nick SET name = upper(name);",
    "large rows": "INSERT INTO later VALUES (5, hex(randomblob(700000))); UPDATE log SET pic = zeroblob(3000000);",
    "INSERT OR REPLACE": """
        INSERT OR REPLACE INTO item (id, name, owner) VALUES (3, 'item5', 6), (90, 'item90', 1), (300, 'item1', 2);
        INSERT OR REPLACE INTO nick VALUES ('ANNA', 5);""",
    "every key moved": "UPDATE item SET id = id + 1000000; UPDATE pair SET b = -b;",
    "ids used and deleted again": "INSERT INTO item (name) VALUES ('gone'); DELETE FROM item WHERE name = 'gone';",
}


def make(pipeline: Pipeline, folder: Path, script: str = SOURCE, *, chunk_rows: int = 16) -> TwoSides:
    return two_sides_of(pipeline, folder, script, chunk_rows=chunk_rows)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_arrives_exactly(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite(CHANGES[name])
    done = sides.catch_up()
    sides.assert_equal()
    assert (done.chunks > 0) == (name not in ("nothing", "ids used and deleted again"))
    again = sides.catch_up()
    assert (again.chunks, again.changed_rows) == (0, 0)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_arrives_exactly_by_its_pages(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite(CHANGES[name])
    done = sides.catch_up(by_pages=True)
    sides.assert_equal()
    again = sides.catch_up(by_pages=True)
    assert (again.chunks, again.changed_rows, again.rows) == (0, 0, 0)
    sides.record_pending()
    assert not any(map(is_pending, chain.from_iterable(sides.ledger.values())))
    # Digests of everything: the ledger is what it would be if it had never been pending.
    full = sides.catch_up()
    assert (full.chunks, full.changed_rows) == (0, 0), done


def test_a_pending_chunk_is_compared_whole_by_the_next_digest(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET price = 0, pic = 'other' WHERE id = 30")
    by_pages = sides.catch_up(by_pages=True)
    assert by_pages.counts == {"item": Counts(updated=1)}
    assert by_pages.rows < 20  # what has no range key, or is WITHOUT ROWID, is read when it changed
    sides.sqlite("UPDATE item SET price = 1 WHERE id = 31")
    done = sides.catch_up()
    assert done.counts == {"item": Counts(updated=1)}
    assert not any(map(is_pending, sides.ledger["item"]))
    sides.assert_equal()


def test_only_what_changed_is_written(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET price = 0 WHERE id IN (3, 90); DELETE FROM log WHERE rowid = 2")
    done = sides.catch_up()
    assert done.counts == {"item": Counts(updated=2), "log": Counts(deleted=1)}
    assert done.chunks == 3


def test_chunks_that_outgrew_their_size_are_split_and_tile_the_key_space(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite(CHANGES["an empty table filled"])
    sides.catch_up()
    chunks = sides.ledger["later"]
    assert len(chunks) >= 500 / 16
    assert max(chunk.rows for chunk in chunks) <= 16
    assert (chunks[0].after, chunks[-1].last) == (None, None)
    assert [chunk.after for chunk in chunks[1:]] == [chunk.last for chunk in chunks[:-1]]
    assert len({chunk.chunk for chunk in chunks}) == len(chunks)
    sides.sqlite("DELETE FROM later WHERE id % 2; INSERT INTO later VALUES (-1, 'x')")
    sides.catch_up()
    sides.assert_equal()


def test_the_sequence_stays_above_ids_that_were_used(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("INSERT INTO item (id, name) VALUES (7000, 'x'); DELETE FROM item WHERE id = 7000")
    sides.catch_up()
    with psycopg.connect(pipeline.conninfo) as connection:
        row = connection.execute("SELECT nextval(pg_get_serial_sequence('item', 'id'))").fetchone()
    assert row == (7001,)


# -- what stops a pass ----------------------------------------------------------------------------------------------


def stopped(sides: TwoSides, conninfo: str = "") -> TransferError:
    """The error of a pass; nothing of it may stay."""
    with pytest.raises(TransferError) as raised:
        sides.catch_up(conninfo)
    assert raised.value.exit_code == 9
    with connected(sides.pipeline.conninfo) as connection:
        assert read_chunks(connection, sides.run_id) == sides.ledger
    return raised.value


@pytest.mark.parametrize("kind", ["ENABLE ALWAYS", "ENABLE REPLICA"])
@pytest.mark.parametrize("does", ["DELETE FROM pair WHERE a = 'a'", "INSERT INTO log VALUES ('x', 1)"])
def test_a_trigger_that_moves_other_rows_stops(pipeline: Pipeline, tmp_path: Path, kind: str, does: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NULL; END $$;"
        "CREATE TRIGGER meddle AFTER INSERT OR DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION meddle();"
        f"ALTER TABLE item {kind} TRIGGER meddle"
    )
    sides.sqlite("UPDATE item SET price = 0 WHERE id = 3")
    error = stopped(sides)
    assert error.code == "NM0904"
    assert "public.pair" in error.message or "public.log" in error.message


def test_a_trigger_that_changes_the_row_itself_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'x'; RETURN NEW; END $$;"
        "CREATE TRIGGER meddle BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION meddle();"
        "ALTER TABLE item ENABLE ALWAYS TRIGGER meddle"
    )
    sides.sqlite("UPDATE item SET price = 0 WHERE id = 3")
    assert stopped(sides).code == "NM0906"


def test_an_ordinary_trigger_does_not_act(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM pair; RETURN NULL; END $$;"
        "CREATE TRIGGER meddle AFTER INSERT OR DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION meddle()"
    )
    sides.sqlite("UPDATE item SET price = 0 WHERE id = 3")
    assert sides.catch_up().changed_rows == 1


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE item SET owner = 777 WHERE id = 3", "item"),
        ("DELETE FROM owner WHERE id = 5", "item"),
        ("DELETE FROM hen WHERE id = 2", "egg"),
        ("INSERT INTO owner VALUES (30, 'c', 29)", "owner"),
    ],
)
def test_a_row_without_parent_stops_and_is_named(pipeline: Pipeline, tmp_path: Path, change: str, table: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite(f"PRAGMA foreign_keys = OFF; {change}")
    error = stopped(sides)
    assert error.code == "NM0905"
    assert error.message.startswith(f"{table}: ")


def test_a_value_that_no_longer_fits_its_codec_stops_before_anything_is_written(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET made = 'yesterday' WHERE id = 42")
    guarded: list[object] = []
    with connected(pipeline.conninfo) as connection, Pool() as pool, pytest.raises(TransferError) as raised:
        these = Pass(plan=sides.plan, run_id=sides.run_id, pool=pool, limits=sides.limits, workdir=tmp_path)
        catch_up(connection, these, SourceFile(path=sides.snapshot()), sides.ledger, guarded.append)
    assert raised.value.code == "NM0903"
    assert raised.value.details == {"table": "item", "column": "made", "key": "id=42"}
    assert guarded == []


def test_a_constraint_of_the_target_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres("ALTER TABLE item ADD CONSTRAINT cheap CHECK (price < 100)")
    sides.sqlite("UPDATE item SET price = 1000 WHERE id = 3")
    error = stopped(sides)
    assert isinstance(error, CopyFailed)
    assert error.details["constraint"] == "cheap"


def test_text_too_long_for_an_index_of_the_target_stops(pipeline: Pipeline, tmp_path: Path) -> None:
    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET name = hex(randomblob(700000)) WHERE id = 3")
    error = stopped(sides)
    assert isinstance(error, CopyFailed)
    assert "index row" in error.message


def test_a_refusing_guard_stops_before_anything_is_written(pipeline: Pipeline, tmp_path: Path) -> None:
    class Overtaken(Exception):
        pass

    def refuse(_: psycopg.Connection) -> None:
        raise Overtaken

    sides = make(pipeline, tmp_path)
    sides.sqlite("UPDATE item SET price = 0")
    with connected(pipeline.conninfo) as connection, Pool() as pool:
        these = Pass(plan=sides.plan, run_id=sides.run_id, pool=pool, limits=sides.limits, workdir=tmp_path)
        with pytest.raises(Overtaken):
            catch_up(connection, these, SourceFile(path=sides.snapshot()), sides.ledger, refuse)


# -- as an owner who may not switch foreign keys off ----------------------------------------------------------------


@pytest.fixture
def owner(pipeline: Pipeline) -> Iterator[str]:
    """A role that is no superuser."""
    name = "plain_owner"
    with psycopg.connect(pipeline.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        connection.execute(f"DROP OWNED BY {name} CASCADE")
        connection.execute(f"DROP ROLE {name}")


def hand_over(pipeline: Pipeline, owner: str) -> str:
    """Give everything to a role; the conninfo to connect as it."""
    with psycopg.connect(pipeline.conninfo) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'nasmigrate')"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"ALTER TABLE {table} OWNER TO {owner}")
        connection.execute(f"GRANT ALL ON SCHEMA public, nasmigrate TO {owner}")
    return make_conninfo(pipeline.conninfo, user=owner)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_arrives_without_the_right_to_be_a_replica(
    pipeline: Pipeline, tmp_path: Path, owner: str, name: str
) -> None:
    sides = make(pipeline, tmp_path)
    conninfo = hand_over(pipeline, owner)
    sides.sqlite(CHANGES[name])
    sides.catch_up(conninfo)
    sides.assert_equal()


def test_an_orphan_stops_without_the_right_to_be_a_replica(pipeline: Pipeline, tmp_path: Path, owner: str) -> None:
    sides = make(pipeline, tmp_path)
    conninfo = hand_over(pipeline, owner)
    sides.sqlite("PRAGMA foreign_keys = OFF; DELETE FROM owner WHERE id = 5")
    error = stopped(sides, conninfo)
    assert error.code == "NM0905"
    assert "owner" in error.message


def test_triggers_are_as_they_were_afterwards(pipeline: Pipeline, tmp_path: Path, owner: str) -> None:
    sides = make(pipeline, tmp_path)
    sides.postgres(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM pair; RETURN NULL; END $$;"
        "CREATE TRIGGER a AFTER DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION meddle();"
        "CREATE TRIGGER b AFTER DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION meddle();"
        "CREATE TRIGGER c AFTER DELETE ON item FOR EACH STATEMENT EXECUTE FUNCTION meddle();"
        "ALTER TABLE item ENABLE ALWAYS TRIGGER b, DISABLE TRIGGER c"
    )
    conninfo = hand_over(pipeline, owner)
    sides.sqlite("UPDATE item SET price = 0 WHERE id = 3")
    assert sides.catch_up(conninfo).changed_rows == 1
    with psycopg.connect(pipeline.conninfo) as connection:
        rows = connection.execute(
            "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
        ).fetchall()
    assert rows == [("a", "O"), ("b", "A"), ("c", "D")]
