"""The translator of schema expressions: what it writes, and above all what it refuses to guess."""

from __future__ import annotations

import random

import pytest

from nasmigrate.schema.expressions import (
    NotTranslated,
    Translated,
    translate_default,
    translate_predicate,
    translate_term,
)
from nasmigrate.schema.model import Affinity

COLUMNS = {
    "Id": "bigint",
    "n": "integer",
    "price": "double precision",
    "total": "numeric",
    "cents": "numeric(10,2)",
    "active": "boolean",
    "name": "text",
    "body": "bytea",
    "day": "date",
    "starts": "timestamp(0)",
    "ends": "timestamp(0)",
    "seen": "timestamptz(3)",
    "token": "uuid",
    "doc": "jsonb",
    'od"d': "text",
}


def predicate(text: str) -> str:
    outcome = translate_predicate(text, columns=COLUMNS)
    assert isinstance(outcome, Translated), outcome
    return outcome.sql


def refused(text: str) -> str:
    outcome = translate_predicate(text, columns=COLUMNS)
    assert isinstance(outcome, NotTranslated), outcome
    return outcome.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("active IN (0,1)", '"active" IN (FALSE, TRUE)'),
        ("ACTIVE = 1", '"active" = TRUE'),
        ("active", '"active"'),
        ("id", '"Id" <> 0'),
        ("NOT id", 'NOT ("Id" <> 0)'),
        ('"ID" > 0 AND [Name] <> `od"d`', '("Id" > 0) AND ("name" <> "od""d")'),
        ('name = "it\'s"', "\"name\" = 'it''s'"),
        ("name < 'b'", '"name" COLLATE "C" < \'b\''),
        ("name LIKE 'Ab%'", "lower(\"name\" COLLATE \"C\") LIKE 'ab%' ESCAPE ''"),
        ("name NOT LIKE 'a_'", "lower(\"name\" COLLATE \"C\") NOT LIKE 'a_' ESCAPE ''"),
        ("id / n = 2", '("Id" / NULLIF("n"::bigint, 0)) = 2'),
        ("n + 1 > 0", '("n"::bigint + 1::bigint) > 0'),
        ("price > 0.1", "\"price\" > '0.1'::double precision"),
        ("body <> X'00Ff'", "\"body\" <> '\\x00ff'::bytea"),
        ("(name IS NULL) = (day IS NULL)", '("name" IS NULL) = ("day" IS NULL)'),
        ("token IS NOT NULL", 'NOT ("token" IS NULL)'),
        ("length(trim(name)) > 0", "length(btrim(\"name\", ' ')) > 0"),
        ("coalesce(active, 0) = 1", 'COALESCE("active", FALSE) = TRUE'),
        ("id > -9223372036854775808", "\"Id\" > '-9223372036854775808'::bigint"),
    ],
)
def test_writes(text: str, expected: str) -> None:
    assert predicate(text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("json_valid(doc)", "json_valid()"),
        ("typeof(id) = 'integer'", "typeof()"),
        ("strftime('%Y', day) > '2000'", "strftime()"),
        ("date(day) > '2000-01-01'", "date()"),
        ("len(name) > 1", "len()"),
        ("char_length(name) > 1", "char_length()"),
        ("lcase(name) = 'a'", "lcase()"),
        ('"lower"(name) = name', "lower()"),
        ("max(id, n) > 1", "max()"),
        ("round(price) = 1", "round()"),
        ("name GLOB 'a*'", "Glob"),
        ("name REGEXP 'a'", "regexp"),
        ("name LIKE 'é'", "LIKE"),
        ("name LIKE 'a\\_'", "LIKE"),
        ("name LIKE 'a!_' ESCAPE '!'", "Escape"),
        ("name LIKE name", "LIKE"),
        ("id LIKE '1%'", "LIKE"),
        ("name = 5", "text"),
        ("id = '5'", "'5'"),
        ("name", "condition"),
        ("name + 1 > 0", "text"),
        ("starts > '2020-01-01'", "timestamp(0)"),
        ("starts < ends", "timestamp(0)"),
        ("day = seen", "date"),
        ("token = 'a'", "uuid"),
        ("doc = '{}'", "jsonb"),
        ("id = price", "double"),
        ("total > cents", "numeric"),
        ("total + 1 > 0", "numeric"),
        ("price = 9007199254740993", "9007199254740993"),
        ("price > 0.1234567890123456", "0.1234567890123456"),
        ("id > 9223372036854775808", "64 bits"),
        ("name COLLATE NOCASE = 'a'", "ollat"),
        ("id & 1", "Bitwise"),
        ("id IN ()", "IN"),
        ("id IN (SELECT 1)", "query"),
        ("id = n = 1", "parentheses"),
        ("id IS NULL = 1", "parentheses"),
        ("id = NOT n", "parentheses"),
        ("(id, n) = (1, 2)", "parentheses"),
        ("id IN ((1, 2))", "parentheses"),
        ("coalesce(NULL, NULL) = 1", "NULL"),
        ("CAST(id AS TEXT) = '1'", "cast"),
        ("doc ->> 'a' = 'b'", "json"),
        ("substr(name, -2, 1) = 'a'", "substr()"),
        ("substr(name, id, 1) = 'a'", "substr()"),
        ("trim(name, 'x') = 'a'", "expression"),
        ("rowid > 0", "rowid"),
        ("missing > 0", "missing"),
        ("[missing] = 'a'", "missing"),
        ("t.missing = 'a'", "missing"),
        ("CASE WHEN active THEN 'a' ELSE 1 END = 'a'", "branches"),
        ("coalesce(name, 0) = 'a'", "branches"),
        ("id > 0 OR", "read"),
        ("id > 0; DROP TABLE x", "read"),
        ("id > 0) FROM x WHERE (1", "where()"),
        ("", "read"),
        ("id = n IS NULL", "parentheses"),
        ("id > 0) OR (1", "read"),
        ("'", "read"),
    ],
)
def test_refuses_and_names_the_part(text: str, named: str) -> None:
    assert named in refused(text)


def test_a_column_called_true_is_not_taken_for_the_word() -> None:
    outcome = translate_predicate("a = TRUE", columns={"a": "bigint", "true": "bigint"})
    assert isinstance(outcome, NotTranslated)


def test_names_fold_ascii_letters_only() -> None:
    outcome = translate_predicate('"É" = "é"', columns={"é": "text"})
    assert outcome == Translated(sql="'É' = \"é\""), "É is another name, so the word is a string"


def test_collations_of_columns_decide_equality() -> None:
    outcome = translate_predicate("name = 'A'", columns=COLUMNS, collations={"NAME": "nocase"})
    assert outcome == Translated(sql='lower("name" COLLATE "C") = lower(\'A\' COLLATE "C")')
    custom = translate_predicate("name = 'A'", columns=COLUMNS, collations={"name": "german"})
    assert isinstance(custom, NotTranslated)


@pytest.mark.parametrize(
    "text", ["length(w) < 5", "w = x'63'", "w IN (x'63')", "coalesce(w, x'63') = x'63'", "CASE WHEN id THEN w END IS b"]
)
def test_bytes_that_are_no_blobs_are_not_taken_for_some(text: str) -> None:
    """'héé' has three characters and five bytes, and text never equals a blob: both would change what a CHECK says."""
    columns = {"id": "bigint", "b": "bytea", "w": "bytea"}
    assert isinstance(translate_predicate(text, columns=columns), Translated)
    outcome = translate_predicate(text, columns=columns, held_as_bytes={"W"})
    assert isinstance(outcome, NotTranslated)
    assert "text or numbers that stand as bytea" in outcome.reason
    assert isinstance(translate_predicate("w IS NOT NULL", columns=columns, held_as_bytes={"w"}), Translated)


def test_text_order_is_refused_in_a_utf16_database() -> None:
    assert isinstance(translate_predicate("name < 'b'", columns=COLUMNS, utf8=False), NotTranslated)
    assert isinstance(translate_predicate("name = 'b'", columns=COLUMNS, utf8=False), Translated)


def test_dates_compare_when_both_are_written_alike() -> None:
    alike = {"starts": "YYYY-MM-DD HH:MM:SS", "ends": "YYYY-MM-DD HH:MM:SS"}
    assert translate_predicate("starts < ends", columns=COLUMNS, text_shapes=alike) == Translated(
        sql='"starts" < "ends"'
    )
    unlike = alike | {"ends": "YYYY-MM-DDTHH:MM:SS"}
    assert isinstance(translate_predicate("starts < ends", columns=COLUMNS, text_shapes=unlike), NotTranslated)
    literal = translate_predicate("ends > '2020-01-31T00:00:00'", columns=COLUMNS, text_shapes=unlike)
    assert literal == Translated(sql="\"ends\" > '2020-01-31T00:00:00'::timestamp(0)")
    no_such_day = translate_predicate("ends > '2020-02-31T00:00:00'", columns=COLUMNS, text_shapes=unlike)
    assert isinstance(no_such_day, NotTranslated)


def test_terms_and_generated_columns() -> None:
    assert translate_term("LOWER(name)", columns=COLUMNS) == Translated(sql='lower("name" COLLATE "C")')
    as_number = translate_term("id > 0", columns=COLUMNS, target_type="bigint")
    assert as_number == Translated(sql='("Id" > 0)::integer')
    assert isinstance(translate_term("id + 1", columns=COLUMNS, target_type="text"), NotTranslated)
    assert isinstance(translate_term("id", columns=COLUMNS, target_type="boolean"), NotTranslated)


def test_long_chains_are_no_crash() -> None:
    chain = " OR ".join(f"id = {n}" for n in range(400))
    assert predicate(chain).count(" OR ") == 399
    nested = "(" * 3000 + "id" + ")" * 3000
    assert "read" in refused(nested) or "deep" in refused(nested)


def test_no_text_makes_it_raise() -> None:
    words = [
        "id",
        "name",
        "lower",
        "lower(",
        "(",
        ")",
        "'a'",
        '"',
        "'",
        "=",
        "-",
        "--",
        "/*",
        "x'0",
        "x'0'",
        "0x",
        "1e",
    ]
    words += ["1.", ".", "CASE", "IN", "[", ",", "LIKE", "\\", "\0", "é", "::", "?", "@a", "{", "SELECT", "NOT", ";"]
    chance = random.Random(7)
    for _ in range(3000):
        text = " ".join(chance.choices(words, k=chance.randrange(1, 7)))
        for outcome in (
            translate_predicate(text, columns=COLUMNS),
            translate_term(text, columns=COLUMNS),
            translate_default(text, target_type="text", text_shape=None),
            translate_default(text, target_type="bigint", text_shape=None),
        ):
            assert isinstance(outcome, Translated | NotTranslated)


SECONDS = "YYYY-MM-DD HH:MM:SS"
NOW = "now() AT TIME ZONE 'UTC'"
RANDOM = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"


@pytest.mark.parametrize(
    ("text", "target_type", "shape", "expected"),
    [
        ("NULL", "bigint", None, "NULL"),
        ("0", "boolean", None, "FALSE"),
        ("1", "boolean", None, "TRUE"),
        ("true", "bigint", None, "1"),
        ("0", "text", None, "'0'"),
        ("1.50", "text", None, "'1.5'"),
        ("'5'", "bigint", None, "5"),
        ("-1", "bigint", None, "-1"),
        ("(+1)", "bigint", None, "1"),
        ("1e3", "double precision", None, "1000.0"),
        ("'it''s'", "text", None, "'it''s'"),
        ('"x"', "text", None, "'x'"),
        ("pending", "text", None, "'pending'"),
        ("x'0A'", "bytea", None, "'\\x0a'::bytea"),
        ("'{}'", "jsonb", None, "'{}'::jsonb"),
        ("CURRENT_TIMESTAMP", "timestamp(0)", SECONDS, f"date_trunc('second', {NOW})::timestamp(0)"),
        ("datetime('now')", "timestamptz", SECONDS, "date_trunc('second', now())::timestamptz"),
        ("current_date", "date", "YYYY-MM-DD", f"(({NOW})::date)"),
        ("CURRENT_TIMESTAMP", "text", None, f"to_char({NOW}, 'YYYY-MM-DD HH24:MI:SS')"),
        ("strftime('%Y-%m-%dT%H:%M:%fZ','now')", "text", None, f"to_char({NOW}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"),
        ('datetime("now", "subsec")', "timestamp(3)", f"{SECONDS}.SSS",
         f"date_trunc('milliseconds', {NOW})::timestamp(3)"),
        ("lower(hex(randomblob(16)))", "text", None, f"left(encode({RANDOM}, 'hex'), 32)"),
        ("hex( randomblob(4) )", "text", None, f"upper(left(encode({RANDOM}, 'hex'), 8))"),
        ("(randomblob(30))", "bytea", None, f"substr({RANDOM}, 1, 30)"),
        ("unixepoch() * 1000", "bigint", None, "floor(extract(epoch FROM now()))::bigint * 1000"),
        ("'2020-01-01'", "date", "YYYY-MM-DD", "'2020-01-01'::date"),
        ("'2020-01-01 00:00:00'", "timestamptz(0)", SECONDS, "'2020-01-01 00:00:00+00:00'::timestamptz(0)"),
    ],
)  # fmt: skip
def test_defaults(text: str, target_type: str, shape: str | None, expected: str) -> None:
    assert translate_default(text, target_type=target_type, text_shape=shape) == Translated(sql=expected)


@pytest.mark.parametrize(
    ("text", "affinity", "expected"),
    [
        ("0", Affinity.REAL, "'0.0'"),
        ("' 12 '", Affinity.REAL, "'12.0'"),
        ("'1.0'", Affinity.INTEGER, "'1'"),
        ("1e3", Affinity.NUMERIC, "'1000'"),
        ("1.5", Affinity.INTEGER, "'1.5'"),
        ("'a'", Affinity.REAL, "'a'"),
        ("'1.0'", Affinity.TEXT, "'1.0'"),
        ("1.0", Affinity.BLOB, "'1.0'"),
    ],
)
def test_a_default_in_text_is_written_as_its_column_stores_it(text: str, affinity: Affinity, expected: str) -> None:
    outcome = translate_default(text, target_type="text", text_shape=None, affinity=affinity)
    assert outcome == Translated(sql=expected)


@pytest.mark.parametrize(
    ("text", "target_type", "shape", "named"),
    [
        ("2", "boolean", None, "boolean"),
        ("'true'", "boolean", None, "'true'"),
        ("'abc'", "bigint", None, "'abc'"),
        ("1.5", "bigint", None, "1.5"),
        ("2147483648", "integer", None, "2147483648"),
        ("0.005", "numeric(6,2)", None, "0.005"),
        ("-0.0", "double precision", None, "0"),
        ("x'00'", "text", None, "blob"),
        ("'a'", "bytea", None, "bytea"),
        ("0x10", "bigint", None, "hexadecimal"),
        ("''", "timestamp(0)", SECONDS, "''"),
        ("'2020-01-01'", "date", None, "'2020-01-01'"),
        ("'2020-02-30'", "date", "YYYY-MM-DD", "no date"),
        ("'2020-01-01'", "timestamp(0)", SECONDS, SECONDS),
        ("'2020-01-01 00:00:00+02:00'", "timestamp(0)", f"{SECONDS}+02:00", "+02:00"),
        ("CURRENT_TIMESTAMP", "timestamp(3)", f"{SECONDS}.SSS", f"{SECONDS}.SSS"),
        ("CURRENT_TIMESTAMP", "text", "YYYY-MM-DDTHH:MM:SSZ", "YYYY-MM-DDTHH:MM:SSZ"),
        ("CURRENT_TIMESTAMP", "date", None, "date"),
        ("CURRENT_DATE", "timestamp(0)", None, "timestamp(0)"),
        ("CURRENT_TIMESTAMP", "bigint", None, "bigint"),
        ("unixepoch()", "timestamp(0)", None, "1970"),
        ("unixepoch()", "integer", None, "1970"),
        ("unixepoch('now','subsec')", "bigint", None, "unixepoch()"),
        ("datetime('now','localtime')", "text", None, "'localtime'"),
        ("datetime('now','+1 day')", "text", None, "'+1 day'"),
        ("datetime('2020-01-01')", "text", None, "another time"),
        ("strftime('%H','now')", "text", None, "'%H'"),
        ("strftime('%s','now')", "text", None, "1970"),
        ("julianday('now')", "double precision", None, "julianday()"),
        ("hex(randomblob(31))", "text", None, "random bytes"),
        ("lower(hex(randomblob(16)))", "bigint", None, "random digits"),
        ("randomblob(16)", "text", None, "random bytes"),
        ("abs(randomblob(16))", "text", None, "abs()"),
        ("random()", "bigint", None, "random()"),
        ("1 + 1", "bigint", None, "1+1"),
        ("'a' || 'b'", "text", None, "expression"),
        ("'0b1c8f0e-0000-4000-8000-000000000000'", "uuid", None, "uuid"),
        ("'{\"a\": 1}'", "jsonb", None, "jsonb"),
    ],
)
def test_defaults_refused(text: str, target_type: str, shape: str | None, named: str) -> None:
    outcome = translate_default(text, target_type=target_type, text_shape=shape)
    assert isinstance(outcome, NotTranslated), outcome
    assert named in outcome.reason
