"""The findings about values: what a reader must know of a column whose codec is not the declared one.

Each rule is data: a code of the catalogue (docs/traps.md), a severity, when it applies, and which row keys it
names. Rules run on evidence only; they never change a codec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Finding, Severity
from nasmigrate.schema.codecs import Boolean, Bytea, Codec, Double
from nasmigrate.schema.codecs.numbers import EXACT_INTEGER
from nasmigrate.schema.decide import EXPECTED, Family, family_of
from nasmigrate.schema.evidence import NO_SHAPE, ColumnProfile
from nasmigrate.schema.model import Column

Facts = tuple[Column, ColumnProfile, Codec, Family]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One finding. `count` gives how many values it is about, 0 = it does not apply; `keys` names the evidence."""

    code: str
    severity: Severity
    count: Callable[[Facts], int]
    message: str
    keys: str = ""


_NUMBER_FAMILIES = (Family.INTEGER, Family.REAL, Family.DECIMAL, Family.BOOLEAN)
_MONEY_WORDS = ("amount", "cents", "price", "total", "balance", "rent", "fee", "deposit", "cost")


def _texts(*families: Family) -> Callable[[Facts], int]:
    return lambda facts: facts[1].texts if facts[3] in families else 0


def _is_money(column: Column) -> bool:
    return any(word in column.name.lower() for word in _MONEY_WORDS)


def _fractions(facts: Facts) -> int:
    """REALs in an INTEGER column: SQLite has turned integral ones into integers at insert."""
    return facts[1].reals if facts[3] is Family.INTEGER else 0


def _shape_misfits(facts: Facts) -> int:
    _, profile, _, family = facts
    if family is not Family.TEMPORAL or not profile.texts or profile.shape:
        return 0
    return profile.texts - max(profile.shapes.values(), default=0) or profile.texts


def _invalid_dates(facts: Facts) -> int:
    return facts[1].shapes.get(NO_SHAPE, 0) if facts[3] is Family.TEMPORAL else 0


def _mixed(facts: Facts) -> int:
    """Values outside the most frequent class of a column that has no type to go by."""
    _, profile, _, family = facts
    counts = list(profile.classes.values())
    return sum(counts[1:]) if family in (Family.NONE, Family.OTHER) and len(counts) > 1 else 0


RULES: tuple[Rule, ...] = (
    Rule(
        code="TEXT_IN_INTEGER",
        severity="widened",
        count=_texts(Family.INTEGER, Family.REAL, Family.DECIMAL),
        message="text in a number column; it stands as text",
        keys="text",
    ),
    Rule(
        code="BOOL_DOMAIN",
        severity="widened",
        count=lambda f: (
            f[1].integers + f[1].reals + f[1].texts
            if f[3] is Family.BOOLEAN and not isinstance(f[2], Boolean) and not f[1].blobs
            else 0
        ),
        message="values other than 0 and 1 in a boolean column",
        keys="text",
    ),
    Rule(
        code="BLOB_IN_NUMBER",
        severity="decision",
        count=lambda f: f[1].blobs if f[3] in _NUMBER_FAMILIES else 0,
        message="blobs in a number column; it stands as bytes",
        keys="blob",
    ),
    Rule(
        code="MONEY_FRACTION",
        severity="decision",
        count=lambda f: _fractions(f) if _is_money(f[0]) else 0,
        message="fractions in an integer money column (19.99*100 is 1998.9999999999998); kept exactly, as doubles",
        keys="real",
    ),
    Rule(
        code="REAL_IN_INTEGER",
        severity="widened",
        count=lambda f: 0 if _is_money(f[0]) else _fractions(f),
        message="fractions in an integer column; it stands as double precision",
        keys="real",
    ),
    Rule(
        code="INFINITE_VALUE",
        severity="widened",
        count=lambda f: f[1].infinities if f[3] is Family.DECIMAL else 0,
        message="infinities in a decimal column; it stands as double precision",
        keys="real",
    ),
    Rule(
        code="INVALID_DATE",
        severity="widened",
        count=_invalid_dates,
        message="text that is no date or time we can carry exactly; the column stands as text",
        keys="shape",
    ),
    Rule(
        code="MIXED_DATETIME_SHAPES",
        severity="widened",
        count=lambda f: _shape_misfits(f) if len(f[1].shapes) > 1 else 0,
        message="several date/time shapes in one column; it stands as text",
        keys="shape",
    ),
    Rule(
        code="MIXED_DATETIME_CLASSES",
        severity="widened",
        count=lambda f: (
            sum(list(f[1].classes.values())[1:]) if f[3] is Family.TEMPORAL and len(f[1].classes) > 1 else 0
        ),
        message="text beside numbers in a date/time column",
        keys="integer",
    ),
    Rule(
        code="EPOCH_CANDIDATE",
        severity="note",
        count=lambda f: f[1].integers if f[3] is Family.TEMPORAL and set(f[1].classes) == {"integer"} else 0,
        message="a date/time column that holds only integers, perhaps epoch seconds or milliseconds; kept as bigint",
        keys="integer",
    ),
    Rule(
        code="NUL_IN_TEXT",
        severity="decision",
        count=lambda f: f[1].nul_texts,
        message="text with a NUL character, which Postgres text cannot hold; the column stands as bytes",
        keys="nul",
    ),
    Rule(
        code="INVALID_UTF8",
        severity="decision",
        count=lambda f: f[1].raw_texts,
        message="text that is not valid in the file's encoding; the column stands as bytes",
        keys="raw",
    ),
    Rule(
        code="BLOB_IN_TEXT",
        severity="decision",
        count=lambda f: f[1].blobs if f[3] in (Family.TEXT, Family.TEMPORAL) else 0,
        message="blobs in a text column; it stands as bytes",
        keys="blob",
    ),
    Rule(
        code="TEXT_IN_BLOB",
        severity="widened",
        count=_texts(Family.BLOB),
        message="text in a blob column; stored as its bytes, the class is kept beside it",
        keys="text",
    ),
    Rule(
        code="NUMBER_IN_BLOB",
        severity="widened",
        count=lambda f: (
            f[1].integers + f[1].reals
            if f[3] is Family.BLOB or (isinstance(f[2], Bytea) and f[3] is Family.TEXT)
            else 0
        ),
        message="numbers in a blob column; stored as their decimal text, the class is kept beside it",
        keys="integer",
    ),
    Rule(
        code="MIXED_CLASSES",
        severity="widened",
        count=_mixed,
        message="several storage classes in a column without a type of its own; each class is kept",
    ),
    Rule(
        code="INT_OVER_2_53",
        severity="note",
        count=lambda f: (
            1
            if f[1].integers
            and max(abs(f[1].integer_min), abs(f[1].integer_max)) > EXACT_INTEGER
            and not isinstance(f[2], Double)
            else 0
        ),
        message="integers beyond 2^53: exact here, but not as a JavaScript number",
    ),
)


def value_findings(
    table: str, column: Column, profile: ColumnProfile, codec: Codec, *, show_values: bool = False
) -> list[Finding]:
    """All findings about one column's values.

    Args:
        table: the table's name.
        column: as declared.
        profile: what it holds.
        codec: what was decided.
        show_values: put the sample values in clear; else masked.
    """
    family = family_of(column.declared_type)
    facts: Facts = (column, profile, codec, family)
    findings = [
        _finding(rule.code, rule.severity, rule.message, count, rule.keys, table, column, profile, show_values)
        for rule in RULES
        if (count := rule.count(facts))
    ]
    expected = EXPECTED.get(family)
    explained = any(finding.severity != "note" for finding in findings) or family is Family.TEMPORAL
    if expected is not None and type(codec) not in expected and profile.classes and not explained:
        # The guard of "never silence": a column that is not what it declares always says so.
        counts = ", ".join(f"{count} {name}" for name, count in profile.classes.items())
        message = f"declared {column.declared_type}, stands as {codec.pg_type} ({counts})"
        findings.append(
            _finding(
                "TYPE_WIDENED", "widened", message, sum(profile.classes.values()), "", table, column, profile, False
            )
        )
    return findings


def _finding(
    code: str,
    severity: Severity,
    message: str,
    count: int,
    keys: str,
    table: str,
    column: Column,
    profile: ColumnProfile,
    show_values: bool,
) -> Finding:
    row_keys, samples = profile.keys_of(keys) if keys else ([], [])
    return Finding(
        code=code,
        severity=severity,
        table=table,
        column=column.name,
        message=message,
        count=count,
        keys=tuple(row_keys),
        samples=tuple(repr(value) if show_values else mask_value(value) for value in samples),
    )
