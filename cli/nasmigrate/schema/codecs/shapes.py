"""When text becomes a date or time: all of it has one shape (see `temporal` for what a shape is)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from nasmigrate.schema.codecs.base import Codec, Misfit
from nasmigrate.schema.codecs.candidate import Candidate, Family, clean_text
from nasmigrate.schema.codecs.temporal import Date, Time, Timestamp, TimestampTz, codec_of_shape, shape_of

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile
    from nasmigrate.schema.model import Column

SHAPE_TEST = "shape"
NO_SHAPE = "other"
"""The label of text that is no date or time we know; labels of those that nearly are begin with it."""
ZERO = "other: zero"
IMPOSSIBLE = "other: no such moment"
OUT_OF_RANGE = "other: year out of range"
TOO_FINE = "other: finer than a microsecond"
_ZERO = re.compile(r"(0|0000-00-00([T ]00:00(:00(\.0+)?)?Z?)?)?")
_TOO_FINE = re.compile(r"(\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d\.\d{7,}(Z|[+-]\d\d:\d\d)?")
_FIVE_DIGIT_YEAR = re.compile(r"[+-]?\d{5,6}-\d\d-\d\d([T ].*)?")
_CURRENT_TIMESTAMP_SHAPE = "YYYY-MM-DD HH:II:SS"


class ShapeTest:
    """Sorts text by its shape; a shape whose fields are out of range is none.

    The shape of the first value is tried on all the values of every batch, which is quick where all have it.
    """

    name: ClassVar = SHAPE_TEST
    one_length: ClassVar = True

    def __init__(self) -> None:
        self._codec: Date | Time | Timestamp | TimestampTz | None = None
        self._begun = False

    def all_of(self, values: Sequence[str]) -> str | None:
        if not self._begun:
            self._begun = True
            shape = shape_of(values[0])
            self._codec = _codec(shape) if shape else None
        if self._codec is None:
            return None
        try:
            self._codec.encode_native(values)
        except Misfit:
            return None
        return self._codec.shape

    def one(self, value: str) -> str:
        return exact_shape(value)


@lru_cache(maxsize=256)
def _codec(shape: str) -> Date | Time | Timestamp | TimestampTz:
    """Codecs have no state; values tested one by one share theirs."""
    return codec_of_shape(shape)(shape)


def exact_shape(text: str) -> str:
    """The shape of one value whose fields are in range too; else a label that says why it has none."""
    if _ZERO.fullmatch(text):
        return ZERO
    shape = shape_of(text)
    if shape is None:
        if _TOO_FINE.fullmatch(text):
            return TOO_FINE
        return OUT_OF_RANGE if _FIVE_DIGIT_YEAR.fullmatch(text) else NO_SHAPE
    try:
        _codec(shape).encode_native([text])
    except Misfit:
        return OUT_OF_RANGE if text.startswith("0000-") else IMPOSSIBLE
    return shape


def is_shape(label: str) -> bool:
    """Whether a label of the test is a shape, and not one of the reasons why a value has none."""
    return not label.startswith(NO_SHAPE)


def _temporal(column: Column, profile: ColumnProfile) -> Codec | None:
    if not profile.classes:
        if column.default_sql is not None and column.default_sql.upper() == "CURRENT_TIMESTAMP":
            return Timestamp(_CURRENT_TIMESTAMP_SHAPE)
        return Date("YYYY-MM-DD") if column.declared_type.upper() == "DATE" else None
    if set(profile.classes) != {"text"} or profile.shape is None or not clean_text(profile):
        return None
    return codec_of_shape(profile.shape)(profile.shape)


CANDIDATES = (
    Candidate(
        codecs=(Date, Time, Timestamp, TimestampTz),
        build=_temporal,
        places={Family.TEMPORAL: 10},
        forced=frozenset({"date", "time", "timestamp", "timestamptz"}),
        expected=frozenset({Family.TEMPORAL}),
        test=ShapeTest,
        tested=frozenset({Family.TEMPORAL}),
    ),
)
