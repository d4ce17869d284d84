"""Random writes on either side, in any order: after a pass both sides are equal, and only what changed was written."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support.judge import judge
from support.pipeline import Pipeline
from support.postgres import fresh_database
from support.two_sides import TwoSides, two_sides

from nasmigrate.postgres.embedded import EmbeddedServer

SOURCE = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, up INTEGER REFERENCES parent (id));
CREATE TABLE child (
    id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER, price REAL, note TEXT, made DATETIME, pic BLOB,
    parent INTEGER REFERENCES parent (id) ON DELETE CASCADE
);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE tag (label TEXT NOT NULL PRIMARY KEY, weight REAL);
CREATE TABLE nick (name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v INTEGER);
CREATE TABLE line (t TEXT, n INTEGER, b BLOB);
WITH RECURSIVE i (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM i WHERE i < 12)
INSERT INTO parent SELECT i, 'code' || i, nullif(i / 3, 0) FROM i;
WITH RECURSIVE i (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM i WHERE i < 50)
INSERT INTO child SELECT i, i * 3, i / 7.0, nullif('note' || i, 'note7'),
    strftime('%Y-%m-%d %H:%M:%S', 1700000000 + i * 5003, 'unixepoch'),
    CASE i % 5 WHEN 0 THEN 'text' || i ELSE x'00ff' END, 1 + i % 12 FROM i;
WITH RECURSIVE i (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM i WHERE i < 30)
INSERT INTO pair SELECT char(96 + i % 5), i, 'v' || i FROM i;
WITH RECURSIVE i (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM i WHERE i < 30)
INSERT INTO tag SELECT 'ä' || i, i * 0.1 FROM i;
INSERT INTO nick VALUES ('anna', 1), ('Bert', 2), ('CARL', 3);
INSERT INTO line VALUES ('same', 1, NULL), ('same', 1, NULL), ('other', 2, 'text'), (NULL, NULL, x'74657874');
"""

LIKE = {"anna": "ANNA", "Bert": "bert", "CARL": "Carl", "dora": "DORA"}
number = st.integers(-20, 80)
small = st.integers(1, 14)
text = st.sampled_from(["NULL", "''", "'x'", "'same'", "'Zürich'", "'%s'", "'''q'"])
real = st.sampled_from(["NULL", "0.5", "-1e300", "1e-300", "7.25"])
moment = st.sampled_from(["NULL", "'2024-02-29 23:59:59'", "'1970-01-01 00:00:00'"])
letter = st.sampled_from("abcdez")


@st.composite
def writes(draw: st.DrawFn, blob: st.SearchStrategy[str]) -> str:
    """A statement that both dialects take, that keeps every constraint."""
    low = draw(number)
    rows = f"BETWEEN {low} AND {low + draw(st.sampled_from([0, 0, 1, 6, 60]))}"
    match draw(st.integers(0, 16)):
        case 0:
            return f"DELETE FROM child WHERE id {rows}"
        case 1:
            return f"UPDATE child SET n = n + 1, note = {draw(text)} WHERE id {rows}"
        case 2:
            return f"UPDATE child SET price = {draw(real)}, made = {draw(moment)} WHERE id {rows}"
        case 3:
            return f"UPDATE child SET pic = {draw(blob)} WHERE id {rows}"
        case 4:
            return f"UPDATE child SET id = -1000 - id WHERE id {rows} AND -1000 - id NOT IN (SELECT id FROM child)"
        case 5:
            values = f"{draw(number)}, {draw(real)}, {draw(text)}, {draw(moment)}, {draw(blob)}"
            return f"INSERT INTO child (n, price, note, made, pic, parent) SELECT {values}, min(id) FROM parent"
        case 6:
            one, other = draw(small), draw(small)
            swap = f"CASE id WHEN {one} THEN 'code' || {other} ELSE 'code' || {one} END"
            return f"UPDATE parent SET code = 'free' || id WHERE id IN ({one}, {other}); " + (
                f"UPDATE parent SET code = {swap} WHERE id IN ({one}, {other}) AND NOT EXISTS"
                f" (SELECT 1 FROM parent p WHERE p.id NOT IN ({one}, {other})"
                f" AND p.code IN ('code{one}', 'code{other}'))"
            )
        case 7:
            childless = "id NOT IN (SELECT up FROM parent WHERE up IS NOT NULL)"
            return f"DELETE FROM parent WHERE id = {draw(small)} AND {childless}"
        case 8:
            return f"UPDATE parent SET up = (SELECT max(id) FROM parent WHERE id < {draw(small)})"
        case 9:
            made = draw(small) + 100
            return (
                f"INSERT INTO parent (id, code, up) SELECT {made}, 'made{made}', NULL"
                f" WHERE NOT EXISTS (SELECT 1 FROM parent WHERE id = {made})"
            )
        case 10:
            return f"UPDATE pair SET v = {draw(text)} WHERE b {rows}"
        case 11:
            key = f"'{draw(letter)}', {draw(number)}"
            return (
                f"INSERT INTO pair (a, b, v) VALUES ({key}, {draw(text)}) ON CONFLICT (a, b) DO UPDATE SET v = 'again'"
            )
        case 12:
            return f"DELETE FROM pair WHERE a = '{draw(letter)}'"
        case 13:
            new = f"label = label || '{draw(letter)}', weight = {draw(real)}"
            return f"UPDATE tag SET {new} WHERE label LIKE 'ä{draw(small)}%'"
        case 14:
            name = draw(st.sampled_from(sorted(LIKE)))
            return draw(
                st.sampled_from(
                    [
                        f"UPDATE nick SET name = '{LIKE[name]}', v = v + 1 WHERE lower(name) = lower('{name}')",
                        f"DELETE FROM nick WHERE lower(name) = lower('{name}')",
                        f"INSERT INTO nick SELECT '{name}', {draw(number)}"
                        f" WHERE NOT EXISTS (SELECT 1 FROM nick WHERE lower(name) = lower('{name}'))",
                    ]
                )
            )
        case 15:
            return f"INSERT INTO line (t, n, b) VALUES ({draw(text)}, {draw(small)}, {draw(blob)})"
        case _:
            return draw(
                st.sampled_from(
                    [f"DELETE FROM line WHERE n = {draw(small)}", f"UPDATE line SET n = {draw(small)} WHERE t = 'same'"]
                )
            )


SQLITE_BLOBS = st.sampled_from(["NULL", "x''", "x'00'", "'text'", "x'74657874'"])
POSTGRES_BLOBS = st.sampled_from(["NULL", r"'\x'::bytea", r"'\x00'::bytea", r"'\x74657874'::bytea"])
STEP = st.one_of(
    st.tuples(st.sampled_from(["by digests", "by pages"]), st.lists(writes(SQLITE_BLOBS), min_size=1, max_size=4)),
    st.tuples(st.just("home"), st.lists(writes(POSTGRES_BLOBS), min_size=1, max_size=4)),
)


@pytest.fixture(scope="module")
def copied(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSides]:
    """A finished copy, from which each example takes its own file and database."""
    folder = tmp_path_factory.mktemp("passes")
    with closing(sqlite3.connect(folder / "live.db")) as connection:
        connection.executescript(SOURCE)
    with fresh_database(server.dsn) as dsn:
        yield two_sides(Pipeline(conninfo=dsn, base=folder), folder / "live.db", chunk_rows=7)


@given(st.lists(STEP, min_size=1, max_size=4))
@settings(max_examples=30)
def test_both_sides_are_equal_after_any_writes(copied: TwoSides, steps: list[tuple[str, list[str]]]) -> None:
    name = str(conninfo_to_dict(copied.pipeline.conninfo)["dbname"])
    other = f"{name}_example"
    admin = make_conninfo(copied.pipeline.conninfo, dbname="postgres")
    with psycopg.connect(admin, autocommit=True) as connection, TemporaryDirectory() as folder:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(other), sql.Identifier(name))
        )
        try:
            live = Path(folder) / "live.db"
            shutil.copyfile(copied.live, live)
            pipeline = Pipeline(conninfo=make_conninfo(admin, dbname=other), base=Path(folder))
            sides = replace(copied, pipeline=pipeline, live=live)
            for direction, statements in steps:
                event(direction)
                step(sides, direction, statements)
            sides.assert_equal()
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(other)))


def step(sides: TwoSides, direction: str, statements: list[str]) -> None:
    """The writes of one side, and the pass to the other."""
    script = ";".join(statements)
    if direction == "home":
        sides.postgres(script)
        sides.bring_home()
        # The next way there compares everything, as a cutover after a rollback does.
        sides.ledger = {
            table: [replace(chunk, digests=()) for chunk in chunks] for table, chunks in sides.recorded().items()
        }
        done = sides.catch_up()
        assert done.changed_rows == 0
    else:
        sides.sqlite("PRAGMA foreign_keys = ON;" + script)
        sides.catch_up(by_pages=direction == "by pages")
    assert judge(sides.live, sides.pipeline.conninfo).differences == []
