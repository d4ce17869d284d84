"""JSON stored as text, in `jsonb` where jsonb prints every value as it is stored, else in `json`, which keeps bytes.

Columns declared JSON have number affinity in SQLite: `5` is stored as an integer there. Both codecs take such
numbers when the plan saw some.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate, clean_text, number_affinity
from nasmigrate.schema.codecs.json_text import has_nul_escape, is_canonical, is_json
from nasmigrate.schema.codecs.text import Text

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile
    from nasmigrate.schema.model import Column

_VERSION = b"\x01"
"""jsonb_send writes a version before the text (src/backend/utils/adt/jsonb.c)."""


class Json(Text):
    """JSON text in `json`: Postgres keeps the text."""

    name: ClassVar = "json"
    send: ClassVar = "json_send"
    ordered: ClassVar = False
    pg_type = "json"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        _, values = super().encode_native(column)
        if not all(map(is_json, column)):
            raise Misfit(next(value for value in column if not is_json(value)))
        return b"", values

    def encode_one(self, value: SqliteValue) -> bytes:
        fits = is_json(value) if isinstance(value, str) else self.numbers and _is_number(value)
        if not fits:
            raise Misfit(value)
        return super().encode_one(value)


class Jsonb(Codec):
    """JSON text in `jsonb`, only what jsonb prints unchanged."""

    name: ClassVar = "jsonb"
    width: ClassVar = None
    send: ClassVar = "jsonb_send"
    native: ClassVar = frozenset({str})
    strict: ClassVar = True
    pg_type = "jsonb"

    def __init__(self, numbers: int = 0) -> None:
        self._text = Text(numbers)
        self.uniform = not numbers

    def parameters(self) -> dict[str, str | int]:
        return self._text.parameters()

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        _, values = self._text.encode_native(column)
        if not all(map(is_canonical, column)):
            raise Misfit(next(value for value in column if not is_canonical(value)))
        return b"", [_VERSION + value for value in values]

    def encode_one(self, value: SqliteValue) -> bytes:
        fits = is_canonical(value) if isinstance(value, str) else self._text.numbers and type(value) is int
        if not fits:
            raise Misfit(value)
        return _VERSION + self._text.encode_one(value)

    def decode_one(self, raw: bytes) -> SqliteValue:
        if raw[:1] != _VERSION:
            raise ValueError("an unknown version of jsonb_send")
        return self._text.decode_one(raw[1:])


def _is_number(value: SqliteValue) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


class JsonTest:
    """Sorts text into `canonical`, `json` (valid, but jsonb prints it otherwise), `nul escape` and `other`."""

    name: ClassVar = "json"
    one_length: ClassVar = False

    def all_of(self, values: Sequence[str]) -> str | None:
        return None

    def one(self, value: str) -> str:
        if is_canonical(value):
            return "canonical"
        if not is_json(value):
            return "other"
        return "nul escape" if has_nul_escape(value) else "json"


def _jsonb(column: Column, profile: ColumnProfile) -> Codec | None:
    numbers = bool(profile.integers)
    fits = set(profile.classes) <= {"text", "integer"} and set(profile.labels.get("json", ())) <= {"canonical"}
    fits = fits and clean_text(profile)
    if not profile.classes:
        return Jsonb()
    return Jsonb(numbers=int(numbers)) if fits and (not numbers or number_affinity(column)) else None


def _json(column: Column, profile: ColumnProfile) -> Codec | None:
    numbers = bool(profile.integers or profile.reals)
    fits = set(profile.classes) <= {"text", "integer", "real"} and "other" not in profile.labels.get("json", ())
    exact = clean_text(profile) and (not numbers or (number_affinity(column) and not profile.infinities))
    return Json(numbers=int(numbers)) if fits and exact else None


_WORDS = frozenset({"JSON", "JSONB"})

CANDIDATES = (
    Candidate(codecs=(Jsonb,), build=_jsonb, words=_WORDS, forced=frozenset({"jsonb"}), test=JsonTest),
    Candidate(codecs=(Json,), build=_json, words=_WORDS, forced=frozenset({"json"}), test=JsonTest, comparable=False),
)
