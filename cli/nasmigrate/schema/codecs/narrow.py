"""Types that only a schema made by others has: short integers, text with a limit, decimals with a scale, enums.

They are never chosen for a schema of ours. Each takes the values of a wider codec, and refuses those that its type
would cut, round or pad.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal as Exact
from typing import Any, ClassVar

import numpy as np

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate
from nasmigrate.schema.codecs.numbers import Numeric, numeric_send, numeric_text
from nasmigrate.schema.codecs.text import Text


class _FewBytes(Codec):
    """INTEGER storage class in an integer type of fewer than eight bytes."""

    ordered: ClassVar = True
    native: ClassVar = frozenset({int})

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        assert self.width is not None  # noqa: S101 - both kinds have one
        limit = 2 ** (8 * self.width - 1)
        numbers = np.array(column, dtype=np.int64)
        outside = (numbers < -limit) | (numbers >= limit)
        if outside.any():
            raise Misfit(column[int(np.argmax(outside))])
        return numbers.astype(f">i{self.width}").tobytes(), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        return int.from_bytes(raw, "big", signed=True)


class Integer(_FewBytes):
    """INTEGER storage class in `integer`: up to 2^31 - 1."""

    name: ClassVar = "integer"
    width: ClassVar = 4
    send: ClassVar = "int4send"
    pg_type = "integer"


class SmallInt(_FewBytes):
    """INTEGER storage class in `smallint`: up to 2^15 - 1."""

    name: ClassVar = "smallint"
    width: ClassVar = 2
    send: ClassVar = "int2send"
    pg_type = "smallint"


class Varchar(Codec):
    """Text in `character varying(n)`, n in characters, 0 = without a limit.

    Postgres cuts blanks beyond the limit without a word, so they are refused like any other character.
    """

    name: ClassVar = "varchar"
    width: ClassVar = None
    send: ClassVar = "textsend"
    ordered: ClassVar = True
    native: ClassVar = frozenset({str})
    strict: ClassVar = True

    def __init__(self, length: int = 0, numbers: int = 0) -> None:
        self.length = length
        self._text = Text(numbers)
        self.uniform = self._text.uniform

    @property
    def pg_type(self) -> str:
        return f"character varying({self.length})" if self.length else "character varying"

    def parameters(self) -> dict[str, str | int]:
        return {"length": self.length} | self._text.parameters()

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        encoded = self._text.encode_native(column)
        if self.length and max(map(len, column)) > self.length:
            raise Misfit(next(value for value in column if len(value) > self.length))
        return encoded

    def encode_one(self, value: SqliteValue) -> bytes:
        raw = self._text.encode_one(value)
        if self.length and len(raw.decode()) > self.length:
            raise Misfit(value)
        return raw

    def decode_one(self, raw: bytes) -> SqliteValue:
        return self._text.decode_one(raw)


class Char(Codec):
    """Text of exactly n characters in `character(n)`: what is shorter would come back padded with blanks."""

    name: ClassVar = "char"
    width: ClassVar = None
    send: ClassVar = "bpcharsend"
    native: ClassVar = frozenset({str})
    strict: ClassVar = True

    def __init__(self, length: int = 1) -> None:
        self.length = length

    @property
    def pg_type(self) -> str:
        return f"character({self.length})"

    def parameters(self) -> dict[str, str | int]:
        return {"length": self.length}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        if set(map(len, column)) != {self.length}:
            raise Misfit(next(value for value in column if len(value) != self.length))
        return Text().encode_native(column)

    def decode_one(self, raw: bytes) -> SqliteValue:
        return raw.decode()


class Decimal(Codec):
    """Numbers in `numeric(p,s)` that need no more than its digits; `real` says that whole ones come back as REAL."""

    name: ClassVar = "decimal"
    width: ClassVar = None
    send: ClassVar = "numeric_send"
    native: ClassVar = frozenset({int, float})
    uniform = False

    def __init__(self, precision: int, scale: int = 0, real: int = 0) -> None:
        self.precision = precision
        self.scale = scale
        self.real = bool(real)

    @property
    def pg_type(self) -> str:
        return f"numeric({self.precision},{self.scale})"

    def parameters(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {"precision": self.precision, "scale": self.scale}
        return found | ({"real": 1} if self.real else {})

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        return b"", [self.encode_one(value) for value in column]

    def encode_one(self, value: SqliteValue) -> bytes:
        number = Exact(numeric_text(Numeric().encode_one(value)))
        text = f"{number:.{self.scale}f}"
        if Exact(text) != number or abs(number) >= Exact(10) ** (self.precision - self.scale):
            raise Misfit(value)
        return numeric_send(text)

    def decode_one(self, raw: bytes) -> SqliteValue:
        text = numeric_text(raw)
        number = Exact(text)
        if not self.real and number == int(number) and -(2**63) <= number < 2**63:
            return int(number)
        return float(text)


class Enum(Codec):
    """Text that is one of the labels of an enum; `labels` is a JSON array."""

    name: ClassVar = "enum"
    width: ClassVar = None
    send: ClassVar = "enum_send"
    native: ClassVar = frozenset({str})
    strict: ClassVar = True

    def __init__(self, type: str, labels: str) -> None:
        self.type = type
        self.labels = labels
        self._labels = frozenset(json.loads(labels))

    @property
    def pg_type(self) -> str:
        return self.type

    def parameters(self) -> dict[str, str | int]:
        return {"type": self.type, "labels": self.labels}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        strangers = set(column) - self._labels
        if strangers:
            raise Misfit(next(value for value in column if value in strangers))
        return b"", list(map(str.encode, column))

    def decode_one(self, raw: bytes) -> SqliteValue:
        return raw.decode()


CANDIDATES = (Candidate(codecs=(Integer, SmallInt, Varchar, Char, Decimal, Enum), build=lambda column, profile: None),)
