"""Values of any class in tables without a key or under new keys: what nobody changed, SQLite holds as before."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest
from support.pipeline import Pipeline
from support.postgres import fresh_database
from support.two_sides import TwoSides, two_sides

from nasmigrate.core.config_model import ColumnSection
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.postgres.row_versions import see_moment
from nasmigrate.workflows.bring_home import ValuesOutsideCodec, bring_home

# `who` names a row to the test alone: no key, and left alone in most updates, as an application's own id may be.
SHAPES = {
    "loose": "(who INTEGER, a, b TEXT, c BLOB, d INTEGER, e)",
    "keyed": "(id INTEGER PRIMARY KEY, who INTEGER, a, b TEXT, c BLOB, d INTEGER, e)",
    "named": "(id TEXT NOT NULL PRIMARY KEY, who INTEGER, a, b TEXT, c BLOB, d INTEGER, e) WITHOUT ROWID",
    "cased": "(id TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, who INTEGER, a, b TEXT, c BLOB, d INTEGER, e)",
}
ROWS = 24
ROUNDS = 20
NEW = {"a": "'new{}'::bytea", "b": "'new{}'", "c": "'new{}'::bytea", "d": "{}", "e": "'new{}'"}
FIRST_NEW = 500_000
Row = tuple[tuple[str, object], ...]


def values_of(random_: random.Random, who: int) -> list[object]:
    """One row beside its key: classes that are one to Postgres, few values so that many rows share them."""
    few = random_.choice([5, "5", b"5", "x", b"x", None, 2.5, "2.5", b"\xff"])
    blob = random_.choice([b"t", "t", b"\x00", None])
    number = random_.choice([7, "", None, 8])
    mixed = random_.choice([1, "1", "one", 1.5])
    return [who, few, random_.choice(["p", "q", ""]), blob, number, mixed]


@pytest.fixture(scope="module")
def sides(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSides]:
    folder: Path = tmp_path_factory.mktemp("same")
    random_ = random.Random(11)
    with closing(sqlite3.connect(folder / "live.db")) as connection:
        for table, shape in SHAPES.items():
            connection.execute(f"CREATE TABLE {table} {shape}")
            for who in range(1, ROWS + 1):
                key: list[object] = [] if table == "loose" else [who if table == "keyed" else f"key{who}"]
                row = [*key, *values_of(random_, who)]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
            connection.execute(f"UPDATE {table} SET c = CAST(x'ff' AS TEXT) WHERE who % 7 = 0")
        connection.commit()
    with fresh_database(server.dsn) as dsn:
        rules = {f"{table}.d": ColumnSection(rule=("empty-as-null",)) for table in SHAPES}
        yield two_sides(Pipeline(conninfo=dsn, base=folder), folder / "live.db", chunk_rows=5, columns=rules)


def stored(connection: sqlite3.Connection | apsw.Connection, table: str) -> dict[int, Row]:
    """Rows by `who`: class and bytes of every value, from the standard library."""
    terms = ", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in columns_of(table))
    return {row[0]: row[1:] for row in connection.execute(f"SELECT who, {terms} FROM {table}")}


def changes(
    random_: random.Random, table: str, fresh: Iterator[int]
) -> tuple[list[str], dict[int, set[str]], set[int]]:
    """Updates, new keys, deletions and insertions; which columns of whom were written, and who is gone.

    An update writes what no row has, so that nothing else can be meant.
    """
    statements: list[str] = []
    written: dict[int, set[str]] = {}
    gone: set[int] = set()
    for who in random_.sample(range(1, ROWS + 1), random_.randint(1, 8)):
        what = random_.random()
        if what < 0.15:
            statements.append(f"DELETE FROM {table} WHERE who = {who}")
            gone.add(who)
            continue
        names = set(random_.sample(sorted(NEW), random_.randint(0 if table != "loose" else 1, 3)))
        sets = [f"{name} = {NEW[name].format(next(fresh))}" for name in sorted(names)]
        if table != "loose" and what < 0.8:
            key = next(fresh)
            sets.append(f"id = {key}" if table == "keyed" else f"id = 'Key{key}'")
        if sets:
            statements.append(f"UPDATE {table} SET {', '.join(sets)} WHERE who = {who}")
            written[who] = names
    return statements, written, gone


def swaps(random_: random.Random, table: str) -> list[str]:
    """Rows that take each other's keys, round and round."""
    if table == "loose":
        return []
    whos = random_.sample(range(1, ROWS + 1), random_.choice([0, 2, 3, 5]))
    free = "-id - 1000000" if table == "keyed" else "'free ' || id"
    if not whos:
        return []
    listed = ", ".join(map(str, whos))
    following = ", ".join(f"({one}, {other})" for one, other in zip(whos, [*whos[1:], whos[0]], strict=True))
    return [
        f"CREATE TEMP TABLE turn AS SELECT n.one AS who, t.id AS id FROM (VALUES {following}) n (one, other)"
        f" JOIN {table} t ON t.who = n.other",
        f"UPDATE {table} SET id = {free} WHERE who IN ({listed})",
        f"UPDATE {table} t SET id = turn.id FROM turn WHERE turn.who = t.who",
        "DROP TABLE turn",
    ]


@pytest.mark.parametrize("by_versions", [False, True])
@pytest.mark.parametrize("table", SHAPES)
def test_a_value_that_nobody_touched_keeps_its_class_and_bytes(
    sides: TwoSides, table: str, *, by_versions: bool
) -> None:
    decided = 0
    for seed in range(ROUNDS):
        random_ = random.Random(f"{table} {seed}")
        fresh = iter(range(FIRST_NEW + seed * 1000, FIRST_NEW + seed * 1000 + 1000))
        statements, written, gone = changes(random_, table, fresh)
        turned = swaps(random_, table) if seed % 3 == 0 else []
        decided += one_round(
            sides,
            table,
            turned or statements,
            {} if turned else written,
            set() if turned else gone,
            by_versions=by_versions,
        )
    # A rollback that is refused for want of knowing is right, and of little use.
    assert decided > ROUNDS * 0.6


def one_round(
    sides: TwoSides,
    table: str,
    statements: Sequence[str],
    written: dict[int, set[str]],
    gone: set[int],
    *,
    by_versions: bool,
) -> bool:
    """Write to Postgres in a transaction that is rolled back; whether the rows came home."""
    with (
        psycopg.connect(sides.pipeline.conninfo) as target,
        closing(sqlite3.connect(sides.live)) as reader,
        closing(sides.writer()) as live,
    ):
        before = stored(reader, table)
        these = sides.homecoming(sides.schema())
        since = see_moment(target, sides.plan) if by_versions else None
        for statement in statements:
            target.execute(statement)
        try:
            bring_home(target, live, these, sides.ledger, since)
        except ValuesOutsideCodec:
            target.rollback()
            return False
        finally:
            target.rollback()
        after = stored(live, table)
        assert after.keys() == before.keys() - gone
        for who, row in after.items():
            for index, name in enumerate(columns_of(table)):
                if name in written.get(who, set()) or name == "id":
                    continue
                assert row[2 * index : 2 * index + 2] == before[who][2 * index : 2 * index + 2], (who, name, statements)
        return True


def columns_of(table: str) -> list[str]:
    return (["id"] if table != "loose" else []) + ["who", "a", "b", "c", "d", "e"]
