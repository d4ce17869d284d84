"""Findings about numbers and booleans."""

from __future__ import annotations

import re

from nasmigrate.schema.codecs import BigInt, Boolean, Double
from nasmigrate.schema.codecs.candidate import Family, first_word, number_affinity
from nasmigrate.schema.findings.kind import Facts, Kind, odd
from nasmigrate.schema.oddities import DECLARED_WIDTH, EMPTY, HUGE, INFINITE, NOT_BOOLEAN, OVER_2_53, OVER_SCALE

_NUMBERS = (Family.INTEGER, Family.REAL, Family.DECIMAL)
_MONEY_WORDS = ("amount", "cents", "price", "total", "balance", "rent", "fee", "deposit", "cost")
_IDENTIFIER = re.compile(r"(^|_)(id|uuid|guid|key|no|number|code)$|Id$", re.ASCII)
_TEXT_WORDS = frozenset({"STRING", "JSON", "JSONB", "UUID"})


def _texts_in_numbers(facts: Facts) -> int:
    return facts.profile.texts - facts.profile.odd[EMPTY] if facts.family in _NUMBERS else 0


def _is_money(facts: Facts) -> bool:
    return any(word in facts.column.name.lower() for word in _MONEY_WORDS)


def _fractions(facts: Facts) -> int:
    """REALs in an INTEGER column: SQLite has turned integral ones into integers at insert."""
    return facts.profile.reals - facts.profile.odd[HUGE] if facts.family is Family.INTEGER else 0


def _uuids_as_numbers(facts: Facts) -> int:
    """A UUID without letters is a number to SQLite."""
    is_uuid = first_word(facts.column.declared_type) == "UUID"
    return facts.profile.integers + facts.profile.reals if is_uuid else 0


def _lossy(facts: Facts) -> int:
    """Numbers that had more digits before they were stored."""
    profile = facts.profile
    identifies = facts.family is Family.INTEGER or _IDENTIFIER.search(facts.column.name) is not None
    applies = identifies and number_affinity(facts.column) and not _uuids_as_numbers(facts)
    return profile.odd[HUGE] if applies else 0


def _numbers_from_text(facts: Facts) -> int:
    profile = facts.profile
    asked = first_word(facts.column.declared_type) in _TEXT_WORDS and number_affinity(facts.column)
    return profile.integers + profile.reals if asked else 0


def _not_boolean(facts: Facts) -> int:
    profile = facts.profile
    if facts.family is not Family.BOOLEAN or isinstance(facts.codec, Boolean) or profile.blobs:
        return 0
    return profile.odd[NOT_BOOLEAN] + profile.reals + profile.texts


def _could_be_boolean(facts: Facts) -> int:
    profile, column = facts.profile, facts.column
    binary = set(profile.classes) == {"integer"} and (profile.integer_min, profile.integer_max) == (0, 1)
    kept = facts.family is Family.INTEGER and isinstance(facts.codec, BigInt)
    counts = kept and not column.pk_ordinal and not _IDENTIFIER.search(column.name)
    return profile.integers if binary and counts and not isinstance(facts.codec, Boolean) else 0


KINDS = (
    Kind(
        code="TEXT_IN_INTEGER",
        severity="widened",
        count=_texts_in_numbers,
        message="text in a number column; it stands as text",
        keys=("text",),
    ),
    Kind(
        code="EMPTY_STRING",
        severity="widened",
        count=odd(EMPTY, *_NUMBERS),
        message="empty strings in a number column; it stands as text",
        keys=(EMPTY,),
    ),
    Kind(
        code="DECLARED_WIDTH_EXCEEDED",
        severity="widened",
        count=odd(DECLARED_WIDTH),
        message=lambda facts: f"integers that {facts.column.declared_type} would not hold; it stands as bigint",
        keys=(DECLARED_WIDTH,),
    ),
    Kind(
        code="BOOL_DOMAIN",
        severity="widened",
        count=_not_boolean,
        message="values other than 0 and 1 in a boolean column",
        keys=(NOT_BOOLEAN, "real", "text"),
    ),
    Kind(
        code="BOOL_CANDIDATE",
        severity="note",
        count=_could_be_boolean,
        message='only 0 and 1 in an integer column; kept as bigint, type = "boolean" makes it boolean',
    ),
    Kind(
        code="BLOB_IN_NUMBER",
        severity="decision",
        count=lambda facts: facts.profile.blobs if facts.family in (*_NUMBERS, Family.BOOLEAN) else 0,
        message="blobs in a number column; it stands as bytes",
        keys=("blob",),
    ),
    Kind(
        code="MONEY_FRACTION",
        severity="decision",
        count=lambda facts: _fractions(facts) if _is_money(facts) else 0,
        message="fractions in an integer money column (19.99*100 is 1998.9999999999998); kept exactly, as doubles",
        keys=("real",),
    ),
    Kind(
        code="REAL_IN_INTEGER",
        severity="widened",
        count=lambda facts: 0 if _is_money(facts) else _fractions(facts),
        message=lambda facts: f"fractions in an integer column; it stands as {facts.codec.pg_type}",
        keys=("real",),
    ),
    Kind(
        code="ALREADY_LOSSY",
        severity="decision",
        count=_lossy,
        message="numbers that had more digits before SQLite stored them; carried as they are",
        keys=(HUGE,),
    ),
    Kind(
        code="ALREADY_LOSSY",
        severity="decision",
        count=_uuids_as_numbers,
        message="UUIDs that became numbers when SQLite stored them; carried as they are",
        keys=("integer", "real"),
    ),
    Kind(
        code="NUMERIC_AFFINITY_TEXT",
        severity="note",
        count=_numbers_from_text,
        message=lambda facts: (
            f"{facts.column.declared_type} means number to SQLite: leading zeros were lost when such text was stored"
        ),
        keys=("integer", "real"),
    ),
    Kind(
        code="INFINITE_VALUE",
        severity="widened",
        count=odd(INFINITE, Family.DECIMAL),
        message="infinities in a decimal column; it stands as double precision",
        keys=(INFINITE,),
    ),
    Kind(
        code="DECIMAL_SCALE",
        severity="widened",
        count=odd(OVER_SCALE, Family.DECIMAL),
        message=lambda facts: (
            f"numbers with more digits than {facts.column.declared_type} says; it stands as {facts.codec.pg_type}"
            " without a limit"
        ),
        keys=(OVER_SCALE,),
    ),
    Kind(
        code="INT_OVER_2_53",
        severity="note",
        count=lambda facts: 0 if isinstance(facts.codec, Double) else facts.profile.odd[OVER_2_53],
        message="integers beyond 2^53: exact here, but not as a JavaScript number",
        keys=(OVER_2_53,),
    ),
)
