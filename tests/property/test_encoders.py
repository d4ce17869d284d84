"""Every codec against Postgres: the bytes it writes are those of Postgres' own send function, and they come back.

Postgres parses a text form of each value that is exact by its documentation, and the oracle is what its send
function says. (Postgres' parser is no part of the package: there it would be a trap.)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from support import strategies as made

from nasmigrate.schema.codecs import (
    BigInt,
    Boolean,
    Bytea,
    Codec,
    Double,
    Encoded,
    Misfit,
    Numeric,
    RawText,
    SqliteValue,
    Text,
    exact_bytes,
    from_exact,
    same,
    storage_class,
)
from nasmigrate.schema.codecs.numbers import numeric_send, numeric_text
from nasmigrate.schema.codecs.temporal import codec_of_shape, shape_of
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble, assemble_rows, parse, parse_rows
from nasmigrate.verify.decode_many import column_decoder

Column = list[SqliteValue]

raw_texts = st.sampled_from([b"\xff", b"\xffA", b"\xed\xa0\x80", b"\x80", b"\xf0\x9f\x98", b"\xd8\x80"]).map(RawText)
ints = made.integers
floats = made.reals
small_ints = st.integers(-(2**53), 2**53) | st.sampled_from([2**53, -(2**53)])
finite = floats.filter(lambda value: abs(value) != float("inf"))
no_negative_zero = finite.filter(lambda value: struct.pack(">d", value) != struct.pack(">d", -0.0))

MIXED: list[tuple[Codec, st.SearchStrategy[SqliteValue]]] = [
    (BigInt(), ints),
    (Boolean(), st.integers(0, 1)),
    (Double(), floats),
    (Double(), floats | small_ints),
    (Double(integers=1), floats | small_ints),
    (Numeric(), ints | no_negative_zero),
    (Text(), made.plain_text),
    (Text(), made.plain_text | ints | floats),
    (Text(numbers=1), made.plain_text | ints | floats),
    (Bytea(), made.blobs),
    (Bytea(), made.any_text | raw_texts | made.blobs | ints | floats),
    (Bytea(native_class="text"), made.any_text | raw_texts | made.blobs | ints | floats),
]
"""A codec, and all that a column under it may hold."""


@st.composite
def columns(draw: st.DrawFn, *, rows: int | None = None) -> tuple[Codec, Column]:
    """A codec and a column it can hold, NULLs at random places."""
    count = draw(st.integers(1, 12)) if rows is None else rows
    if draw(st.integers(0, 3)) == 0:
        shape = draw(made.shapes())
        codec: Codec = codec_of_shape(shape)(shape)
        values: st.SearchStrategy[SqliteValue] = made.moments(shape)
    else:
        codec, values = draw(st.sampled_from(MIXED))
    if draw(st.booleans()):
        values = st.none() | values
    return codec, draw(st.lists(values, min_size=count, max_size=count))


def sent(connection: psycopg.Connection, send: str, pg_type: str, texts: Sequence[str]) -> list[bytes]:
    """What Postgres' send function says of values given as text."""
    value = sql.SQL("v::{}").format(sql.SQL(pg_type))
    expression = sql.SQL("{}({})").format(sql.SQL(send), value) if send else value
    query = sql.SQL("SELECT {} FROM unnest(%s::text[]) WITH ORDINALITY AS u(v, n) ORDER BY n").format(expression)
    return [row[0] for row in connection.execute(query, (list(texts),), binary=True)]


def written(codec: Codec, column: Sequence[SqliteValue]) -> list[bytes]:
    """What the codec writes for a column without NULL."""
    encoded = codec.encode(column)
    if encoded.width is None:
        assert encoded.lengths.tolist() == [len(value) for value in encoded.values]
        return encoded.values
    return [encoded.data[i : i + encoded.width] for i in range(0, len(encoded.data), encoded.width)]


def come_back(codec: Codec, column: Sequence[SqliteValue], encoded: Encoded) -> None:
    """Each value is what its bytes decode to, unless an original of the row says otherwise; then that is the value."""
    originals = {original.row: original for original in encoded.originals}
    assert len(originals) == len(encoded.originals)
    nulls = set(encoded.nulls.tolist())
    if encoded.width is None:
        assert encoded.lengths.tolist() == [-1 if row in nulls else len(raw) for row, raw in enumerate(encoded.values)]
        assert all(encoded.values[row] == b"" for row in nulls)
        raws = (raw for row, raw in enumerate(encoded.values) if row not in nulls)
    else:
        width = encoded.width
        raws = (encoded.data[i : i + width] for i in range(0, len(encoded.data), width))
    fields = [None if row in nulls else next(raws) for row in range(encoded.rows)]
    assert next(raws, None) is None
    for row, (value, raw, quick) in enumerate(zip(column, fields, column_decoder(codec)(fields), strict=True)):
        assert (value is None) == (raw is None)
        if raw is None:
            assert quick is None
            assert row not in originals
            continue
        decoded = codec.decode_one(raw)
        assert same(decoded, quick)
        if row in originals:
            assert not same(decoded, value)
            decoded = from_exact(originals[row].storage_class, originals[row].value)
        assert same(decoded, value), (decoded, value)


# -- one type after the other --------------------------------------------------------------------------------


@given(st.lists(ints, min_size=1, max_size=20))
def test_integers(connection: psycopg.Connection, values: list[int]) -> None:
    assert written(BigInt(), values) == sent(connection, "int8send", "bigint", [str(value) for value in values])


@given(st.lists(st.integers(0, 1), min_size=1, max_size=20))
def test_booleans(connection: psycopg.Connection, values: list[int]) -> None:
    assert written(Boolean(), values) == sent(connection, "boolsend", "boolean", [str(value) for value in values])


@given(st.lists(floats, min_size=1, max_size=20))
@settings(max_examples=200)
def test_doubles(connection: psycopg.Connection, values: list[float]) -> None:
    """Denormals, infinities and -0.0 included; 17 digits name a double exactly."""
    texts = [repr(value).replace("inf", "Infinity") for value in values]
    assert written(Double(), values) == sent(connection, "float8send", "double precision", texts)


@given(st.lists(small_ints, min_size=1, max_size=20))
def test_integers_as_doubles(connection: psycopg.Connection, values: list[int]) -> None:
    texts = [str(value) for value in values]
    assert written(Double(integers=1), values) == sent(connection, "float8send", "double precision", texts)


@st.composite
def decimals(draw: st.DrawFn) -> str:
    """A decimal of up to 60 digits, the point anywhere, zeros at both ends, perhaps an exponent."""
    digits = draw(st.text("0123456789", min_size=1, max_size=60) | st.text("09", min_size=1, max_size=60))
    point = draw(st.integers(0, len(digits)))
    text = f"{digits[:point] or '0'}.{digits[point:]}" if point < len(digits) else digits
    exponent = draw(st.sampled_from(["", "", "e5", "e-7", "E+12", "e-30"]))
    return draw(st.sampled_from(["", "-"])) + text + exponent


@given(st.lists(decimals(), min_size=1, max_size=10))
@settings(max_examples=300)
def test_decimals_of_sixty_digits(connection: psycopg.Connection, texts: list[str]) -> None:
    ours = [numeric_send(text) for text in texts]
    assert ours == sent(connection, "numeric_send", "numeric", texts)
    shown = connection.execute(
        "SELECT v::numeric::text FROM unnest(%s::text[]) WITH ORDINALITY u(v, n) ORDER BY n", (texts,)
    )
    assert [numeric_text(raw) for raw in ours] == [row[0] for row in shown]


@given(st.lists(ints | no_negative_zero, min_size=1, max_size=20))
@settings(max_examples=200)
def test_numbers_of_a_decimal_column(connection: psycopg.Connection, values: list[int | float]) -> None:
    texts = [repr(value).removesuffix(".0").replace(".0e", "e") for value in values]
    assert written(Numeric(), values) == sent(connection, "numeric_send", "numeric", texts)


@given(st.lists(made.plain_text, min_size=1, max_size=20))
def test_text(connection: psycopg.Connection, values: list[str]) -> None:
    assert written(Text(), values) == sent(connection, "textsend", "text", values)


@given(st.lists(made.blobs, min_size=1, max_size=20))
def test_blobs(connection: psycopg.Connection, values: list[bytes]) -> None:
    assert written(Bytea(), values) == sent(connection, "", "bytea", ["\\x" + value.hex() for value in values])


@given(st.data(), made.shapes())
@settings(max_examples=300)
def test_dates_and_times_of_every_shape(connection: psycopg.Connection, data: st.DataObject, shape: str) -> None:
    """From year 1 to year 9999; what comes back is the same text."""
    values = data.draw(st.lists(made.moments(shape), min_size=1, max_size=10))
    codec = codec_of_shape(shape)(shape)
    assert {shape_of(value) for value in values} == {shape}
    connection.execute("SET LOCAL TimeZone = 'America/New_York'")
    oracle = sent(connection, codec.send, codec.pg_type, values)
    connection.rollback()
    raws = written(codec, values)
    assert raws == oracle
    assert [codec.decode_one(raw) for raw in raws] == values
    assert column_decoder(codec)(raws) == values


@given(made.any_text, made.shapes())
@settings(max_examples=300)
def test_text_of_no_shape_is_refused_never_guessed(text: str, shape: str) -> None:
    """A word ('now'), a day that does not exist, another width: a misfit, or exactly the text."""
    codec = codec_of_shape(shape)(shape)
    try:
        raw = codec.encode_one(text)
    except Misfit:
        return
    assert codec.decode_one(raw) == text


# -- columns -------------------------------------------------------------------------------------------------


@given(columns())
@settings(max_examples=500)
def test_every_value_of_a_column_comes_back(column: tuple[Codec, Column]) -> None:
    codec, values = column
    come_back(codec, values, codec.encode(values))


@given(ints | floats | made.any_text | made.blobs | raw_texts | st.none())
@settings(max_examples=300)
def test_an_original_is_the_value(value: SqliteValue) -> None:
    assert same(from_exact(storage_class(value), exact_bytes(value)), value)


@given(ints | floats | made.any_text | made.blobs | raw_texts, st.data())
@settings(max_examples=500)
def test_a_value_that_a_codec_takes_comes_back_whatever_it_is(value: SqliteValue, data: st.DataObject) -> None:
    """A column may change its class after the plan: then a codec refuses, or keeps an original, or it is exact."""
    shape = data.draw(made.shapes())
    for codec in (*(codec for codec, _ in MIXED), codec_of_shape(shape)(shape)):
        try:
            encoded = codec.encode([None, value])
        except Misfit as misfit:
            assert misfit.index == 1
        else:
            come_back(codec, [None, value], encoded)


# -- the binary COPY format ----------------------------------------------------------------------------------


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[Codec, Column]]:
    """Columns of one batch."""
    rows = draw(st.integers(1, 8))
    return draw(st.lists(columns(rows=rows), min_size=1, max_size=6))


def fields_of(batch: Sequence[tuple[Codec, Column]]) -> list[list[bytes | None]]:
    """The fields, one value at a time."""
    made_columns = [[None if value is None else codec.encode_one(value) for value in values] for codec, values in batch]
    return [list(row) for row in zip(*made_columns, strict=True)]


@given(batches(), st.data())
@settings(max_examples=300)
def test_a_stream_in_any_cut_gives_the_fields_back(batch: list[tuple[Codec, Column]], data: st.DataObject) -> None:
    encoded = [codec.encode(values) for codec, values in batch]
    rows = assemble(encoded)
    assert b"".join(assemble_rows(encoded)) == rows
    assert parse_rows(rows) == fields_of(batch)
    stream = HEADER + rows + TRAILER
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    blocks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert list(parse(blocks)) == fields_of(batch)


@given(batches(), st.data())
@settings(max_examples=100)
def test_a_stream_that_ends_early_is_an_error(batch: list[tuple[Codec, Column]], data: st.DataObject) -> None:
    stream = HEADER + assemble([codec.encode(values) for codec, values in batch]) + TRAILER
    end = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(ValueError, match="ended early"):
        list(parse([stream[:end]]))
    first = assemble_rows([codec.encode(values) for codec, values in batch])[0]
    with pytest.raises(ValueError, match="ended early"):
        parse_rows(first[: data.draw(st.integers(1, len(first) - 1))])


@given(batches())
@settings(max_examples=150)
def test_postgres_takes_a_batch_and_gives_it_back(
    connection: psycopg.Connection, batch: list[tuple[Codec, Column]]
) -> None:
    """Binary COPY in, binary COPY out: Postgres' own reader and writer agree about every byte."""
    types = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(f"c{i}"), sql.SQL(codec.pg_type)) for i, (codec, _) in enumerate(batch)
    )
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE TEMP TABLE batch ({})").format(types))
        with cursor.copy("COPY batch FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEADER + assemble([codec.encode(values) for codec, values in batch]) + TRAILER)
        with cursor.copy("COPY batch TO STDOUT (FORMAT binary)") as copy:
            blocks = list(map(bytes, copy))
    assert list(parse(blocks)) == fields_of(batch)


def test_zero_bytes_at_the_end_of_a_value_stay() -> None:
    """A fixed-width string of NumPy would cut them."""
    encoded = Bytea().encode([b"a\x00\x00", None, b"\x00"])
    assert list(parse([HEADER + assemble([encoded]) + TRAILER])) == [[b"a\x00\x00"], [None], [b"\x00"]]
    assert np.array_equal(encoded.nulls, [1])
