"""Text and binary, and the widest types that hold columns of mixed classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from nasmigrate.schema.codecs.base import Codec, Misfit, RawText, SqliteValue

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z", re.ASCII)
_REAL = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?\Z|-?inf\Z", re.ASCII)


class Text(Codec):
    """TEXT in `text`; numbers beside it are written as their shortest decimal.

    With `numbers`, the column has number affinity: SQLite itself turns text that looks like a number
    into one, so text that looks like one here was a number. Anything the inverse gets wrong is kept as an original.
    """

    name: ClassVar = "text"
    width: ClassVar = None
    send: ClassVar = "textsend"
    ordered: ClassVar = True
    native: ClassVar = frozenset({str})
    strict: ClassVar = True
    pg_type = "text"

    def __init__(self, numbers: int = 0) -> None:
        self.numbers = bool(numbers)
        self.uniform = not numbers

    def parameters(self) -> dict[str, str | int]:
        return {"numbers": 1} if self.numbers else {}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        if "\x00" in "".join(column):
            raise Misfit(next(value for value in column if "\x00" in value))
        return b"", list(map(str.encode, column))

    def encode_one(self, value: SqliteValue) -> bytes:
        if isinstance(value, float):
            return repr(value).encode()
        if isinstance(value, int):
            return b"%d" % value
        if isinstance(value, str) and "\x00" not in value:
            return value.encode()
        raise Misfit(value)

    def decode_one(self, raw: bytes) -> SqliteValue:
        text = raw.decode()
        if self.numbers:
            if _INTEGER.match(text) and -(2**63) <= int(text) < 2**63:
                return int(text)
            if _REAL.match(text):
                return float(text)
        return text


class Bytea(Codec):
    """BLOB in `bytea`, or any mixture of classes: text as its bytes, numbers as their shortest decimal.

    `native_class` is the class that bytes come back as; every value of another class is an original.
    """

    name: ClassVar = "bytea"
    width: ClassVar = None
    send: ClassVar = ""
    ordered: ClassVar = True
    native: ClassVar = frozenset({bytes})
    pg_type = "bytea"

    def __init__(self, native_class: str = "blob") -> None:
        self.native_class = native_class
        self.uniform = native_class == "blob"

    def parameters(self) -> dict[str, str | int]:
        return {"native_class": self.native_class} if self.native_class != "blob" else {}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        return b"", list(column)

    def encode_one(self, value: SqliteValue) -> bytes:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, float):
            return repr(value).encode()
        if isinstance(value, int):
            return b"%d" % value
        raise Misfit(value)

    def decode_one(self, raw: bytes) -> SqliteValue:
        if self.native_class == "text":
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return RawText(raw)
        return raw
