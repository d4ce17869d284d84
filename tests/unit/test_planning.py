"""What the planner decides of columns: candidates by declaration, rules with their defaults, answers to paste."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from nasmigrate.core.errors import RuleRefused, SchemaError, UnmappableColumn
from nasmigrate.core.result import Finding
from nasmigrate.core.toml import toml_string
from nasmigrate.schema.asks import column_asks
from nasmigrate.schema.codecs import CANDIDATES, REGISTRY, TESTS, SqliteValue
from nasmigrate.schema.decide import FORCED, candidates_of, decide
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.model import Column, ForeignKey, Index, IndexTerm, SourceSchema, Table
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.planner import PlanInput, make_plan
from nasmigrate.schema.planning.draft import accept_line
from nasmigrate.sqlite.scan import Scan


def planned(
    column: Column,
    values: Sequence[SqliteValue],
    *,
    rules: tuple[str, ...] = (),
    forced: str | None = None,
    indexes: tuple[Index, ...] = (),
) -> Plan:
    """The plan of a table t (id, column) with these values."""
    table = Table(
        name="t",
        columns=(Column(name="id", declared_type="INTEGER", not_null=True, pk_ordinal=1), column),
        primary_key=("id",),
        rowid_alias="id",
        indexes=indexes,
    )
    schema = SourceSchema(tables=(table,))
    name = f"t.{column.name}"
    types: Mapping[str, str] = {name: forced} if forced else {}
    ruled = {name: rules} if rules else {}
    scan = Scan(table, column_asks(schema, types, ruled)["t"])
    scan.add(list(enumerate(values)))
    return make_plan(PlanInput(schema=schema, profiles={"t": scan.result()}, forced=types, rules=ruled))


# -- the registry ------------------------------------------------------------------------------------------------


def test_every_module_of_codecs_is_found() -> None:
    assert {"bigint", "boolean", "bytea", "date", "json", "jsonb", "moment", "numeric", "text", "uuid"} <= set(REGISTRY)
    assert set(TESTS) == {"json", "shape", "uuid"}
    assert {"json", "jsonb", "uuid"} <= set(FORCED)
    assert len({codec.name for codec in REGISTRY.values()}) == len(REGISTRY)


@pytest.mark.parametrize(
    ("declared", "first"),
    [
        ("INTEGER", "bigint"),
        ("BOOLEAN", "boolean"),
        ("DECIMAL(10,2)", "numeric"),
        ("REAL", "double"),
        ("DATETIME", "date"),
        ("VARCHAR(3)", "text"),
        ("BLOB", "bytea"),
        ("", "text"),
        ("UUID", "uuid"),
        ("uuid (36)", "uuid"),
        ("JSON", "jsonb"),
        ("JSONB", "jsonb"),
        ("unsigned big int", "bigint"),
    ],
)
def test_the_first_candidate_is_the_declared_type(declared: str, first: str) -> None:
    found = candidates_of(declared)
    assert found[0].codecs[0].name == first
    # The last one takes anything, whatever was declared.
    everything = ColumnProfile(name="c", integers=1, reals=1, texts=1, blobs=1, raw_texts=1, nul_texts=1)
    assert found[-1].build(Column(name="c", declared_type=declared), everything) is not None
    assert found[-1] in CANDIDATES


@pytest.mark.parametrize(
    ("declared", "values", "codec"),
    [
        ("UUID", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", None], "uuid"),
        ("UUID", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], "text"),
        ("UUID", [b"\x00" * 16], "bytea"),
        ("TEXT", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "text"),
        ("JSON", ['{"a": 1}', "null"], "jsonb"),
        ("JSON", ['{"a": 1}', '{"a":1}'], "json"),
        ("JSON", ['"\\u0000"'], "json"),
        ("JSON", [5, '{"a":1}', 1.5], "json"),
        ("JSON", [5, "[]"], "jsonb"),
        ("JSON", ["{"], "text"),
        ("JSON", [float("inf")], "double"),
        ("TEXT", ['{"a": 1}'], "text"),
    ],
)
def test_uuid_and_json_by_declaration(declared: str, values: Sequence[SqliteValue], codec: str) -> None:
    assert planned(Column(name="c", declared_type=declared), values).table("t").column("c").codec == codec


def test_json_that_cannot_be_compared_is_no_key() -> None:
    """Postgres has no equality for json: an index on it cannot be built."""
    index = Index(name="i", unique=True, origin="c", terms=(IndexTerm(column="c"),))
    column = Column(name="c", declared_type="JSON")
    plan = planned(column, ['{"a":1}'], indexes=(index,))
    assert plan.table("t").column("c").codec == "text"
    assert [found.name for found in plan.table("t").indexes] == ["i"]
    with pytest.raises(UnmappableColumn, match="compare"):
        planned(column, ['{"a":1}'], indexes=(index,), forced="json")


def test_a_forced_type_must_be_one() -> None:
    with pytest.raises(UnmappableColumn, match="no type to choose") as caught:
        decide(Column(name="c"), ColumnProfile(name="c"), table="t", forced="varchar(3)")
    assert "uuid" in str(caught.value.hint)


def test_a_forced_json_type_is_tested_in_a_text_column() -> None:
    column = Column(name="c", declared_type="TEXT")
    assert planned(column, ['{"a":1}'], forced="json").table("t").column("c").pg_type == "json"
    with pytest.raises(UnmappableColumn):
        planned(column, ['{"a":1}', "x"], forced="json")
    with pytest.raises(UnmappableColumn):
        planned(column, ['{"a":1}'], forced="jsonb")


# -- settings of columns -----------------------------------------------------------------------------------------


def test_a_setting_for_no_column_is_an_error() -> None:
    """A misspelt name would otherwise leave the column as it is, and nobody would know."""
    schema = SourceSchema(tables=(Table(name="t", columns=(Column(name="c"),)),))
    with pytest.raises(SchemaError, match=r"'t\.d'") as caught:
        column_asks(schema, {}, {"t.d": ("epoch-s",)})
    assert caught.value.code == "NM0615"


@pytest.mark.parametrize(
    ("forced", "rules", "message"),
    [
        ("text", ("epoch-s",), "lead to timestamptz, the type says text"),
        (None, ("epoch-s", "epoch-ms"), "EPOCH_MIXED_UNITS"),
        (None, ("epoch-s", "bool-words"), "different types"),
    ],
)
def test_rules_that_go_neither_together_nor_with_the_type(
    forced: str | None, rules: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RuleRefused, match=message):
        planned(Column(name="c"), [1], forced=forced, rules=rules)


def test_a_type_and_its_rule_agree() -> None:
    column = planned(Column(name="c"), [1], forced="timestamptz", rules=("epoch-s",)).table("t").column("c")
    assert (column.codec, column.pg_type, column.rules) == ("moment", "timestamptz(0)", ("epoch-s",))


# -- defaults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "value", "default", "expected"),
    [
        ("epoch-ms", 1704067200123, "CURRENT_TIMESTAMP", "date_trunc('second', now())::timestamptz(3)"),
        ("epoch-s", 1704067200, "(unixepoch())", "date_trunc('second', now())::timestamptz(0)"),
        ("epoch-ms", 1704067200123, "(unixepoch() * 1000)", "date_trunc('second', now())::timestamptz(3)"),
        ("epoch-ms", 1704067200123, "(unixepoch())", None),
        ("epoch-s", 1704067200, "0", "'1970-01-01 00:00:00.000000+00:00'::timestamptz(0)"),
        ("naive-as-utc", "2024-01-02 03:04:05", "CURRENT_TIMESTAMP", "date_trunc('second', now())::timestamptz(0)"),
        ("naive-as-utc", "2024-01-02 03:04:05", "'now'", None),
        ("bool-words", "yes", "'no'", "FALSE"),
        ("empty-as-null", 1, "''", "none needed"),
        ("uuid-canonical", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "'x'", None),
    ],
)
def test_defaults_go_through_the_rules(rule: str, value: SqliteValue, default: str, expected: str | None) -> None:
    plan = planned(Column(name="c", declared_type="", default_sql=default), [value], rules=(rule,))
    refused = [finding.code for finding in plan.findings if finding.open]
    assert refused == (["DEFAULT_NOT_TRANSLATED"] if expected is None else [])
    assert plan.table("t").column("c").default_sql == (None if expected in (None, "none needed") else expected)


# -- answers to paste --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ['a"b', "back\\slash", "tab\tx", "new\nline", "\x1b[31m", "é\u202e", "'", "\x7f"])
def test_the_line_that_accepts_is_toml_for_any_name(name: str) -> None:
    finding = Finding(code="TEXT_IN_BLOB", severity="widened", table="t", column=name, message="m")
    line = accept_line(finding)
    assert line is not None
    assert "\n" not in line
    assert tomllib.loads(line) == {"accept": [finding.identity]}
    assert tomllib.loads(f"x = {toml_string(name)}") == {"x": name}


def test_only_what_can_be_accepted_has_such_a_line() -> None:
    findings = [Finding(code="X", severity=severity, message="m") for severity in ("note", "refusal")]
    assert [accept_line(finding) for finding in findings] == [None, None]


def test_evidence_of_labels_adds_up_over_parts() -> None:
    """A large table is profiled in parts, by several processes."""
    table = Table(name="t", columns=(Column(name="c", declared_type="DATETIME"),))
    schema = SourceSchema(tables=(table,))
    asks = column_asks(schema, {}, {"t.c": ("empty-as-null", "epoch-s")})["t"]
    parts = []
    for values in ([1704067200, ""], [None, 1704067201, ""]):
        scan = Scan(table, asks)
        scan.add([(value,) for value in values])
        parts.append(scan.result().columns["c"])
    parts[0].merge(parts[1])
    rules = parts[0].rules
    assert rules is not None
    assert (rules.taken, rules.outside, parts[0].nulls) == (Counter({"empty-as-null": 2, "epoch-s": 2}), 0, 3)
    assert rules.forms == Counter({("epoch-s", "integer"): 2})


# -- columns of foreign keys -------------------------------------------------------------------------------------


def test_a_child_is_tested_as_its_parent_is_over_keys_in_a_ring() -> None:
    """A child follows its parent's type where it holds every value; a test that was never run cannot say so."""

    def table(name: str, declared: str, parent: str) -> Table:
        key = ForeignKey(columns=("ID",), parent=parent, parent_columns=("Id",))
        return Table(name=name, columns=(Column(name="id", declared_type=declared),), foreign_keys=(key,))

    schema = SourceSchema(tables=(table("a", "TEXT", "b"), table("b", "TEXT", "c"), table("c", "UUID", "a")))
    asks = column_asks(schema, {}, {})
    assert {name: asked["id"].tests for name, asked in asks.items()} == {name: ("uuid",) for name in "abc"}
    forced = column_asks(schema, {"b.id": "json"}, {})
    assert set(forced["a"]["id"].tests) == {"json", "uuid"}


def test_a_child_of_a_uuid_is_not_said_to_be_widened() -> None:
    """It was declared as text and stands as text: there is nothing to accept."""
    parent = Table(name="p", columns=(Column(name="id", declared_type="UUID"),))
    key = ForeignKey(columns=("c",), parent="p", parent_columns=("id",))
    child = Table(name="t", columns=(Column(name="c", declared_type="TEXT"),), foreign_keys=(key,))
    schema = SourceSchema(tables=(parent, child))
    profiles = {}
    for table in schema.tables:
        scan = Scan(table, column_asks(schema, {}, {})[table.name])
        scan.add([("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",)])
        profiles[table.name] = scan.result()
    findings = make_plan(PlanInput(schema=schema, profiles=profiles)).findings
    assert [finding.subject for finding in findings if finding.code == "UUID_NOT_CANONICAL"] == ["p.id"]
