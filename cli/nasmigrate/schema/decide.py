"""Which codec a column gets, and the finding when that is not what its declaration asked for.

Candidates are tried from the most useful to the widest; the first whose predicate holds for every stored value
wins. The declared type only orders the candidates (design: "a hint, never a proof"). To add a type: a codec
module, a `Candidate` here, and its place in `ORDER`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from nasmigrate.core.errors import UnmappableColumn
from nasmigrate.schema.codecs import (
    BigInt,
    Boolean,
    Bytea,
    Codec,
    Date,
    Double,
    Numeric,
    Text,
    Time,
    Timestamp,
    TimestampTz,
)
from nasmigrate.schema.codecs.numbers import EXACT_INTEGER
from nasmigrate.schema.codecs.temporal import codec_of_shape
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.model import Affinity, Column

_CURRENT_TIMESTAMP_SHAPE = "YYYY-MM-DD HH:II:SS"


class Family(StrEnum):
    """What a declared type asks for; wider than affinity, since DATE and BOOLEAN are names SQLite ignores."""

    BOOLEAN = "boolean"
    TEMPORAL = "date or time"
    DECIMAL = "decimal"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"
    NONE = "no type"
    OTHER = "other"


_TEMPORAL_WORDS = ("DATE", "TIME")
_DECIMAL_WORDS = ("DECIMAL", "NUMERIC", "NUMBER", "MONEY", "DEC")


def family_of(declared_type: str) -> Family:
    """The family of a declared type, by its first word; affinity is the floor (trap T23)."""
    word = declared_type.upper().split("(")[0].strip()
    if word in ("BOOL", "BOOLEAN") or declared_type.upper().replace(" ", "") == "TINYINT(1)":
        return Family.BOOLEAN
    if word.startswith(_TEMPORAL_WORDS):
        return Family.TEMPORAL
    if not word:
        return Family.NONE
    if word.split()[0] in _DECIMAL_WORDS:
        return Family.DECIMAL
    return {
        Affinity.INTEGER: Family.INTEGER,
        Affinity.TEXT: Family.TEXT,
        Affinity.REAL: Family.REAL,
        Affinity.BLOB: Family.BLOB,
        Affinity.NUMERIC: Family.OTHER,
    }[Affinity.of(declared_type)]


def wants_shape(column: Column, forced: str | None) -> bool:
    """Whether the profile should test the column's text for a date/time shape."""
    return family_of(column.declared_type) is Family.TEMPORAL or forced in (
        "date",
        "time",
        "timestamp",
        "timestamptz",
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named way to carry a column: the codec if every stored value has an exact place in it, else None."""

    name: str
    build: Callable[[Column, ColumnProfile], Codec | None]


def _classes(profile: ColumnProfile) -> set[str]:
    return set(profile.classes)


def _clean_text(profile: ColumnProfile) -> bool:
    return not profile.nul_texts and not profile.raw_texts


def _boolean(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = _classes(profile) <= {"integer"} and (
        not profile.integers or (profile.integer_min >= 0 and profile.integer_max <= 1)
    )
    return Boolean() if fits else None


def _bigint(column: Column, profile: ColumnProfile) -> Codec | None:
    return BigInt() if _classes(profile) <= {"integer"} else None


def _double(column: Column, profile: ColumnProfile) -> Codec | None:
    return Double() if _classes(profile) <= {"real"} else None


def _has_number_affinity(column: Column) -> bool:
    return column.affinity in (Affinity.INTEGER, Affinity.NUMERIC)


def _number(column: Column, profile: ColumnProfile) -> Codec | None:
    """Integers beside reals, as doubles: only where every integer has one."""
    if not _classes(profile) <= {"integer", "real"}:
        return None
    small = max(abs(profile.integer_min), abs(profile.integer_max)) <= EXACT_INTEGER
    return Double(integers=int(_has_number_affinity(column))) if small else None


def _numeric(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = _classes(profile) <= {"integer", "real"} and not profile.infinities and not profile.negative_zeros
    return Numeric() if fits else None


def _temporal(column: Column, profile: ColumnProfile) -> Codec | None:
    if not _classes(profile):
        if column.default_sql is not None and column.default_sql.upper() == "CURRENT_TIMESTAMP":
            return Timestamp(_CURRENT_TIMESTAMP_SHAPE)
        return Date("YYYY-MM-DD") if column.declared_type.upper() == "DATE" else None
    if _classes(profile) != {"text"} or profile.shape is None:
        return None
    return codec_of_shape(profile.shape)(profile.shape)


def _text(column: Column, profile: ColumnProfile) -> Codec | None:
    return Text() if _classes(profile) <= {"text"} and _clean_text(profile) else None


def _text_and_numbers(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = _classes(profile) <= {"text", "integer", "real"} and _clean_text(profile)
    return Text(numbers=int(_has_number_affinity(column))) if fits else None


def _bytea(column: Column, profile: ColumnProfile) -> Codec | None:
    return Bytea() if _classes(profile) <= {"blob"} else None


def _bytes_of_anything(column: Column, profile: ColumnProfile) -> Codec | None:
    return Bytea(native_class="text" if profile.texts > profile.blobs else "blob")


BOOLEAN = Candidate("boolean", _boolean)
BIGINT = Candidate("bigint", _bigint)
DOUBLE = Candidate("double", _double)
NUMBER = Candidate("integers and reals as double", _number)
NUMERIC = Candidate("numeric", _numeric)
TEMPORAL = Candidate("one date/time shape", _temporal)
TEXT = Candidate("text", _text)
TEXT_AND_NUMBERS = Candidate("text and numbers as text", _text_and_numbers)
BYTEA = Candidate("bytea", _bytea)
ANYTHING = Candidate("anything as bytes", _bytes_of_anything)

_REST = (TEXT, TEXT_AND_NUMBERS, BYTEA, ANYTHING)

ORDER: Mapping[Family, tuple[Candidate, ...]] = {
    Family.BOOLEAN: (BOOLEAN, BIGINT, NUMBER, NUMERIC, *_REST),
    Family.TEMPORAL: (TEMPORAL, TEXT, BIGINT, DOUBLE, NUMBER, NUMERIC, *_REST),
    Family.DECIMAL: (NUMERIC, DOUBLE, NUMBER, *_REST),
    Family.INTEGER: (BIGINT, NUMBER, NUMERIC, *_REST),
    Family.REAL: (DOUBLE, NUMBER, NUMERIC, *_REST),
    Family.TEXT: _REST,
    Family.BLOB: (BYTEA, *_REST),
    Family.NONE: (TEXT, BIGINT, DOUBLE, BYTEA, NUMBER, NUMERIC, *_REST),
    Family.OTHER: (TEXT, BIGINT, DOUBLE, NUMERIC, NUMBER, *_REST),
}
"""The order of candidates for each family. The last one takes anything."""

FORCED: Mapping[str, tuple[Candidate, ...]] = {
    "boolean": (BOOLEAN,),
    "bigint": (BIGINT,),
    "double": (DOUBLE, NUMBER),
    "numeric": (NUMERIC,),
    "text": (TEXT, TEXT_AND_NUMBERS),
    "bytea": (BYTEA, ANYTHING),
    "date": (TEMPORAL,),
    "time": (TEMPORAL,),
    "timestamp": (TEMPORAL,),
    "timestamptz": (TEMPORAL,),
}
"""What `type = "…"` in the configuration may ask for; it must still hold every value."""

EXPECTED: Mapping[Family, frozenset[type[Codec]]] = {
    Family.BOOLEAN: frozenset({Boolean}),
    Family.TEMPORAL: frozenset({Date, Time, Timestamp, TimestampTz}),
    Family.DECIMAL: frozenset({Numeric, BigInt}),
    Family.INTEGER: frozenset({BigInt}),
    Family.REAL: frozenset({Double}),
    Family.TEXT: frozenset({Text}),
    Family.BLOB: frozenset({Bytea}),
}
"""The codecs a family hopes for; another one is a finding."""


def decide(column: Column, profile: ColumnProfile, *, table: str, forced: str | None = None) -> Codec:
    """The codec for one column.

    Raises:
        UnmappableColumn: the forced type does not hold every stored value.
    """
    if forced is not None:
        for candidate in FORCED[forced]:
            codec = candidate.build(column, profile)
            if codec is not None and codec.name == forced:
                return codec
        counts = ", ".join(f"{count} {name}" for name, count in profile.classes.items()) or "no value"
        raise UnmappableColumn(
            f"{table}.{column.name}: type {forced!r} does not hold every stored value ({counts})",
            hint=f'remove `type` from [columns."{table}.{column.name}"], or choose a wider one',
            details={"table": table, "column": column.name, "forced": forced},
        )
    for candidate in ORDER[family_of(column.declared_type)]:
        codec = candidate.build(column, profile)
        if codec is not None:
            return codec
    raise AssertionError("the last candidate takes anything")
