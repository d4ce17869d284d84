"""Integers, booleans, doubles and exact decimals."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate, Family, number_affinity

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile
    from nasmigrate.schema.model import Column

EXACT_INTEGER = 2**53
"""Integers up to here have an exact double: IEEE 754 binary64 has 53 bits of significand."""


class BigInt(Codec):
    """INTEGER storage class in `bigint`."""

    name: ClassVar = "bigint"
    width: ClassVar = 8
    send: ClassVar = "int8send"
    ordered: ClassVar = True
    native: ClassVar = frozenset({int})
    strict: ClassVar = True
    pg_type = "bigint"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        try:
            # In the machine's order and swapped afterwards, which is three times as fast.
            raw = struct.pack(f"{len(column)}q", *column)
        except struct.error as error:
            raise TypeError(str(error)) from None
        return np.frombuffer(raw, dtype=np.int64).astype(">i8").tobytes(), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        return int.from_bytes(raw, "big", signed=True)


class Boolean(Codec):
    """0 and 1 in `boolean`."""

    name: ClassVar = "boolean"
    width: ClassVar = 1
    send: ClassVar = "boolsend"
    ordered: ClassVar = True
    native: ClassVar = frozenset({int})
    strict: ClassVar = True
    pg_type = "boolean"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        try:
            data = bytes(column)
        except ValueError:
            raise Misfit(next(v for v in column if v not in (0, 1))) from None
        if data.strip(b"\x00\x01"):
            raise Misfit(next(v for v in column if v not in (0, 1)))
        return data, []

    def decode_one(self, raw: bytes) -> SqliteValue:
        return raw[0]

    def parameter(self, value: SqliteValue) -> object:
        return bool(value)


class Double(Codec):
    """REAL in `double precision`; with `integers`, integral values of a number column come back as INTEGER.

    SQLite stores 1.0 in a column of INTEGER or NUMERIC affinity as the integer 1, so there an integral double
    within 2**53 was an integer. Any other case is caught by the inverse and kept as an original.
    """

    name: ClassVar = "double"
    width: ClassVar = 8
    send: ClassVar = "float8send"
    native: ClassVar = frozenset({float})
    pg_type = "double precision"

    def __init__(self, integers: int = 0) -> None:
        self.integers = bool(integers)
        self.uniform = not integers

    def parameters(self) -> dict[str, str | int]:
        return {"integers": 1} if self.integers else {}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        raw = struct.pack(f"{len(column)}d", *column)
        return np.frombuffer(raw, dtype=np.float64).astype(">f8").tobytes(), []

    def encode_one(self, value: SqliteValue) -> bytes:
        if type(value) is int and abs(value) <= EXACT_INTEGER:
            return struct.pack(">d", float(value))
        if type(value) is not float:
            raise Misfit(value)
        return struct.pack(">d", value)

    def decode_one(self, raw: bytes) -> SqliteValue:
        value: float = struct.unpack(">d", raw)[0]
        if self.integers and value.is_integer() and abs(value) <= EXACT_INTEGER:
            return int(value)
        return value


_NUMERIC_POSITIVE, _NUMERIC_NEGATIVE = 0x0000, 0x4000


def numeric_send(text: str) -> bytes:
    """The bytes of `numeric_send` for a plain or scientific decimal.

    Layout: int16 ndigits, weight, sign, dscale, then base-10000 digits; leading and trailing zero digits are
    stripped (PostgreSQL src/backend/utils/adt/numeric.c, numeric_send and strip_var).

    Raises:
        ValueError: not a finite decimal, or outside what the format holds.
    """
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - finite numbers have an integer exponent
    scale = max(0, -exponent)
    if scale > 16383:
        raise ValueError(text)
    plain = "".join(map(str, digits)) + "0" * max(0, exponent)
    whole, fraction = (plain[:-scale], plain[-scale:].rjust(scale, "0")) if scale else (plain, "")
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    fraction = fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int((whole + fraction)[i : i + 4]) for i in range(0, len(whole) + len(fraction), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[0] == 0:
        groups.pop(0)
        weight -= 1
    while groups and groups[-1] == 0:
        groups.pop()
    if not groups:
        weight, sign = 0, 0
    if weight > 32767:
        raise ValueError(text)
    return struct.pack(
        f">HhHH{len(groups)}H",
        len(groups),
        weight,
        _NUMERIC_NEGATIVE if sign else _NUMERIC_POSITIVE,
        scale,
        *groups,
    )


def numeric_text(raw: bytes) -> str:
    """The plain decimal text of a numeric's send bytes, as Postgres prints it.

    Raises:
        ValueError: NaN or infinity, which no SQLite column holds as a decimal.
    """
    count, weight, sign, scale = struct.unpack_from(">HhHH", raw)
    if sign not in (_NUMERIC_POSITIVE, _NUMERIC_NEGATIVE):
        raise ValueError("numeric NaN or infinity")
    groups = struct.unpack_from(f">{count}H", raw, 8)
    whole = "".join(f"{groups[i] if i < count else 0:04d}" for i in range(weight + 1)).lstrip("0") or "0"
    start = weight + 1
    fraction = "".join(f"{groups[i] if 0 <= i < count else 0:04d}" for i in range(start, start + -(-scale // 4)))[
        :scale
    ]
    return ("-" if sign else "") + whole + ("." + fraction if scale else "")


class Numeric(Codec):
    """Integers and REALs of a decimal column in unconstrained `numeric`.

    A REAL is written as its shortest decimal (Python's `repr`, David Gay's algorithm), which reads back to the
    same double. A decimal without fraction that fits int64 comes back as INTEGER, any other as REAL.
    """

    name: ClassVar = "numeric"
    width: ClassVar = None
    send: ClassVar = "numeric_send"
    native: ClassVar = frozenset({int, float})
    pg_type = "numeric"
    uniform = False

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        return b"", [self.encode_one(value) for value in column]

    def encode_one(self, value: SqliteValue) -> bytes:
        try:
            if type(value) is int:
                return numeric_send(str(value))
            if type(value) is float:
                return numeric_send(_without_point_zero(repr(value)))
        except ValueError:
            pass
        raise Misfit(value)

    def decode_one(self, raw: bytes) -> SqliteValue:
        text = numeric_text(raw)
        if "." not in text and -(2**63) <= int(text) < 2**63:
            return int(text)
        return float(text)


_POINT_ZERO = re.compile(r"\.0(?=$|e)")


def _without_point_zero(text: str) -> str:
    """repr() writes 1.0 for one; the point says nothing about the decimal."""
    return _POINT_ZERO.sub("", text)


# -- when they are tried ---------------------------------------------------------------------------------------


def _boolean(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = set(profile.classes) <= {"integer"} and (
        not profile.integers or (profile.integer_min >= 0 and profile.integer_max <= 1)
    )
    return Boolean() if fits else None


def _bigint(column: Column, profile: ColumnProfile) -> Codec | None:
    return BigInt() if set(profile.classes) <= {"integer"} else None


def _double(column: Column, profile: ColumnProfile) -> Codec | None:
    return Double() if set(profile.classes) <= {"real"} else None


def _number(column: Column, profile: ColumnProfile) -> Codec | None:
    """Integers beside reals, as doubles: only where every integer has one."""
    if not set(profile.classes) <= {"integer", "real"}:
        return None
    small = max(abs(profile.integer_min), abs(profile.integer_max)) <= EXACT_INTEGER
    return Double(integers=int(number_affinity(column))) if small else None


def _numeric(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = set(profile.classes) <= {"integer", "real"} and not profile.infinities and not profile.negative_zeros
    return Numeric() if fits else None


_F = Family

CANDIDATES = (
    Candidate(
        codecs=(Boolean,),
        build=_boolean,
        places={_F.BOOLEAN: 10},
        forced=frozenset({"boolean"}),
        expected=frozenset({_F.BOOLEAN}),
    ),
    Candidate(
        codecs=(BigInt,),
        build=_bigint,
        places={_F.BOOLEAN: 20, _F.TEMPORAL: 30, _F.INTEGER: 20, _F.NONE: 20, _F.OTHER: 20},
        forced=frozenset({"bigint"}),
        expected=frozenset({_F.INTEGER, _F.DECIMAL}),
    ),
    Candidate(
        codecs=(Double,),
        build=_double,
        places={_F.TEMPORAL: 40, _F.DECIMAL: 40, _F.REAL: 30, _F.NONE: 30, _F.OTHER: 30},
        forced=frozenset({"double"}),
        expected=frozenset({_F.REAL}),
    ),
    Candidate(
        codecs=(Double,),
        build=_number,
        places={
            _F.BOOLEAN: 50,
            _F.TEMPORAL: 50,
            _F.DECIMAL: 50,
            _F.INTEGER: 50,
            _F.REAL: 50,
            _F.NONE: 50,
            _F.OTHER: 60,
        },
        forced=frozenset({"double"}),
    ),
    Candidate(
        codecs=(Numeric,),
        build=_numeric,
        places={
            _F.BOOLEAN: 60,
            _F.TEMPORAL: 60,
            _F.DECIMAL: 10,
            _F.INTEGER: 60,
            _F.REAL: 60,
            _F.NONE: 60,
            _F.OTHER: 50,
        },
        forced=frozenset({"numeric"}),
        expected=frozenset({_F.DECIMAL}),
    ),
)
