"""Text and binary, and the widest types that hold columns of mixed classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasmigrate.schema.codecs.base import Codec, Misfit, RawText, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate, Family, clean_text, number_affinity

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile
    from nasmigrate.schema.model import Column

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


# -- when they are tried ---------------------------------------------------------------------------------------


def _text(column: Column, profile: ColumnProfile) -> Codec | None:
    return Text() if set(profile.classes) <= {"text"} and clean_text(profile) else None


def _text_and_numbers(column: Column, profile: ColumnProfile) -> Codec | None:
    fits = set(profile.classes) <= {"text", "integer", "real"} and clean_text(profile)
    return Text(numbers=int(number_affinity(column))) if fits else None


def _bytea(column: Column, profile: ColumnProfile) -> Codec | None:
    return Bytea() if set(profile.classes) <= {"blob"} else None


def _bytes_of_anything(column: Column, profile: ColumnProfile) -> Codec | None:
    return Bytea(native_class="text" if profile.texts > profile.blobs else "blob")


CANDIDATES = (
    Candidate(
        codecs=(Text,),
        build=_text,
        places={Family.TEMPORAL: 20, Family.NONE: 10, Family.OTHER: 10},
        last=910,
        forced=frozenset({"text"}),
        expected=frozenset({Family.TEXT}),
    ),
    Candidate(codecs=(Text,), build=_text_and_numbers, last=920, forced=frozenset({"text"})),
    Candidate(
        codecs=(Bytea,),
        build=_bytea,
        places={Family.BLOB: 10, Family.NONE: 40},
        last=930,
        forced=frozenset({"bytea"}),
        expected=frozenset({Family.BLOB}),
    ),
    Candidate(codecs=(Bytea,), build=_bytes_of_anything, last=940, forced=frozenset({"bytea"})),
)
