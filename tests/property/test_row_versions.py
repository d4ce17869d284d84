"""Passes home by row versions, against what both engines say of their rows: any transactions, any way they end."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import apsw
import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from psycopg import sql
from support.pipeline import Pipeline
from support.postgres import fresh_database
from support.two_sides import TwoSides, two_sides

from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.postgres.row_versions import Moment, is_fresh, see_moment
from nasmigrate.schema.changes import Counts
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.verify.from_versions import FromVersions
from nasmigrate.workflows.bring_home import BroughtHome, bring_home

SOURCE = """
CREATE TABLE item (id INTEGER PRIMARY KEY, n INTEGER, note TEXT);
CREATE TABLE pair (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE line (t TEXT, n INTEGER);
INSERT INTO item VALUES (1, 1, 'x'); INSERT INTO pair VALUES ('a', 1, 'x'); INSERT INTO line VALUES ('x', 1);
WITH RECURSIVE i (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM i WHERE i < 60)
INSERT INTO item SELECT i, i, 'n' FROM i;
"""
TABLES = ("item", "pair", "line")
START = """
TRUNCATE item, pair, line;
INSERT INTO item SELECT i, i, nullif('note' || i % 5, 'note3') FROM generate_series(1, 60) i;
INSERT INTO pair SELECT chr(96 + i % 5), i, 'v' || i FROM generate_series(1, 30) i;
INSERT INTO line SELECT 'same', i % 3 FROM generate_series(1, 12) i;
"""
SESSIONS = 3

key = st.integers(-5, 75)
letter = st.sampled_from("abcdez")


@st.composite
def write(draw: st.DrawFn) -> str:
    low, letter_ = draw(key), draw(letter)
    some = f"BETWEEN {low} AND {low + draw(st.sampled_from([0, 0, 2, 20]))}"
    return draw(
        st.sampled_from(
            [
                f"UPDATE item SET n = coalesce(n, 0) + 1 WHERE id {some}",
                f"UPDATE item SET n = n WHERE id {some}",
                f"UPDATE item SET id = 100 + id WHERE id {some}",
                f"DELETE FROM item WHERE id {some}",
                f"INSERT INTO item VALUES ({low}, {low}, NULL) ON CONFLICT DO NOTHING",
                f"INSERT INTO item VALUES ({low}, 7, 'again') ON CONFLICT (id) DO UPDATE SET n = 8",
                f"SELECT 1 FROM item WHERE id {some} FOR UPDATE",
                f"DELETE FROM pair WHERE b {some}",
                f"UPDATE pair SET v = 'w' WHERE a = '{letter_}'",
                f"INSERT INTO pair VALUES ('{letter_}', {low}, 'new') ON CONFLICT DO NOTHING",
                f"UPDATE line SET n = {low} WHERE n = {low % 4}",
                f"INSERT INTO line VALUES ('{letter_}', {low % 4})",
                f"DELETE FROM line WHERE n = {low % 4}",
            ]
        )
    )


REST = ("VACUUM FREEZE item", "VACUUM FULL pair", "TRUNCATE item", "CLUSTER item USING item_pkey", "VACUUM line")
STEP = st.one_of(
    st.tuples(st.integers(0, SESSIONS - 1), write()),
    st.tuples(st.integers(0, SESSIONS - 1), write()),
    st.tuples(
        st.integers(0, SESSIONS - 1), st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s"])
    ),
    st.tuples(st.just(-1), st.sampled_from(["pass", "pass", *REST])),
)


@pytest.fixture(scope="module")
def sides(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSides]:
    folder: Path = tmp_path_factory.mktemp("versions")
    with closing(sqlite3.connect(folder / "live.db")) as connection:
        connection.executescript(SOURCE)
    with fresh_database(server.dsn) as dsn:
        yield two_sides(Pipeline(conninfo=dsn, base=folder), folder / "live.db", chunk_rows=7)


@given(st.lists(STEP, max_size=25))
@settings(max_examples=60)
def test_a_pass_by_row_versions_leaves_the_file_as_postgres_was(sides: TwoSides, steps: list[tuple[int, str]]) -> None:
    these = sides.homecoming(sides.schema())
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(psycopg.connect(sides.pipeline.conninfo, autocommit=True)) for _ in range(SESSIONS + 1)
        ]
        for session in sessions:
            session.execute("SET lock_timeout = '5ms'")
        sessions[-1].execute(START)
        target = stack.enter_context(connected(sides.pipeline.conninfo))
        live = stack.enter_context(closing(sides.writer()))

        def one_pass(before: BroughtHome | None) -> BroughtHome:
            target.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            ledger, since = (before.ledger, before.seen) if before else (unknown(sides), None)
            done = bring_home(target, live, these, ledger, since)
            # The oracle reads in the transaction of the pass, while others go on: one moment on both sides.
            for table in TABLES:
                assert rows_of(live, table) == rows_of(target, table)
            target.commit()
            return done

        done = one_pass(None)
        for number, statement in steps:
            if statement == "pass":
                event("a pass while transactions are under way" if any(map(under_way, sessions)) else "a pass")
                done = one_pass(done)
            else:
                run(sessions[number], statement)
        for session in sessions[:-1]:
            run(session, "COMMIT")
        one_pass(done)


def unknown(sides: TwoSides) -> dict[str, list[ChunkRow]]:
    """A ledger that knows nothing, so that a pass compares every row."""
    return {name: [replace(chunk, digests=()) for chunk in chunks] for name, chunks in sides.ledger.items()}


def run(session: psycopg.Connection, statement: str) -> None:
    """A statement in the session's transaction, begun with the first write; what does not get a lock is given up."""
    writes = statement.split()[0] in ("UPDATE", "INSERT", "DELETE", "SELECT", "SAVEPOINT")
    with suppress(psycopg.Error):
        if writes and not under_way(session):
            session.execute("BEGIN")
        if writes or under_way(session) or session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            session.execute(statement)
    if session.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
        with suppress(psycopg.Error):
            session.execute("ROLLBACK TO s")
        if session.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            session.execute("ROLLBACK")


def under_way(session: psycopg.Connection) -> bool:
    return session.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def rows_of(connection: apsw.Connection | psycopg.Connection, table: str) -> Counter[tuple[object, ...]]:
    rows = connection.execute(f"SELECT * FROM {table}")  # type: ignore[arg-type]
    return Counter(map(tuple, rows.fetchall()))


def test_row_versions_are_what_tells(sides: TwoSides) -> None:
    sides.postgres("UPDATE item SET n = -n WHERE id = 3; DELETE FROM item WHERE id = 5; INSERT INTO item VALUES (-1)")
    schema = sides.schema()
    with connected(sides.pipeline.conninfo) as target, closing(sides.writer()) as live:
        first = bring_home(target, live, sides.homecoming(schema), unknown(sides))
        target.commit()
        sides.postgres("UPDATE item SET n = -n WHERE id = 7; DELETE FROM pair WHERE b = 1")
        now = see_moment(target, sides.plan)
        told = FromVersions(target, live, sides.plan, schema, since=first.seen, now=now)
        found = {name: told.table(name, first.ledger[name]) for name in TABLES}
        counts = {name: home.changes.counts for name, home in found.items() if home is not None}
        assert counts == {"item": Counts(updated=1), "pair": Counts(deleted=1)}


@given(
    window=st.integers(0, (1 << 30) - 1),
    inside=st.floats(0, 1),
    before=st.integers(1, 1 << 30),
    epoch=st.integers(0, 3),
    reserved=st.integers(0, 2),
)
def test_fresh_is_all_of_the_window_however_the_numbers_wrap(
    connection: psycopg.Connection, window: int, inside: float, before: int, epoch: int, reserved: int
) -> None:
    (now,) = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8").fetchone() or (0,)
    following = now + ((epoch + 1) << 32)
    since = Moment(server="", horizon=following - window, following=following, shapes={})
    fresh = since.horizon + round(inside * window)
    rows = [(fresh, True), (since.horizon - before, False), (reserved, True)]
    for transaction, expected in rows:
        number = transaction % (1 << 32)
        if number <= 2 and transaction > 2:
            continue
        found = connection.execute(
            sql.SQL("SELECT {} FROM (SELECT {}::xid AS xmin) s").format(is_fresh(since), sql.Literal(str(number)))
        ).fetchone()
        assert found == (expected,), (transaction, since)
    connection.rollback()
