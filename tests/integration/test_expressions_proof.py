"""Translated expressions give in PostgreSQL what they gave in SQLite, shown on the same rows in both.

A wrong translation would let rows in that the application never allowed, refuse rows that it always wrote,
or make a partial unique index cover other rows. So the two systems are asked, and their answers compared.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from nasmigrate.schema.expressions import (
    NotTranslated,
    Translated,
    translate_default,
    translate_predicate,
    translate_term,
)

# name: (declared type in SQLite, type in PostgreSQL, values)
COLUMNS: dict[str, tuple[str, str, Sequence[object]]] = {
    "i": ("INTEGER", "bigint", [None, 0, 1, -1, 2, 7, -7, 100, 2**31, 2**53 + 1]),
    "j": ("INTEGER", "bigint", [None, 0, 1, 2, 3, -3, 7, 2**53]),
    "k": ("INT", "integer", [None, 0, 1, 5, -2, 2**31 - 1]),
    "d": ("REAL", "double precision", [None, 0.0, 0.1, 0.5, -0.5, 1.0, 1.5, 1e15, 0.30000000000000004]),
    "e": ("REAL", "double precision", [None, 0.2, 0.1, 1.0, 2.0, -3.25]),
    "b": ("BOOLEAN", "boolean", [None, 0, 1]),
    "Flag": ("BOOLEAN", "boolean", [None, 0, 1]),
    "m": ("NUMERIC", "numeric(10,2)", [None, 0, 1, 0.1, 19.99, 20, -5.5]),
    "p": ("NUMERIC", "numeric", [None, 0, 1, 0.1, 19.99, 20, -5.5]),
    "t": (
        "TEXT",
        "text",
        [None, "", "a", "A", "abc", "ABC", "É", "é", "z", "Z", " a ", "a_c", "50%", "\\", "ab", "日本"],
    ),
    "u": ("TEXT", "text", [None, "", "a", "B", "b", "É", "é", "a'b", "abc", "zz", "~", "日"]),
    "n": ("TEXT COLLATE NOCASE", "text", [None, "a", "A", "É", "é", "abc", "ABC"]),
    "r": ("TEXT COLLATE RTRIM", "text", [None, "a", "a  ", " a", "abc", ""]),
    "x": ("BLOB", "bytea", [None, b"", b"\x00", b"\x00\xff", b"abc"]),
    "s": ("TEXT", "timestamp(0)", [None, "2020-01-01 00:00:00", "2024-02-29 23:59:59", "1999-12-31 12:00:00"]),
    "w": ("TEXT", "timestamp(0)", [None, "2020-01-01 00:00:00", "2024-02-29 23:59:58", "1999-12-31 12:00:00"]),
    'we"ird Näme': ("INTEGER", "bigint", [None, 0, 1, 2]),
}
TYPES = {name: postgres for name, (_, postgres, _) in COLUMNS.items()}
COLLATIONS = {"n": "NOCASE", "r": "RTRIM"}
SHAPES = {"s": "YYYY-MM-DD HH:MM:SS", "w": "YYYY-MM-DD HH:MM:SS"}

PREDICATES = [
    "b IN (0,1)", "b IN (0, 1, NULL)", "b = 1", "b <> 0", "B", "NOT b", "FLAG = b", "b > 0", "b = 2", "flag IS TRUE",
    "flag IS NOT TRUE", "b IS 1", "b IS NOT 0", "b + flag <= 1", "b = i", "b BETWEEN 0 AND 1", "i", "NOT i", "d", "m",
    "i AND b OR NOT d", "i >= 0", "i > 0.5", "i = 9007199254740993", "i == 1", "i != 1", "i = 1e0", "k * 2 > i",
    "i IS NULL", "i ISNULL", "i NOTNULL", "i NOT NULL", "i IS NOT NULL", "(i IS NULL) = (j IS NULL)",
    "(i IS NULL) + (j IS NULL) + (t IS NULL) = 1", "(i > 0) <> (j > 0)", "NOT i = j AND k", "NOT i IN (1, 2)",
    "i NOT IN (1, NULL)", "i NOT BETWEEN 1 AND 5", "i BETWEEN 0.5 AND 7", "i / j = 2", "i % j < 0", "-i / 2 = -3",
    "i % -2 = -1", "-i > j", "abs(i) = 7", "i + j * 2 - 1 > 0", "i IN (j, 1 + 1)", "i IS j", "i IS NOT j", "i = -1",
    "d = 0.1", "d >= .5", "d IN (0.1, 1.5, 2)", "d + e > 0.3", "d * 2 = 1", "d - i < 0", "-d > 0", "abs(d) = 0.5",
    "d BETWEEN e AND 2", "d <> 1", "m = 19.99", "m > 1", "m >= i", "m IN (0.1, 20)", "abs(m) = 5.5", "p = 19.99",
    "p BETWEEN 0.1 AND 20", "coalesce(m, 0) >= 0", "t = 'a'", "t <> u", "t < u", "t >= 'a'", "t BETWEEN 'A' AND 'b'",
    "t NOT BETWEEN u AND 'z'", "t IN ('a', 'É', '')", "t IN (u, 'a''b')", "t = \"a\"", "t <> \"zz\" AND `u` = [t]",
    "length(t) > 1", "length(trim(t)) = 1", "length(x) = 2", "x = x'00ff'", "x > x'00'", "x IS NOT x''",
    "t LIKE 'a%'", "t NOT LIKE '_B%'", "t LIKE '%\"%' OR t LIKE ''", "t LIKE 'A_C'", "u LIKE '%''%'", "t LIKE '_'",
    "lower(t) = u", "upper(t) <> t", "ltrim(t) = rtrim(t)", "t || u = 'abc'", "t || '' = t", "substr(t, 1, 1) = 'a'",
    "substr(t, 2) = 'bc'", "ifnull(t, '') = ''", "coalesce(t, u, 'x') < 'b'", "coalesce(b, 0) = 0", "ifnull(b, 1)",
    "coalesce(d, 1) > 0.5", "CASE WHEN b THEN i ELSE j END > 0", "CASE i WHEN 1 THEN 'a' WHEN 2 THEN 'b' END = t",
    "CASE WHEN i > 1 THEN d WHEN b THEN 0 END >= 0", "iif(b, t, u) = 'a'", "CASE t WHEN 'a' THEN 1 ELSE 0 END",
    "n = 'A'", "n < 'b'", "n IN ('ABC', 'é')", "'Abc' = n", "t = n", "n = t", "n BETWEEN 'A' AND 'a'", "n LIKE 'A%'",
    "r = 'a'", "r > 'a'", "r IN ('a ', 'abc  ')", "CASE n WHEN 'A' THEN 1 END", "coalesce(n, '') = 'a'",
    "n || '' = 'a'",
    "s <= w", "s = '2020-01-01 00:00:00'", "s BETWEEN '2000-01-01 00:00:00' AND w", "s IS NULL OR w IS NOT NULL",
    '"we""ird Näme" > 0', "q.i > 1", "NULL", "i = NULL OR b", "1", "0 OR b", "TRUE AND b", "i > -9223372036854775808",
    "NOT (b AND flag)", "NOT b IS NULL", "i > 1 -- a remark", "/* a remark */ i > 1", "t = 'a -- b'", "i IN (1.0, 2.5)",
    "1 = 1.0", "i = TRUE", "'a' < 'B'", "t < 'a' OR t < 'É'",
    "i NOT IN (2, 3) AND t NOT LIKE 'z%' AND d NOT BETWEEN 0 AND 1",
]  # fmt: skip

TERMS = [
    "d / e", "d / i", "i / d", "d / 2", "5 / d", "i / 2.5", "1 / 0.0",
    "t || i", "'a' || k || b", "b || flag", "length(i)", "length(-k)", "i || j", "'x' || (i > j)",
    "lower(t)", "upper(t)", "trim(t)", "ltrim(t)", "rtrim(t)", "t || u", "t || '-' || u", "substr(t, 1, 2)",
    "length(t)",
    "coalesce(t, 'none')", "i + 1", "i - j", "k + k", "k * k", "-k", "i * 2", "i / 3", "i % 3", "j / 0", "abs(i)",
    "d * 2",
    "d + i", "-d", "b", "i > 0", "CASE WHEN b THEN 'yes' ELSE 'no' END", "CASE WHEN i > 1 THEN 1 WHEN d THEN 2 END",
    "coalesce(b, 1)", "coalesce(i, j, 0)", "x", "length('日本')", "'a' || 'b'", "1 + 2147483647", "b + flag",
    "ifnull(d, 0.5)",
    "lower('ABC')", "iif(i > j, i, j)", "(((i)))", "+i", "NULL", "x'c3a9'", "-1 - -1", "7 / -2", "-7 % 3", "-d * e",
]  # fmt: skip


def row_values(seed: int, count: int) -> list[list[object]]:
    chance = random.Random(seed)
    return [[chance.choice(values) for _, _, values in COLUMNS.values()] for _ in range(count)]


def for_postgres(name: str, value: object) -> object:
    if value is not None and COLUMNS[name][1] == "boolean":
        return bool(value)
    if value is not None and COLUMNS[name][1].startswith("numeric"):
        return Decimal(repr(value))
    return value


def definitions() -> str:
    """The columns of the table in SQLite."""
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in COLUMNS}
    return "no INTEGER PRIMARY KEY, " + ", ".join(f"{quoted[n]} {declared}" for n, (declared, _, _) in COLUMNS.items())


@pytest.fixture
def source() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE q ({definitions()})")
    rows = [[no, *row] for no, row in enumerate(row_values(20240229, 300))]
    connection.executemany(f"INSERT INTO q VALUES ({', '.join('?' * (len(COLUMNS) + 1))})", rows)
    yield connection
    connection.close()


@pytest.fixture
def target(database: str, source: sqlite3.Connection) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        # As in a database of another language than C: É is folded by a plain lower(), and where the server
        # knows a locale, text sorts by it.
        (locale,) = connection.execute(
            "SELECT collname FROM pg_collation WHERE collname IN ('en-x-icu', 'en_US.utf8', 'pg_c_utf8')"
            " AND collencoding IN (-1, pg_char_to_encoding('UTF8')) ORDER BY collname LIMIT 1"
        ).fetchone()
        kinds = {name: kind + (f' COLLATE "{locale}"' if kind == "text" else "") for name, kind in TYPES.items()}
        definitions = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(postgres)) for name, postgres in kinds.items()
        ]
        create = sql.SQL("CREATE TABLE q (no bigint PRIMARY KEY, {})").format(sql.SQL(", ").join(definitions))
        connection.execute(create)
        places = sql.SQL(", ").join([sql.Placeholder()] * (len(COLUMNS) + 1))
        insert = sql.SQL("INSERT INTO q VALUES ({})").format(places)
        rows = source.execute("SELECT * FROM q ORDER BY no").fetchall()
        with connection.cursor() as cursor:
            cursor.executemany(insert, [[row[0], *map(for_postgres, COLUMNS, row[1:])] for row in rows])
        yield connection


def plain(value: object) -> object:
    """A value as SQLite would show it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return float(value)
    return value


def translated(outcome: Translated | NotTranslated, text: str) -> str:
    assert isinstance(outcome, Translated), f"{text}: {outcome}"
    return outcome.sql


def truths(connection: sqlite3.Connection | psycopg.Connection, expression: str) -> list[int | None]:
    query = f"SELECT CASE WHEN ({expression}\n) THEN 1 WHEN NOT ({expression}\n) THEN 0 END FROM q ORDER BY no"
    return [row[0] for row in connection.execute(query)]  # type: ignore[arg-type]


def test_conditions_are_true_on_the_same_rows(source: sqlite3.Connection, target: psycopg.Connection) -> None:
    for text in PREDICATES:
        written = translated(translate_predicate(text, columns=TYPES, collations=COLLATIONS, text_shapes=SHAPES), text)
        assert truths(target, written) == truths(source, text), f"{text} => {written}"


def test_conditions_serve_as_check_and_index_condition(source: sqlite3.Connection, target: psycopg.Connection) -> None:
    source.execute("DROP TABLE q")
    for number, text in enumerate(PREDICATES):
        # SQLite takes the text as a CHECK: otherwise the case could not occur.
        source.execute(f"CREATE TABLE q ({definitions()}, CHECK ({text}\n))")
        source.execute("DROP TABLE q")
        outcome = translate_predicate(text, columns=TYPES, collations=COLLATIONS, text_shapes=SHAPES)
        written = sql.SQL(translated(outcome, text))
        name = sql.Identifier(f"c{number}")
        target.execute(sql.SQL("ALTER TABLE q ADD CONSTRAINT {} CHECK ({}) NOT VALID").format(name, written))
        target.execute(sql.SQL("CREATE INDEX {} ON q (no) WHERE {}").format(name, written))


def test_terms_give_the_same_values(source: sqlite3.Connection, target: psycopg.Connection) -> None:
    for number, text in enumerate(TERMS):
        written = translated(translate_term(text, columns=TYPES), text)
        expected = [row[0] for row in source.execute(f"SELECT ({text}) FROM q ORDER BY no")]
        got = [plain(row[0]) for row in target.execute(f"SELECT ({written}) FROM q ORDER BY no")]
        assert got == expected, f"{text} => {written}"
        target.execute(f"CREATE INDEX t{number} ON q (({written}))")


@pytest.mark.parametrize(
    ("text", "declared", "target_type"),
    [
        ("i > 0", "INTEGER", "bigint"), ("i > 0", "BOOLEAN", "boolean"), ("i + 1", "INTEGER", "bigint"),
        ("lower(t)", "TEXT", "text"), ("i", "REAL", "double precision"), ("d * 2", "REAL", "double precision"),
        ("k", "REAL", "double precision"), ("length(t)", "INTEGER", "bigint"), ("m", "NUMERIC", "numeric(10,2)"),
        ("NULL", "TEXT", "text"), ("1", "BOOLEAN", "boolean"), ("5", "REAL", "double precision"),
    ],
)  # fmt: skip
def test_generated_columns_hold_the_same_values(
    source: sqlite3.Connection, target: psycopg.Connection, text: str, declared: str, target_type: str
) -> None:
    source.execute(f"ALTER TABLE q ADD COLUMN made {declared} GENERATED ALWAYS AS ({text}) VIRTUAL")
    written = translated(translate_term(text, columns=TYPES, target_type=target_type), text)
    target.execute(f"ALTER TABLE q ADD COLUMN made {target_type} GENERATED ALWAYS AS ({written}) STORED")
    expected = source.execute("SELECT made FROM q ORDER BY no").fetchall()
    assert [(plain(value),) for (value,) in target.execute("SELECT made FROM q ORDER BY no")] == expected


def invented(chance: random.Random, depth: int) -> str:
    """A random expression text, often without the parentheses that would make it plain."""
    atoms = ["i", "j", "k", "d", "e", "b", "Flag", "m", "p", "t", "u", "n", "r", "x", "s", "w", "0", "1", "2", "-7",
             "0.5",
             "NULL", "TRUE", "'a'", "'abc'", "''", '"zz"', "x'00'"]  # fmt: skip
    if depth == 0 or chance.random() < 0.15:
        return chance.choice(atoms)

    def inner() -> str:
        text = invented(chance, depth - 1)
        return f"({text})" if chance.random() < 0.45 else text

    binary = ["=", "==", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "AND", "OR", "AND", "OR", "IS",
              "IS NOT"]  # fmt: skip
    match chance.randrange(10):
        case 0 | 1 | 2 | 3 | 4:
            return f"{inner()} {chance.choice(binary)} {inner()}"
        case 5:
            return chance.choice(["NOT {}", "- {}", "{} IS NULL", "{} NOT NULL", "{} IS NOT TRUE"]).format(inner())
        case 6:
            return f"{inner()} {chance.choice(['', 'NOT '])}IN ({inner()}, {inner()})"
        case 7:
            return f"{inner()} {chance.choice(['', 'NOT '])}BETWEEN {inner()} AND {inner()}"
        case 8:
            name = chance.choice(
                ["lower({})", "trim({})", "length({})", "abs({})", "coalesce({}, {})", "iif({}, {}, {})"]
            )
            return name.format(inner(), inner(), inner())
        case _:
            pattern = chance.choice(["a%", "_", "%B_", ""])
            return chance.choice(
                [f"{inner()} LIKE '{pattern}'", f"CASE WHEN {inner()} THEN {inner()} ELSE {inner()} END"]
            )


def test_invented_conditions_are_never_true_on_other_rows(
    source: sqlite3.Connection, target: psycopg.Connection
) -> None:
    chance = random.Random(106)
    source.execute("DELETE FROM q WHERE no >= 120")
    target.execute("DELETE FROM q WHERE no >= 120")
    compared = 0
    for _ in range(12_000):
        text = invented(chance, chance.randrange(1, 4))
        outcome = translate_predicate(text, columns=TYPES, collations=COLLATIONS, text_shapes=SHAPES)
        if isinstance(outcome, NotTranslated):
            continue
        try:
            got = truths(target, outcome.sql)
        except psycopg.errors.NumericValueOutOfRange:
            continue  # 64 bits are left: a refused row, where SQLite would go on with a REAL
        assert got == truths(source, text), f"{text} => {outcome.sql}"
        compared += 1
    assert compared > 1000


LITERAL_DEFAULTS = [
    ("NULL", "TEXT", "text"), ("''", "TEXT", "text"), ("'it''s \\n'", "TEXT", "text"), ('"x"', "TEXT", "text"),
    ("draft", "TEXT", "text"), ("0", "TEXT", "text"), ("-1", "TEXT", "text"), ("1.50", "TEXT", "text"),
    ("1.0", "TEXT", "text"), ("1e3", "TEXT", "text"), ("0.0001", "TEXT", "text"), ("TRUE", "TEXT", "text"),
    ("007", "TEXT", "text"), ("0", "INTEGER", "bigint"), ("-1", "INTEGER", "bigint"), ("+1", "INTEGER", "bigint"),
    ("1e3", "INTEGER", "bigint"), ("'42'", "INTEGER", "bigint"), ("'-007'", "INTEGER", "bigint"),
    ("true", "INTEGER", "bigint"),
    ("-9223372036854775808", "INTEGER", "bigint"), ("9223372036854775807", "INTEGER", "bigint"),
    ("7", "INT", "integer"),
    ("0", "BOOLEAN", "boolean"), ("1", "BOOLEAN", "boolean"), ("TRUE", "BOOLEAN", "boolean"),
    ("'1'", "BOOLEAN", "boolean"),
    ("0", "REAL", "double precision"), ("0.1", "REAL", "double precision"), (".5", "REAL", "double precision"),
    ("5.", "REAL", "double precision"), ("-1.5e-3", "REAL", "double precision"), ("'2.5'", "REAL", "double precision"),
    ("19.99", "NUMERIC", "numeric"), ("1.0", "NUMERIC", "numeric(6,2)"), ("'3'", "NUMERIC", "numeric"),
    ("x'00ff'", "BLOB", "bytea"), ("X''", "BLOB", "bytea"), ("(1)", "INTEGER", "bigint"), ("('a')", "TEXT", "text"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "declared", "target_type"), LITERAL_DEFAULTS)
def test_literal_defaults_store_the_same_value(
    source: sqlite3.Connection, target: psycopg.Connection, text: str, declared: str, target_type: str
) -> None:
    source.execute(f"CREATE TABLE f (a INTEGER, v {declared} DEFAULT {text})")
    default = source.execute("SELECT dflt_value FROM pragma_table_xinfo('f') WHERE name = 'v'").fetchone()[0]
    written = translated(translate_default(default, target_type=target_type, text_shape=None), text)
    target.execute(f"CREATE TABLE f (a bigint, v {target_type} DEFAULT {written})")
    for connection in (source, target):
        connection.execute("INSERT INTO f (a) VALUES (1)")
    assert plain(target.execute("SELECT v FROM f").fetchone()[0]) == source.execute("SELECT v FROM f").fetchone()[0]


CLOCK_DEFAULTS = [
    ("CURRENT_TIMESTAMP", "YYYY-MM-DD HH:MM:SS", "timestamp(0)"), ("current_timestamp", None, "timestamp(3)"),
    ("(CURRENT_TIMESTAMP)", "YYYY-MM-DD HH:MM:SS", "timestamptz(0)"), ("CURRENT_TIMESTAMP", None, "text"),
    ("CURRENT_DATE", "YYYY-MM-DD", "date"), ("CURRENT_DATE", None, "text"), ("CURRENT_TIME", "HH:MM:SS", "time(0)"),
    ("CURRENT_TIME", None, "text"), ("(datetime('now'))", None, "text"), ("(date('now'))", "YYYY-MM-DD", "date"),
    ("(time('now'))", None, "text"), ("(strftime('%Y-%m-%dT%H:%M:%fZ','now'))", None, "text"),
    ("(strftime('%Y-%m-%dT%H:%M:%fZ','now'))", "YYYY-MM-DDTHH:MM:SS.SSSZ", "timestamptz(3)"),
    ("(strftime('%Y-%m-%d %H:%M:%S','now'))", "YYYY-MM-DD HH:MM:SS", "timestamp(0)"),
    ("(strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now'))", "YYYY-MM-DDTHH:MM:SS+00:00", "text"),
    ("(strftime('%s','now'))", None, "bigint"), ("(CAST(strftime('%s','now') AS INTEGER))", None, "bigint"),
    ("(strftime('%s','now') * 1000)", None, "bigint"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shape", "target_type"), CLOCK_DEFAULTS)
def test_now_is_the_same_moment_in_the_same_shape(
    source: sqlite3.Connection, target: psycopg.Connection, text: str, shape: str | None, target_type: str
) -> None:
    declared = "INTEGER" if target_type == "bigint" else "TEXT"
    source.execute(f"CREATE TABLE f (a INTEGER, v {declared} DEFAULT {text})")
    default = source.execute("SELECT dflt_value FROM pragma_table_xinfo('f') WHERE name = 'v'").fetchone()[0]
    written = translated(translate_default(default, target_type=target_type, text_shape=shape), text)
    target.execute(f"CREATE TABLE f (a bigint, v {target_type} DEFAULT {written})")
    for _ in range(3):
        for connection in (source, target):
            connection.execute("DELETE FROM f")
            connection.execute("INSERT INTO f (a) VALUES (1)")
        after = datetime.now(UTC)
        theirs, ours = (connection.execute("SELECT v FROM f").fetchone()[0] for connection in (source, target))
        if isinstance(theirs, int):
            scale = 1000 if "1000" in text else 1
            assert 0 <= ours - theirs <= 5 * scale
            assert theirs % scale == ours % scale == 0
            continue
        if isinstance(ours, str):
            assert re.sub(r"\d", "0", ours) == re.sub(r"\d", "0", theirs), "a new row looks like the old ones"
        unit = timedelta(milliseconds=1) if "%f" in text else timedelta(seconds=1)
        assert moment_of(ours, after).microsecond % (unit // timedelta(microseconds=1)) == 0
        lag = (moment_of(ours, after) - moment_of(theirs, after)) % timedelta(days=1)
        assert lag <= timedelta(seconds=5), "the same clock, whatever zone the session is in"
        if isinstance(ours, datetime):
            assert moment_of(ours, after) <= after, "a cut value is never in the future"


def moment_of(value: str | date | time, day: datetime) -> datetime:
    """What was stored, as a UTC moment; a time of day is put on the given day."""
    text = str(value)
    if "-" not in text:
        return datetime.combine(day.date(), time.fromisoformat(text), UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
