"""What the pages of two snapshots claim to be equal is equal, whatever an application did between them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import event, given, settings
from hypothesis import strategies as st

from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.page_file import RowidRange
from nasmigrate.sqlite.pages import changed_rows, read_roots

TABLES = {
    "plain": "CREATE TABLE plain (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, b BLOB)",
    "hidden": "CREATE TABLE hidden (k TEXT NOT NULL PRIMARY KEY, n INTEGER, t TEXT, b BLOB)",
    "packed": "CREATE TABLE packed (k TEXT NOT NULL, id INTEGER, n INTEGER, t TEXT, b BLOB, PRIMARY KEY (k, id))"
    " WITHOUT ROWID",
    "still": "CREATE TABLE still (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, b BLOB)",
}
FILL = (
    "WITH RECURSIVE i (i) AS (VALUES ({low}) UNION ALL SELECT i + 1 FROM i WHERE i < {high}) "
    "INSERT OR REPLACE INTO {table} ({key}, n, t, b) SELECT {value}, i, hex(zeroblob({text})), zeroblob({blob}) FROM i"
)
KEYS = {
    "plain": ("id", "i"),
    "still": ("id", "i"),
    "hidden": ("k", "'k' || i"),
    "packed": ("k, id", "'k' || i % 7, i"),
}

IN_PLACE = "a byte in place"

number = st.integers(-100, 200)
size = st.sampled_from([0, 1, 10, 60, 200, 700, 2000, 9000])


@st.composite
def fills(draw: st.DrawFn, tables: list[str]) -> str:
    table = draw(st.sampled_from(tables))
    low = draw(number)
    key, value = KEYS[table]
    high = low + draw(st.sampled_from([0, 3, 40, 300]))
    return FILL.format(table=table, low=low, high=high, key=key, value=value, text=draw(size), blob=draw(size))


@st.composite
def changes(draw: st.DrawFn) -> str:
    table = draw(st.sampled_from(["plain", "hidden", "packed"]))
    low = draw(number)
    high = low + draw(st.sampled_from([0, 0, 1, 5, 100]))
    where = f"WHERE n BETWEEN {low} AND {high}"
    match draw(st.integers(0, 10)):
        case 0:
            return draw(fills([table]))
        case 1:
            return f"DELETE FROM {table} {where}"
        case 2:
            return f"UPDATE {table} SET n = n + 1 {where}"
        case 3:
            # The same size: pages are overwritten where they are, overflow pages among them.
            return f"UPDATE {table} SET b = randomblob(length(b)) {where}"
        case 4:
            return f"UPDATE {table} SET t = upper(t) || 'x', b = zeroblob({draw(size)}) {where}"
        case 5:
            return draw(st.sampled_from(["VACUUM", "PRAGMA incremental_vacuum(3)", "REINDEX", "ANALYZE", IN_PLACE]))
        case 6:
            return "CREATE INDEX IF NOT EXISTS added ON plain (t, n)"
        case 7:
            return f"UPDATE plain SET id = -id - 1000 {where}"
        case 8:
            return (
                f"UPDATE {table} SET b = substr(b, 1, length(b) / 2) || x'07' || substr(b, length(b) / 2 + 2) {where}"
            )
        case 9:
            return IN_PLACE
        case _:
            return "DROP INDEX IF EXISTS added"


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str], list[str]]:
    settings = (
        f"PRAGMA page_size = {draw(st.sampled_from([512, 1024, 4096]))};"
        f"PRAGMA auto_vacuum = {draw(st.sampled_from([0, 0, 1, 2]))};"
        f"PRAGMA secure_delete = {draw(st.sampled_from([0, 1]))};"
    )
    first = [draw(fills([table])) for table in TABLES]
    first += draw(st.lists(fills(list(TABLES)), max_size=3))
    return settings, first, draw(st.lists(changes(), min_size=1, max_size=4))


def run(connection: sqlite3.Connection, statement: str) -> None:
    if statement is not IN_PLACE:
        connection.execute(statement)
        return
    row = connection.execute("SELECT id, length(b) FROM plain WHERE length(b) > 0 ORDER BY length(b) DESC").fetchone()
    if row is not None:
        write_in_place(connection, *row)


def write_in_place(connection: sqlite3.Connection, rowid: int, length: int) -> None:
    """Change the last byte of a blob and nothing else: of a large one, an overflow page alone."""
    with connection.blobopen("plain", "b", rowid) as blob:
        byte = blob[length - 1]
        blob[length - 1] = (byte + 1) % 256


def stored(path: Path, table: str) -> dict[object, tuple[object, ...]]:
    """Each row by rowid, or by key, with the class and bytes of every value."""
    rowid = "k, id" if table == "packed" else "rowid"
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        rows = connection.execute(f"SELECT {rowid}, typeof(n), n, t, typeof(b), b, * FROM {table}")
        return {row[:2] if table == "packed" else row[0]: row for row in rows}


def compared(before: Path, after: Path) -> dict[str, tuple[RowidRange, ...] | None]:
    roots = []
    for path in (before, after):
        with closing(open_snapshot(path)) as connection:
            roots.append(read_roots(connection))
    return changed_rows(before, after, *roots)


def held_against_the_rows(claims: dict[str, tuple[RowidRange, ...] | None], before: Path, after: Path) -> None:
    for table in TABLES:
        ranges = claims[table]
        if ranges is None:
            continue
        old, new = stored(before, table), stored(after, table)
        if table == "packed":
            assert ranges == ()
        differing = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
        outside = [key for key in differing if not any(low <= key <= high for low, high in ranges)]
        assert outside == [], table


@given(files())
@settings(max_examples=250)
def test_rows_outside_the_claimed_ranges_are_equal(made: tuple[str, list[str], list[str]]) -> None:
    pragmas, first, then = made
    with TemporaryDirectory() as folder:
        live, before = Path(folder) / "live.db", Path(folder) / "before.db"
        with closing(sqlite3.connect(live, isolation_level=None)) as connection:
            connection.executescript(pragmas + ";".join(TABLES.values()))
            for statement in first:
                connection.execute(statement)
            shutil.copyfile(live, before)
            for statement in then:
                run(connection, statement)
        claims = compared(before, live)
        for table, ranges in claims.items():
            event(f"{table}: {'unknown' if ranges is None else 'some' if ranges else 'unchanged'}")
        held_against_the_rows(claims, before, live)


def test_few_changes_are_few_ranges(tmp_path: Path) -> None:
    live, before = tmp_path / "live.db", tmp_path / "before.db"
    with closing(sqlite3.connect(live)) as connection:
        connection.executescript(";".join(TABLES.values()))
        for table in TABLES:
            key, value = KEYS[table]
            connection.execute(FILL.format(table=table, low=1, high=20000, key=key, value=value, text=20, blob=7))
        connection.commit()
        shutil.copyfile(live, before)
        connection.execute("UPDATE plain SET n = 0 WHERE id IN (5, 10000)")
        connection.execute("UPDATE hidden SET n = 0 WHERE k = 'k77'")
        connection.execute("DELETE FROM plain WHERE id = 20000")
        connection.commit()
    claims = compared(before, live)
    assert claims["still"] == claims["packed"] == ()
    plain, hidden = claims["plain"], claims["hidden"]
    assert plain is not None
    assert hidden is not None
    assert (len(plain), len(hidden)) == (3, 1)
    assert sum(high - low for low, high in plain) < 300


def test_an_overflow_page_that_changes_under_an_unchanged_leaf_is_seen(tmp_path: Path) -> None:
    live, before = tmp_path / "live.db", tmp_path / "before.db"
    with closing(sqlite3.connect(live)) as connection:
        connection.executescript(";".join(TABLES.values()))
        connection.execute("INSERT INTO plain VALUES (1, 1, 'x', zeroblob(20000)), (2, 2, 'y', zeroblob(10))")
        connection.commit()
        shutil.copyfile(live, before)
        write_in_place(connection, 1, 20000)
        connection.commit()
    assert set(compared(before, live).values()) == {None}
