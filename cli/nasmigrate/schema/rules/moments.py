"""Rules for dates and times: numbers and text become a moment, microseconds since 1970 in UTC."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from nasmigrate.schema.codecs import Codec, Misfit
from nasmigrate.schema.codecs.moment import JULIAN_EPOCH_MS, MS_PER_DAY, UNITS
from nasmigrate.schema.codecs.shapes import exact_shape, is_shape
from nasmigrate.schema.codecs.temporal import codec_of_shape
from nasmigrate.schema.rules.base import MOMENT, OUTSIDE, Integers, Outside, Rule

_RECENT = (630_000_000, 4_200_000_000)
"""Seconds from 1989-12 to 2103-02: a number in this window is most probably a count of seconds."""
_POSTGRES_EPOCH = 946_684_800_000_000
_PER_DAY = 86_400_000_000
_WIDTH_OF_DATE = 4


class _Epoch:
    """Numbers since 1970 in one unit.

    A number that would be of the years 1990 to 2103 in a coarser unit is not taken: in this one it would stand for a
    few weeks of 1970, and most probably the column holds both units. Nor is one beyond the year 5100.
    """

    _LIMIT: ClassVar = 10**11

    def __init__(self, rule: str) -> None:
        self._factor = UNITS[rule]
        per_second = 1_000_000 // self._factor
        self._limit = self._LIMIT * per_second
        coarser = [unit for unit in (1, 1_000) if unit < per_second]
        self._other_units = [(_RECENT[0] * unit, _RECENT[1] * unit) for unit in coarser]

    def one(self, value: float | int) -> int | Outside:
        if not abs(value) < self._limit or any(low <= value <= high for low, high in self._other_units):
            return OUTSIDE
        return value * self._factor if isinstance(value, int) else round(value * self._factor)

    def many(self, values: Integers) -> Integers | None:
        if int(values.min()) <= -self._limit or int(values.max()) >= self._limit:
            return None
        if any(bool(((values >= low) & (values <= high)).any()) for low, high in self._other_units):
            return None
        return values * np.int64(self._factor)


def _julian_day(value: float) -> int | Outside:
    """As SQLite reads it: to the millisecond (src/date.c, setRawDateNumber), from year 0 to 9999."""
    if not math.isfinite(value) or not 1_721_059.5 <= value < 5_373_484.5:
        return OUTSIDE
    return (math.floor(value * MS_PER_DAY + 0.5) - JULIAN_EPOCH_MS) * 1000


@lru_cache(maxsize=64)
def _codec(shape: str) -> Codec:
    return codec_of_shape(shape)(shape)


def moment_of(text: str, shape: str) -> int | Outside:
    """The moment of a text of a shape, taken as UTC where it has no offset."""
    codec = _codec(shape)
    try:
        data, _ = codec.encode_native([text])
    except Misfit:
        return OUTSIDE
    number = int.from_bytes(data, "big", signed=True)
    return (number * _PER_DAY if codec.width == _WIDTH_OF_DATE else number) + _POSTGRES_EPOCH


def _text(wanted: Callable[[str], bool]) -> Callable[[str], int | Outside]:
    def normalise(text: str) -> int | Outside:
        shape = exact_shape(text)
        return moment_of(text, shape) if is_shape(shape) and wanted(shape) else OUTSIDE

    return normalise


def has_offset(shape: str) -> bool:
    """Whether a shape ends in an offset or Z."""
    return getattr(_codec(shape), "offset", "") != ""


def _is_naive(shape: str) -> bool:
    return shape.startswith("YYYY") and not has_offset(shape)


def _has_offset(shape: str) -> bool:
    return shape.startswith("YYYY") and has_offset(shape)


def _epochs(names: Sequence[tuple[str, int]]) -> tuple[Rule, ...]:
    rules = []
    for name, precision in names:
        epoch = _Epoch(name)
        rules.append(
            Rule(
                name=name,
                kinds=frozenset({int, float}),
                normalise=epoch.one,
                target=MOMENT,
                many=epoch.many,
                precision=precision,
                hint="all numbers must be of one unit (EPOCH_MIXED_UNITS)",
            )
        )
    return tuple(rules)


RULES = (
    *_epochs([("epoch-s", 0), ("epoch-ms", 3), ("epoch-us", 6)]),
    Rule(
        name="julian-day",
        kinds=frozenset({float}),
        normalise=_julian_day,
        target=MOMENT,
        precision=3,
        hint="a Julian day is a REAL from 1721059.5 (year 0) to 5373484.5 (year 9999)",
    ),
    Rule(
        name="naive-as-utc",
        kinds=frozenset({str}),
        normalise=_text(_is_naive),
        target=MOMENT,
        hint="it takes dates and times without an offset; offset-as-utc takes those with one",
    ),
    Rule(
        name="offset-as-utc",
        kinds=frozenset({str}),
        normalise=_text(_has_offset),
        target=MOMENT,
        hint="it takes dates and times with an offset or Z; naive-as-utc takes those without",
    ),
)
