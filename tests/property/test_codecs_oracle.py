"""uuid, json, jsonb and numeric against Postgres: its own input and send functions are the oracle."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from support import strategies as made

from nasmigrate.schema.codecs import Codec, Misfit, Numeric, SqliteValue, same
from nasmigrate.schema.codecs.json import Json, Jsonb
from nasmigrate.schema.codecs.json_text import MAX_DEPTH, canonical, has_nul_escape, is_canonical, is_json
from nasmigrate.schema.codecs.uuid import Uuid
from nasmigrate.schema.codecs.uuid import canonical as canonical_uuid


def accepted(connection: psycopg.Connection, pg_type: str, send: str, text: str) -> tuple[str, bytes] | None:
    """What Postgres prints and sends for a text, None when it refuses the text."""
    value = sql.SQL("%s::text::{}").format(sql.SQL(pg_type))
    query = sql.SQL("SELECT ({v})::text, {s}({v})").format(v=value, s=sql.SQL(send))
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute(query, (text, text), binary=True).fetchone()
    except psycopg.errors.DataError:
        return None
    assert row is not None
    return row[0], row[1]


def taken(codec: Codec, value: SqliteValue) -> bytes | None:
    """The send bytes, None for a misfit; one value and a column of it are judged alike."""
    try:
        one = codec.encode_one(value)
    except Misfit:
        with pytest.raises(Misfit):
            codec.encode([value, value])
        return None
    encoded = codec.encode([value, None, value])
    assert encoded.nulls.tolist() == [1]
    raws = (
        [encoded.values[0], encoded.values[2]]
        if encoded.width is None
        else [encoded.data[: encoded.width], encoded.data[encoded.width :]]
    )
    assert raws == [one, one]
    return one


# -- texts -------------------------------------------------------------------------------------------------------

_NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(lambda d: format(d, "f")),
    st.sampled_from(
        ["0", "-0", "0.0", "-0.0", "1.0", "1.50", "-1.50", "1e5", "1E-5", "0e5", "0e-3", "-0e2", "1.5e+3", "12e0", "00"]
    ),
    st.sampled_from(["01", "1.", ".5", "+1", "-", "1e", "NaN", "Infinity", "-Infinity", "0x10", "9" * 40, "1_0"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00") | st.sampled_from(
    '"\\/\b\f\n\r\t\x7f\x01'
)
_STRINGS = st.one_of(
    st.text(_CHARACTERS, max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(_CHARACTERS, max_size=6).map(json.dumps),
    st.sampled_from(
        [r'"\u0000"', r'"\\u0000"', r'"a\\\u0000"', r'"\u001F"', r'"\u001f"', r'"\ud800"', r'"\udc00\ud800"', r'"\/"']
    ),
    st.sampled_from([r'"\u12"', r'"\x41"', '"\t"', '"a', "'a'", r'"\ud83d\ude00"', r'"\u00e9"', r'"\u+123"', '""']),
)
_BLANKS = st.sampled_from(["", "", "", " ", "  ", "\n", "\t", "\r\n", "\x0b", "\xa0", "\ufeff"])
_COMMAS = st.sampled_from([", ", ", ", ", ", ",", " ,", ",,", ""])
_COLONS = st.sampled_from([": ", ": ", ": ", ":", " :", "="])
_KEYS = st.sampled_from(['"a"', '"b"', '"aa"', '"B"', '"é"', '"zz"', '""', '"\\u0061"', '"😀"', "a"]) | _STRINGS


def _arrays(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(parts, max_size=3), _COMMAS, _BLANKS).map(lambda t: f"[{t[2]}{t[1].join(t[0])}]")


def _objects(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(_KEYS, _COLONS, parts).map("".join)
    return st.tuples(st.lists(pair, max_size=3), _COMMAS, _BLANKS).map(lambda t: f"{{{t[1].join(t[0])}{t[2]}}}")


written = st.recursive(
    _NUMBERS | _STRINGS | st.sampled_from(["true", "false", "null", "True", "nul", ""]),
    lambda parts: _arrays(parts) | _objects(parts),
    max_leaves=6,
)
"""Texts that are JSON or nearly so, printed by several hands."""

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(_CHARACTERS, max_size=5),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(_CHARACTERS, max_size=3), parts, max_size=3),
    max_leaves=8,
)


# -- json and jsonb ----------------------------------------------------------------------------------------------


@given(st.tuples(_BLANKS, written, _BLANKS).map("".join))
@example('{"a": 1, "b": 2.50, "aa": [true, null, "é\\n"]}')
@example("[" * MAX_DEPTH + "]" * MAX_DEPTH)
@example('{"a": 1.5, "b": 2718281828459045}')
@settings(max_examples=1500)
def test_json_and_jsonb_take_what_postgres_gives_back(connection: psycopg.Connection, text: str) -> None:
    as_json = accepted(connection, "json", "json_send", text)
    as_jsonb = accepted(connection, "jsonb", "jsonb_send", text)
    assert is_json(text) == (as_json is not None)
    assert taken(Json(), text) == (as_json[1] if as_json else None)
    same_text = as_jsonb is not None and as_jsonb[0] == text
    assert is_canonical(text) == same_text
    assert taken(Jsonb(), text) == (as_jsonb[1] if as_jsonb and same_text else None)
    if as_jsonb and same_text:
        assert Jsonb().decode_one(as_jsonb[1]) == text
    assert canonical(text) == (as_jsonb[0] if as_jsonb else None)


@given(values)
@settings(max_examples=300)
def test_what_postgres_prints_is_canonical(connection: psycopg.Connection, value: object) -> None:
    shown = accepted(connection, "jsonb", "jsonb_send", json.dumps(value))
    assert shown is not None
    assert is_canonical(shown[0])
    assert canonical(json.dumps(value, indent=1)) == shown[0]


def test_jsonb_numbers_without_a_point_in_the_notation_of_numeric(connection: psycopg.Connection) -> None:
    for digits in ("9" * 3000, "0." + "1" * 3000, "-" + "1" * 100 + "." + "0" * 100):
        shown = accepted(connection, "jsonb", "jsonb_send", digits)
        assert shown is not None
        assert (shown[0], is_canonical(digits)) == (digits, True)


def test_integers_of_more_digits_than_python_takes_are_json() -> None:
    assert is_json("[" + "7" * 5000 + "]")
    assert not is_json("[" + "7" * 5000 + ",]")
    assert not is_canonical("7" * 5000)


def test_depth_is_bounded_below_what_any_server_takes(connection: psycopg.Connection) -> None:
    deep = '{"[[": ' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)
    fits = '["[[", ' * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert (is_json(deep), is_canonical(deep), canonical(deep)) == (False, False, None)
    assert (is_json(fits), is_canonical(fits), canonical(fits)) == (True, True, fits)
    # Ten times as deep is still no trouble for a server with the default stack.
    assert accepted(connection, "jsonb", "jsonb_send", "[" * 10 * MAX_DEPTH + "]" * 10 * MAX_DEPTH) is not None


@given(written)
@settings(max_examples=300)
def test_a_nul_escape_is_what_keeps_valid_json_out_of_jsonb(connection: psycopg.Connection, text: str) -> None:
    if not is_json(text):
        return
    refused = accepted(connection, "jsonb", "jsonb_send", text) is None
    assert refused >= has_nul_escape(text)
    if refused:
        assert has_nul_escape(text) or "\\ud" in text


@given(made.integers | made.reals)
def test_numbers_in_a_json_column(connection: psycopg.Connection, value: float | int) -> None:
    """A column declared JSON has number affinity: 5 was stored as an integer, and comes back as one."""
    raw = taken_with_originals(Json(numbers=1), value)
    assert (raw is None) == (isinstance(value, float) and math.isinf(value))
    if raw is not None:
        shown = accepted(connection, "json", "json_send", raw.decode())
        assert shown is not None
        assert shown[1] == raw
    binary = taken_with_originals(Jsonb(numbers=1), value)
    assert (binary is None) == isinstance(value, float)
    if binary is not None:
        assert accepted(connection, "jsonb", "jsonb_send", str(value)) == (str(value), binary)


def taken_with_originals(codec: Codec, value: SqliteValue) -> bytes | None:
    """The send bytes; what they decode to is the value, or an original is kept."""
    try:
        encoded = codec.encode([value])
    except Misfit:
        return None
    assert same(codec.decode_one(encoded.values[0]), value) == (not encoded.originals)
    return encoded.values[0]


# -- uuid --------------------------------------------------------------------------------------------------------

_FORMS: Sequence[str] = (
    "{0}",
    "{0}",
    "{0}",
    "{{{0}}}",
    "{1}",
    "{{{1}}}",
    "urn:uuid:{0}",
    " {0}",
    "{0} ",
    "{0}0",
    "x{0}",
)


@given(st.uuids().flatmap(lambda u: st.sampled_from(_FORMS).map(lambda form: form.format(u, u.hex))), st.booleans())
@settings(max_examples=300)
def test_a_uuid_is_taken_in_the_form_that_postgres_prints(
    connection: psycopg.Connection, text: str, upper: bool
) -> None:
    text = text.upper() if upper else text
    shown = accepted(connection, "uuid", "uuid_send", text)
    raw = taken(Uuid(), text)
    assert raw == (shown[1] if shown and shown[0] == text else None)
    if raw is not None:
        assert Uuid().decode_one(raw) == text
    if shown and "urn" not in text.lower():
        assert canonical_uuid(text) == shown[0]


@given(st.lists(st.uuids(), min_size=2, max_size=6))
def test_uuids_order_alike_as_text_and_as_uuid(connection: psycopg.Connection, uuids: list[UUID]) -> None:
    """Chunks are ranges of the key: both sides must agree which rows lie between two values."""
    texts = list(map(str, uuids))
    ordered = connection.execute("SELECT u::text FROM unnest(%s::uuid[]) u ORDER BY u", (texts,)).fetchall()
    assert [row[0] for row in ordered] == sorted(texts)


@given(made.any_text)
def test_any_other_text_is_no_uuid(text: str) -> None:
    assert (taken(Uuid(), text) is not None) == (canonical_uuid(text) == text)


# -- numeric -----------------------------------------------------------------------------------------------------


@given(made.integers | made.reals)
@settings(max_examples=300)
def test_a_number_in_numeric_is_the_decimal_that_names_it(connection: psycopg.Connection, value: float | int) -> None:
    try:
        raw = Numeric().encode_one(value)
    except Misfit:
        assert isinstance(value, float)
        assert math.isinf(value)
        return
    assert raw is not None
    shown = accepted(connection, "numeric", "numeric_send", repr(value).removesuffix(".0").replace(".0e", "e"))
    assert shown is not None
    assert shown[1] == raw
    assert float(shown[0]) == float(value)
