"""Mapping rules: what they change comes back exactly, and one value outside them refuses the column."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support import strategies as made
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.config_model import AVAILABLE_RULES, ORPHAN_RULES, ColumnSection
from nasmigrate.core.errors import RuleRefused
from nasmigrate.core.result import Result
from nasmigrate.schema.codecs import Encoded, Misfit, RawText, SqliteValue, from_exact, same
from nasmigrate.schema.codecs.json_text import canonical
from nasmigrate.schema.decide import text_tests
from nasmigrate.schema.evidence import ColumnAsk
from nasmigrate.schema.model import Column, Table
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.planning.ruled import Refused, ruled_codec
from nasmigrate.schema.rules import REGISTRY
from nasmigrate.schema.rules.apply import RulesClash, RuleSet
from nasmigrate.schema.rules.codec import Ruled
from nasmigrate.schema.rules.scan import originals_kept
from nasmigrate.schema.rules.sqlite_jsonb import to_text
from nasmigrate.sqlite.scan import Scan
from nasmigrate.verify.decode_many import column_decoder

Values = st.SearchStrategy[SqliteValue]

# -- what each rule takes, and what it does not ------------------------------------------------------------------

_SECONDS = st.integers(-(10**10), 10**10) | st.sampled_from([0, 1, 1704067200, -1])
_MILLISECONDS = st.integers(5 * 10**9, 9 * 10**13) | st.sampled_from([0, 1704067200123, -1, 4_200_000_001])
_MICROSECONDS = st.integers(5 * 10**12, 9 * 10**16) | st.sampled_from([0, 1704067200123456])
_JULIAN = st.floats(1_721_060, 5_373_484) | st.sampled_from([2460000.5, 2440587.5, 2451544.5])
_WORDS = st.sampled_from(["true", "FALSE", "t", "F", "Yes", "no", "y", "N", "on", "OFF"])
_NAIVE = made.shapes().filter(lambda shape: shape.startswith("YYYY") and shape[-1] not in "Z0123456789")
_OFFSET = made.shapes().filter(lambda shape: shape.startswith("YYYY") and shape[-1] in "Z0123456789")
_UUIDS = st.uuids().flatmap(
    lambda u: st.sampled_from([str(u), str(u).upper(), f"{{{u}}}", u.hex, f"urn:uuid:{u}", f"{{{u.hex.upper()}}}"])
)
_JSON = st.sampled_from(
    [
        '{"b":1.0,"a":1,"a":2}',
        "[1,2]",
        '"a\\u00e9"',
        " 1 ",
        "1e5",
        "null",
        '{"a": 1, "b": 2.50}',
        "-0",
        '{"aa":{},"b":[]}',
    ]
)
_JSON_BLOBS = _JSON.map(str.encode)
_ANY_NOISE = made.plain_text | made.integers | made.reals | made.blobs

DOMAINS: Mapping[str, tuple[Values, Values]] = {
    "empty-as-null": (st.just(""), st.nothing()),
    "zero-date-as-null": (
        st.sampled_from([0, 0.0, "0", "0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00.000Z"]),
        st.nothing(),
    ),
    "bool-words": (_WORDS | st.integers(0, 1), st.sampled_from(["", "2", "ja", 2, -1, 1.0, b"t", "tru", "yes "])),
    "money-cents-snap": (
        st.integers(-(10**9), 10**9) | st.integers(-(10**6), 10**6).map(lambda n: n * 1.1 * 10 / 11 + 1e-9),
        st.sampled_from([1.5, "1", "", b"1", 0.00001, float("inf"), 1e300]),
    ),
    "epoch-s": (
        _SECONDS | _SECONDS.map(float) | st.floats(0, 10**9),
        st.sampled_from(["", "1", 10**11, 1704067200123]),
    ),
    "epoch-ms": (
        _MILLISECONDS | _MILLISECONDS.map(float),
        st.sampled_from(["", "2024-01-02", 1704067200, 10**14, float("inf"), b""]),
    ),
    "epoch-us": (_MICROSECONDS, st.sampled_from([1704067200, 1704067200123, 10**17, "x"])),
    "julian-day": (_JULIAN, st.sampled_from([2460000, 1.5, 1e9, "2460000.5", float("-inf")])),
    "naive-as-utc": (
        _NAIVE.flatmap(made.moments),
        st.sampled_from(["", "2024-01-02T03:04:05Z", "now", "03:04", "2024-02-30", 0, "2024-01-02 24:00:00"]),
    ),
    "offset-as-utc": (
        _OFFSET.flatmap(made.moments),
        st.sampled_from(["", "2024-01-02", "2024-01-02 03:04:05", "now", 1704067200, "2024-13-02T03:04:05Z"]),
    ),
    "nul-in-text=replace": (made.any_text, st.sampled_from([1, 1.5, b"", b"a", RawText(b"\xff")])),
    "invalid-utf8=bytea": (made.any_text | st.just(RawText(b"\xffA")), st.sampled_from([1, 1.5, b"a"])),
    "uuid-canonical": (_UUIDS, st.sampled_from(["", "x", 1, b"\x00" * 16, "0f8fad5b-d9cb-469f-a165-70867728950"])),
    "json-reformat": (_JSON, st.sampled_from(["", "{", "NaN", '"\\u0000"', '"\\ud800"', b"1", "[" * 300 + "]" * 300])),
    "jsonb-blob-as-json": (
        st.sampled_from(["00", "01", "1331", "4b17611331", "0c", "4b13311332", "4c17611331"]).map(bytes.fromhex),
        st.sampled_from(["{", b"", b"\xff", b"\x13", b"0x", 1.5, bytes.fromhex("3b13311332")]),
    ),
    "bytes-as-json": (_JSON_BLOBS, st.sampled_from([b"", b"\xff", b"{", 1, b"NaN", "x"])),
    "blob-as-text": (
        made.plain_text.map(str.encode) | made.plain_text,
        st.sampled_from([b"\xff", b"a\x00", 1, "\x00"]),
    ),
}
"""By rule: values of its domain (with what its codec takes as it is), and values outside."""

COMBINATIONS: Sequence[tuple[tuple[str, ...], Values]] = (
    (("empty-as-null", "epoch-ms", "naive-as-utc"), st.just("") | DOMAINS["epoch-ms"][0] | DOMAINS["naive-as-utc"][0]),
    (("naive-as-utc", "offset-as-utc", "epoch-s"), DOMAINS["naive-as-utc"][0] | DOMAINS["offset-as-utc"][0] | _SECONDS),
    (
        ("zero-date-as-null", "empty-as-null", "naive-as-utc"),
        DOMAINS["zero-date-as-null"][0] | st.just("") | DOMAINS["naive-as-utc"][0],
    ),
    (("empty-as-null", "bool-words"), st.just("") | DOMAINS["bool-words"][0]),
    (("empty-as-null", "money-cents-snap"), st.just("") | DOMAINS["money-cents-snap"][0]),
    (("blob-as-text", "nul-in-text=replace"), DOMAINS["blob-as-text"][0] | made.any_text),
    (("empty-as-null", "uuid-canonical"), st.just("") | _UUIDS),
    (("empty-as-null", "json-reformat"), st.just("") | _JSON),
    (("empty-as-null",), made.any_text | made.integers | made.reals | made.blobs),
    (("zero-date-as-null",), DOMAINS["zero-date-as-null"][0] | made.plain_text | made.integers),
    (("julian-day", "offset-as-utc"), _JULIAN | DOMAINS["offset-as-utc"][0]),
)

_DECLARED = ("", "TEXT", "INTEGER", "REAL", "NUMERIC", "DATETIME", "BLOB", "BOOLEAN", "JSON", "UUID")


@st.composite
def ruled_columns(draw: st.DrawFn) -> tuple[tuple[str, ...], list[SqliteValue]]:
    """Rules and a column within them, NULLs at random places."""
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(DOMAINS)))
        names, values = (name,), DOMAINS[name][0]
    else:
        names, values = draw(st.sampled_from(COMBINATIONS))
    if draw(st.booleans()):
        values = values | st.none()
    if draw(st.integers(0, 3)) == 0:
        # Much of one value: batches of one form take a shorter way.
        return names, [draw(values)] * 3 + draw(st.lists(values, max_size=3))
    return names, draw(st.lists(values, min_size=1, max_size=12))


def decided(
    names: tuple[str, ...], values: Sequence[SqliteValue], declared: str, cut: int = 0
) -> tuple[Ruled, Encoded]:
    """The codec of a column with rules, from its profile in two batches, and the encoded column.

    Raises:
        Refused: a value is outside the rules.
    """
    column = Column(name="c", declared_type=declared)
    table = Table(name="t", columns=(Column(name="id", declared_type="INTEGER"), column), primary_key=("id",))
    tests = text_tests(column, RuleSet(names).target)
    scan = Scan(table, {"c": ColumnAsk(tests=tests, rules=names)})
    for start, end in ((0, cut), (cut, len(values))):
        if start < end:
            scan.add([(row, values[row]) for row in range(start, end)])
    profile = scan.result().columns["c"]
    codec = ruled_codec(table, column, profile, names, forced=None, compared=False)
    encoded = codec.encode(values)
    assert profile.rules is not None
    assert profile.nulls == len(encoded.nulls)
    kept = sum(originals_kept(profile.rules, rule, codec.inner) for rule in codec.rules.rules)
    by_rules = sum(profile.rules.taken.values())
    event(f"originals: {'all' if kept == by_rules else 'some' if kept else 'none'} of the changed")
    if codec.rules.target is not None and not (names == ("json-reformat",) and declared == "JSON"):
        assert kept == len(encoded.originals)
    return codec, encoded


def come_back(codec: Ruled, values: Sequence[SqliteValue], encoded: Encoded) -> None:
    """Decoding gives each value back, or an original of its row says what it is, NULL rows included."""
    nulls = set(encoded.nulls.tolist())
    if encoded.width is None:
        raws = [None if row in nulls else raw for row, raw in enumerate(encoded.values)]
    else:
        parts = iter(range(0, len(encoded.data), encoded.width))
        raws = [
            None if row in nulls else encoded.data[(at := next(parts)) : at + encoded.width]
            for row in range(encoded.rows)
        ]
    originals = {original.row: from_exact(original.storage_class, original.value) for original in encoded.originals}
    assert len(originals) == len(encoded.originals)
    for row, (value, back) in enumerate(zip(values, column_decoder(codec)(raws), strict=True)):
        if row in originals:
            assert not same(back, value), "an original that nobody needs"
            back = originals[row]
        assert same(back, value), (back, value)


# -- the codec ---------------------------------------------------------------------------------------------------


@given(ruled_columns(), st.sampled_from(_DECLARED), st.data())
@settings(max_examples=600)
def test_codec_and_originals_are_the_column(
    column: tuple[tuple[str, ...], list[SqliteValue]], declared: str, data: st.DataObject
) -> None:
    names, values = column
    cut = data.draw(st.integers(0, len(values)))
    codec, encoded = decided(names, values, declared, cut)
    come_back(codec, values, encoded)
    for value in values:
        one = codec.encode([value])
        come_back(codec, [value], one)
        raw = codec.encode_one(value) if value is not None else None
        assert (raw is None) == bool(len(one.nulls))


@given(st.sampled_from([name for name, (_, outside) in DOMAINS.items() if not outside.is_empty]), st.data())
@settings(max_examples=400)
def test_one_value_outside_refuses(name: str, data: st.DataObject) -> None:
    inside, outside = DOMAINS[name]
    values = data.draw(st.lists(inside, min_size=1, max_size=6))
    codec, _ = decided((name,), values, "")
    stranger = data.draw(outside)
    place = data.draw(st.integers(0, len(values)))
    with pytest.raises(Refused, match="outside"):
        decided((name,), [*values[:place], stranger, *values[place:]], "", cut=place)
    with pytest.raises(Misfit) as caught:
        codec.encode([*values[:place], stranger, *values[place:]])
    assert caught.value.index == place


def test_every_rule_that_may_be_chosen_is_tested() -> None:
    """Those for rows without a parent change no value; they have cases and tests of their own."""
    assert set(AVAILABLE_RULES) - set(ORPHAN_RULES) == set(REGISTRY) == set(DOMAINS)


@pytest.mark.parametrize(
    "names", [("epoch-s", "epoch-ms"), ("bool-words", "epoch-s"), ("uuid-canonical", "blob-as-text")]
)
def test_rules_that_contradict_each_other(names: tuple[str, ...]) -> None:
    with pytest.raises(RulesClash):
        RuleSet(names)


# -- the whole road ----------------------------------------------------------------------------------------------


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def write(path: Path, columns: Sequence[tuple[str, str, Sequence[SqliteValue]]], key: str) -> None:
    """A table of the columns (name, declared type, values); the values are stored as SQLite stores them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        declared = ", ".join(f"{quoted(name)} {kind}" for name, kind, _ in columns)
        file.execute(f"CREATE TABLE t (id INTEGER{key}, {declared})")
        for row, values in enumerate(zip(*(values for _, _, values in columns), strict=True)):
            marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in values)
            stored = [bytes(value) if isinstance(value, RawText) else value for value in values]
            file.execute(f"INSERT INTO t VALUES (?, {marks})", [row, *stored])


def copied(
    pipeline: Pipeline,
    columns: Sequence[tuple[str, str, Sequence[SqliteValue]]],
    rules: Mapping[str, tuple[str, ...]],
    key: str,
) -> tuple[Result, Plan]:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "source.db"
        write(source, columns, key)
        return pipeline.copy(source, columns={f"t.{name}": ColumnSection(rule=names) for name, names in rules.items()})


@given(st.lists(ruled_columns(), min_size=1, max_size=3), st.sampled_from([" PRIMARY KEY", ""]), st.integers(1, 6))
@settings(max_examples=25)
def test_ruled_columns_come_back_through_postgres(
    pipeline: Pipeline, drawn: list[tuple[tuple[str, ...], list[SqliteValue]]], key: str, repeat: int
) -> None:
    """Counts, digests, originals and the round trip hold, with a key and without one, equal rows among them."""
    rows = max(len(values) for _, values in drawn)
    columns = [(f"c{n}", "", (values * rows)[:rows] * repeat) for n, (_, values) in enumerate(drawn)]
    rules = {f"c{n}": names for n, (names, _) in enumerate(drawn)}
    result, plan = copied(pipeline, columns, rules, key)
    assert failed_gates(result) == []
    planned = {column.name: column.rules for column in plan.table("t").columns}
    assert planned == {"id": (), **rules}
    notes = [finding for finding in plan.findings if finding.code == "RULE_APPLIED"]
    assert [finding.severity for finding in notes] == ["note"] * sum(map(len, rules.values()))
    if all(RuleSet(names).target is not None for names in rules.values()):
        assert [finding.code for finding in plan.findings if finding.open] == []


def test_all_refusals_come_at_once(pipeline: Pipeline) -> None:
    columns = [("a", "", [1704067200, 1704067200123]), ("b", "", ["yes", "ja"]), ("c", "", ["", "x"])]
    with pytest.raises(RuleRefused) as caught:
        copied(pipeline, columns, {"a": ("epoch-ms",), "b": ("bool-words",), "c": ("empty-as-null",)}, " PRIMARY KEY")
    assert int(caught.value.exit_code) == 6
    assert [check.split(":")[0] for check in caught.value.checks] == ["t.a", "t.b"]
    assert "1 value is outside (id=0)" in caught.value.checks[0]
    assert "(id=1)" in caught.value.checks[1]


def test_a_rule_that_makes_nulls_in_a_not_null_column_asks_for_a_decision(pipeline: Pipeline) -> None:
    columns = [("d", "INTEGER NOT NULL", [5, "", 7]), ("e", "TEXT NOT NULL", ["a", "b", "c"])]
    result, plan = copied(pipeline, columns, {"d": ("empty-as-null",), "e": ("empty-as-null",)}, " PRIMARY KEY")
    assert failed_gates(result) == []
    assert [(c.name, c.pg_type, c.nullable) for c in plan.table("t").columns[1:]] == [
        ("d", "bigint", True),
        ("e", "text", False),
    ]
    assert [finding.identity for finding in plan.findings if finding.open] == ["NULL_IN_NOT_NULL:t.d"]


def test_a_rule_that_makes_nulls_in_the_primary_key_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(RuleRefused, match=r"t\.k: .*NULL in the primary key"):
        copied(pipeline, [("k", "TEXT PRIMARY KEY", ["a", ""])], {"k": ("empty-as-null",)}, "")


def test_the_plan_hash_covers_the_rules(pipeline: Pipeline) -> None:
    columns = [("d", "DATETIME", [1704067200, 1704067201])]
    with_rule = copied(pipeline, columns, {"d": ("epoch-s",)}, "")[1]
    without = copied(pipeline, columns, {}, "")[1]
    both = copied(pipeline, columns, {"d": ("epoch-s", "empty-as-null")}, "")[1]
    assert len({with_rule.hash, without.hash, both.hash}) == 3


def test_a_finding_names_the_rule_that_answers_it(pipeline: Pipeline) -> None:
    """What is printed is put into nasmigrate.toml as it is: then the finding is gone and the copy is proven."""
    columns = [
        ("d", "DATETIME", [1704067200, 1704067201]),
        ("n", "INTEGER", [1, ""]),
        ("b", "BOOLEAN", ["yes", 0]),
        ('am"ount_cents', "INTEGER", [1998.9999999999998, 5]),
        ("u", "UUID", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", None]),
        ("j", "JSON", ['{"b":1}', None]),
        ("m", "DATETIME", ["2024-01-02 03:04:05", "2024-01-02T03:04:05Z"]),
        ("k", "DATETIME", ["2024-01-02 03:04:05", 1704067200123]),
        ("z", "TEXT", ["a\x00b", "c"]),
    ]
    result, plan = copied(pipeline, columns, {}, " PRIMARY KEY")
    assert result.exit_code == 3
    blocks = [tomllib.loads(finding.rule)["columns"] for finding in plan.findings if finding.rule]
    wanted = {name: section for block in blocks for name, section in block.items()}
    assert sorted(wanted) == sorted(f"t.{name}" for name, _, _ in columns)
    rules = {
        name.removeprefix("t."): (section["rule"],) if isinstance(section["rule"], str) else tuple(section["rule"])
        for name, section in wanted.items()
    }
    result, plan = copied(pipeline, columns, rules, " PRIMARY KEY")
    assert (result.exit_code, [finding.identity for finding in plan.findings if finding.open]) == (0, [])


# -- against the engines -----------------------------------------------------------------------------------------


@given(_JULIAN)
def test_a_julian_day_is_what_sqlite_says(value: float) -> None:
    codec, encoded = decided(("julian-day",), [value], "REAL")
    moment = codec.inner.decode_one(encoded.data)
    with closing(sqlite3.connect(":memory:")) as file:
        shown, again = file.execute(
            "SELECT strftime('%Y-%m-%d %H:%M:%f', ?1), julianday(strftime('%Y-%m-%d %H:%M:%f', ?1))", (value,)
        ).fetchone()
        (of_moment,) = file.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', ?)", (moment,)).fetchone()
    assert of_moment == shown
    assert moment == again


_WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.recursive(
        _SCALARS | _WORD,
        lambda parts: st.lists(parts, max_size=4) | st.dictionaries(_WORD, parts, max_size=4),
        max_leaves=12,
    )
)
@settings(max_examples=300)
def test_jsonb_blobs_of_sqlite(value: object) -> None:
    text = json.dumps(value)
    connection = apsw.Connection(":memory:")
    ((blob, again),) = connection.execute("SELECT jsonb(?1), json(jsonb(?1))", (text,)).fetchall()
    connection.close()
    assert canonical(to_text(blob)) == canonical(again) == canonical(text)


@given(st.lists(_MILLISECONDS | st.none(), min_size=1, max_size=20))
def test_epochs_in_postgres(connection: psycopg.Connection, values: list[int | None]) -> None:
    _, encoded = decided(("epoch-ms",), values, "INTEGER")
    present = [value for value in values if value is not None]
    rows = connection.execute(
        "SELECT timestamptz_send('epoch'::timestamptz + n * interval '1 millisecond')"
        " FROM unnest(%s::bigint[]) WITH ORDINALITY u(n, place) ORDER BY place",
        (present,),
        binary=True,
    )
    assert encoded.data == b"".join(row[0] for row in rows)
    connection.rollback()
