"""Single changes of a finished copy, drawn at random: each says what a check must name."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from golden import reference
from hypothesis import assume, event
from hypothesis import strategies as st
from psycopg import sql

ROWS = 60
SOURCE = """
CREATE TABLE keyed (
    id INTEGER PRIMARY KEY, n INTEGER, flag BOOLEAN, price REAL, amount DECIMAL(10,2), note TEXT,
    made DATETIME, fine DATETIME, day DATE, at TIME, ref UUID, doc JSON, pic BLOB, loose
);
CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE keyless (line TEXT, n INTEGER, loose);
"""

# Column -> what a NULL becomes, and terms that change any other value as little as its type can, or in a mean way.
CHANGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "n": ("0", ("n + 1", "n # 1", "-n - 1", "n # (1::bigint << 62)")),
    "flag": ("false", ("NOT flag",)),
    "price": ("0", ()),  # by one ulp, which SQL has no function for
    "amount": ("0", ("amount + 0.01", "-amount", "(amount::text || '0')::numeric", "amount * 10")),
    "note": ("''", ("note || ' '", "left(note, -1)", "upper(note)", "normalize(note, NFD)", "'\ufeff' || note")),
    "made": ("'2000-01-01Z'", ("made + interval '1 ms'", "made - interval '1 ms'", "made + interval '1 hour'")),
    "fine": ("'2000-01-01'", ("fine + interval '1 us'", "fine - interval '1 us'")),
    "day": ("'2000-01-01'", ("day + 1", "day - 1")),
    "at": ("'00:00:00'", ("at + interval '1 s'", "at - interval '1 s'")),
    "ref": ("'00000000-0000-0000-0000-000000000000'", ("overlay(ref::text placing 'f' from 36)::uuid",)),
    "doc": ("'null'", ("doc || '{\"more\": 0}'", "doc - 'row'", "to_jsonb(doc::text)")),
    "pic": ("''", ("pic || '\\x00'", "substring(pic from 2)", "set_bit(pic, 0, 1 - get_bit(pic, 0))")),
    "loose": ("''", ("loose || '\\x00'", "substring(loose from 2)", "set_bit(loose, 7, 1 - get_bit(loose, 7))")),
}

Named = tuple[str, str, str | None, str | None]
"""Kind of a difference, table, key and column."""


def make_source(path: Path) -> None:
    """Every type, NULLs in all columns that may hold them, classes mixed in `pic` and `loose`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SOURCE)
        for row in range(1, ROWS + 1):
            values: list[object] = [
                row,
                row * 7919 - 40_000,
                row % 2,
                row / 7,
                row * 1.25,
                f"note {row} é",
                f"2024-01-{row % 28 + 1:02d}T10:11:12.{row:03d}Z",
                f"1969-12-31 23:59:59.{row:06d}",
                f"2023-{row % 12 + 1:02d}-05",
                f"10:{row % 60:02d}:30",
                f"0f8fad5b-d9cb-469f-a165-7086772895{row:02d}",
                f'{{"row": {row}, "text": "é"}}',
                "text" if row % 9 == 0 else bytes([row, 0, 255]),
                [row, f"{row}", row / 3, bytes([row])][row % 4],
            ]
            for place in range(1, len(values)):
                if (row + place) % 11 == 0:
                    values[place] = None
            connection.execute(f"INSERT INTO keyed VALUES ({', '.join('?' * len(values))})", values)
            connection.execute("INSERT INTO pairs VALUES (?, ?, ?)", (f"k{row % 5}", row, f"v{row}"))
            loose = [row % 4, f"{row % 4}", None, b"x"][row % 4]
            connection.execute("INSERT INTO keyless VALUES (?, ?, ?)", (f"line {row % 20}", row % 3, loose))
        connection.commit()


# -- mutations: each does one thing to the target and says what must be named -----------------------------------------

Draw = Callable[[st.SearchStrategy], object]  # type: ignore[type-arg]
ROW = st.integers(1, ROWS)


def one(connection: psycopg.Connection, query: sql.Composable | str, *parameters: object) -> tuple[object, ...]:
    """The single row of a query."""
    (row,) = connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]
    return tuple(row)


def digest_key(line: str | None, n: int | None, loose: bytes | None) -> str:
    """How a row of `keyless` is named: by the beginning of its row digest."""
    fields = [
        None if line is None else line.encode(),
        None if n is None else struct.pack(">q", n),
        None if loose is None else bytes(loose),
    ]
    return f"row digest {reference.row_digest(fields).hex()[:16]}"


def set_value(connection: psycopg.Connection, row: object, column: str, term: str) -> set[Named]:
    """Set a value of `keyed` to what an SQL term gives."""
    connection.execute(
        sql.SQL("UPDATE keyed SET {} = {} WHERE id = %s").format(sql.Identifier(column), sql.SQL(term)),  # type: ignore[arg-type]
        (row,),
    )
    return {("changed row", "keyed", f"id={row}", column)}


def ulps(value: float) -> tuple[str, str]:
    """The doubles next to one, as terms."""
    return repr(math.nextafter(value, -math.inf)), repr(math.nextafter(value, math.inf))


def change_a_value(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row, column = draw(ROW), str(draw(st.sampled_from(sorted(CHANGES))))
    (value,) = one(connection, sql.SQL("SELECT {} FROM keyed WHERE id = %s").format(sql.Identifier(column)), row)
    instead, terms = CHANGES[column]
    if value is None:
        terms = (instead,)
    elif draw(st.integers(0, 4)) == 0:
        terms = ("NULL",)
    elif isinstance(value, float):
        terms = ulps(value)
    return set_value(connection, row, column, str(draw(st.sampled_from(terms))))


def exchange_values(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    first, column = draw(ROW), draw(st.sampled_from(sorted(CHANGES)))
    second = (first + draw(st.integers(1, ROWS - 1)) - 1) % ROWS + 1  # type: ignore[operator]
    name = sql.Identifier(str(column))
    query = sql.SQL("SELECT x.{0} IS DISTINCT FROM y.{0} FROM keyed x, keyed y WHERE x.id = %s AND y.id = %s")
    assume(one(connection, query.format(name), first, second)[0])
    connection.execute(
        sql.SQL(
            "UPDATE keyed SET {0} = (SELECT o.{0} FROM keyed o WHERE o.id = %s::bigint + %s - keyed.id)"
            " WHERE id IN (%s, %s)"
        ).format(name),
        (first, second, first, second),
    )
    return {("changed row", "keyed", f"id={row}", str(column)) for row in (first, second)}


def lose_a_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row = draw(ROW)
    connection.execute("DELETE FROM keyed WHERE id = %s", (row,))
    return {("count", "keyed", None, None), ("missing row", "keyed", f"id={row}", None)}


def add_a_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row = draw(st.sampled_from([-1, 0, ROWS + 1, 2**62]))
    connection.execute("INSERT INTO keyed (id) OVERRIDING SYSTEM VALUE VALUES (%s)", (row,))
    # The sequence would now give out a number that is in use.
    behind = {("sequence", "keyed", None, "id")} if row > ROWS else set()  # type: ignore[operator]
    return {("count", "keyed", None, None), ("extra row", "keyed", f"id={row}", None)} | behind


def move_a_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row = draw(ROW)
    connection.execute("UPDATE keyed SET id = id + 1000 WHERE id = %s", (row,))
    return {
        ("missing row", "keyed", f"id={row}", None),
        ("extra row", "keyed", f"id={row + 1000}", None),  # type: ignore[operator]
        ("sequence", "keyed", None, "id"),
    }


def change_beside_a_composite_key(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row = draw(ROW)
    (a,) = one(connection, "UPDATE pairs SET v = v || '!' WHERE b = %s RETURNING a", row)
    return {("changed row", "pairs", f"a={a}, b={row}", "v")}


def change_a_composite_key(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    row = draw(ROW)
    (a,) = one(connection, "UPDATE pairs SET a = a || 'x' WHERE b = %s RETURNING a", row)
    before = str(a).removesuffix("x")
    return {("missing row", "pairs", f"a={before}, b={row}", None), ("extra row", "pairs", f"a={a}, b={row}", None)}


def a_keyless_row(connection: psycopg.Connection, draw: Draw) -> tuple[str, tuple[object, ...]]:
    """(ctid, values) of a row of the table without a key."""
    ctid, *values = one(
        connection, "SELECT ctid::text, * FROM keyless ORDER BY keyless.ctid LIMIT 1 OFFSET %s - 1", draw(ROW)
    )
    return str(ctid), tuple(values)


def double_a_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    ctid, values = a_keyless_row(connection, draw)
    connection.execute("INSERT INTO keyless SELECT * FROM keyless WHERE ctid = %s::tid", (ctid,))
    return {("count", "keyless", None, None), ("extra row", "keyless", digest_key(*values), None)}  # type: ignore[arg-type]


def lose_a_keyless_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    ctid, values = a_keyless_row(connection, draw)
    connection.execute("DELETE FROM keyless WHERE ctid = %s::tid", (ctid,))
    return {("count", "keyless", None, None), ("missing row", "keyless", digest_key(*values), None)}  # type: ignore[arg-type]


def change_a_keyless_row(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    ctid, values = a_keyless_row(connection, draw)
    now = one(connection, "UPDATE keyless SET line = line || '.' WHERE ctid = %s::tid RETURNING *", ctid)
    return {
        ("missing row", "keyless", digest_key(*values), None),  # type: ignore[arg-type]
        ("extra row", "keyless", digest_key(*now), None),  # type: ignore[arg-type]
    }


ORIGINAL_CHANGES = {
    "a byte more": sql.SQL("UPDATE nasmigrate.originals SET value = value || '\\x00'::bytea WHERE ctid = %s::tid"),
    "a byte less": sql.SQL("UPDATE nasmigrate.originals SET value = substring(value from 2) WHERE ctid = %s::tid"),
    "lost": sql.SQL("DELETE FROM nasmigrate.originals WHERE ctid = %s::tid"),
}


def change_an_original(connection: psycopg.Connection, draw: Draw) -> set[Named]:
    ctid, table, key, column = one(
        connection,
        "SELECT ctid::text, table_name, key, column_name FROM nasmigrate.originals"
        " ORDER BY table_name, key, column_name, ordinal OFFSET %s %% (SELECT count(*) FROM nasmigrate.originals)"
        " LIMIT 1",
        draw(st.integers(0, 1000)),
    )
    what = str(draw(st.sampled_from(sorted(ORIGINAL_CHANGES))))
    connection.execute(ORIGINAL_CHANGES[what], (ctid,))
    event(f"an original of {table}.{column}: {what}")
    return {("originals", str(table), bytes(key).hex(), str(column))}  # type: ignore[arg-type]


MUTATIONS = (
    *([change_a_value] * 5),
    exchange_values,
    lose_a_row,
    add_a_row,
    move_a_row,
    change_beside_a_composite_key,
    change_a_composite_key,
    double_a_row,
    lose_a_keyless_row,
    change_a_keyless_row,
    change_an_original,
    change_an_original,
)
