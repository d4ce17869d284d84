"""Findings about dates and times."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nasmigrate.schema.codecs import BigInt
from nasmigrate.schema.codecs.candidate import Family
from nasmigrate.schema.codecs.shapes import IMPOSSIBLE, NO_SHAPE, OUT_OF_RANGE, SHAPE_TEST, TOO_FINE, ZERO, is_shape
from nasmigrate.schema.evidence import label_key
from nasmigrate.schema.findings.kind import Facts, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS, _MILLISECONDS, _MICROSECONDS = 10**11, 10**14, 10**17
"""An epoch number below each of these is, for a date of our time, in that unit."""
_UNITS = (1, 10**3, 10**6)
_RECENT = (315_532_800, 4_102_444_800)
"""Seconds from 1970 to 1980 and to 2100: what a moment of an application's own data is between."""
_MOMENT_NAME = re.compile(
    r"(?:(?:^|_)(?:at|on|date|time|timestamp|until|expires)|[a-z](?:At|On|Date|Time|Timestamp|Until))$", re.ASCII
)
_JULIAN_DAYS = (1.7e6, 5.4e6)


def _labelled(*labels: str) -> Callable[[Facts], int]:
    return lambda facts: sum(facts.profile.shapes[label] for label in labels) if facts.family is Family.TEMPORAL else 0


def _zeros(facts: Facts) -> int:
    """Integers beside text, where all of them are 0: text '0' in a column of number affinity became one."""
    profile = facts.profile
    beside_text = facts.family is Family.TEMPORAL and profile.texts > 0
    return profile.integers if beside_text and profile.integer_min == profile.integer_max == 0 else 0


def _mixed_classes(facts: Facts) -> int:
    """Values outside the most frequent class; zero dates are none of them."""
    classes = {name: count for name, count in facts.profile.classes.items() if name != "integer" or not _zeros(facts)}
    return sum(list(classes.values())[1:]) if facts.family is Family.TEMPORAL else 0


def _keys(*labels: str) -> tuple[str, ...]:
    return tuple(label_key(SHAPE_TEST, label) for label in labels)


def _several_shapes(facts: Facts) -> int:
    """Values outside the most frequent shape."""
    counts = sorted(count for label, count in facts.profile.shapes.items() if is_shape(label))
    return sum(counts[:-1]) if facts.family is Family.TEMPORAL else 0


def _shapes_message(facts: Facts) -> str:
    shapes = ", ".join(f"{count} {label}" for label, count in facts.profile.shapes.most_common() if is_shape(label))
    return f"several date/time shapes in one column ({shapes}); it stands as text"


def _epoch(facts: Facts) -> int:
    """Integers of a date/time column.

    Of a plain integer column (Drizzle declares moments so) only if its name and all of its values speak for it.
    """
    profile, column = facts.profile, facts.column
    if set(profile.classes) != {"integer"} or not isinstance(facts.codec, BigInt):
        return 0
    if facts.family is Family.INTEGER:
        recent = any(
            _RECENT[0] * unit <= profile.integer_min <= profile.integer_max < _RECENT[1] * unit for unit in _UNITS
        )
        return profile.integers if recent and not column.pk_ordinal and _MOMENT_NAME.search(column.name) else 0
    return profile.integers if facts.family is Family.TEMPORAL else 0


def _unit(number: int) -> str:
    size = abs(number)
    if size < _SECONDS:
        return "seconds"
    return "milliseconds" if size < _MILLISECONDS else "microseconds" if size < _MICROSECONDS else "no unit known"


def _epoch_message(facts: Facts) -> str:
    low, high = facts.profile.integer_min, facts.profile.integer_max
    units = list(dict.fromkeys(_unit(number) for number in (low, high) if number))
    guess = " and ".join(units) if units else "zeros"
    where = "a date/time" if facts.family is Family.TEMPORAL else "an integer"
    dates = _as_dates(low, high, guess)
    return f"integers only in {where} column, perhaps epoch {guess}{dates}; kept as bigint"


def _as_dates(low: int, high: int, unit: str) -> str:
    """The days from the first to the last, as that unit would have it; of no use to other calendars than ours."""
    per_second = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6}.get(unit)
    if per_second is None:
        return ""
    try:
        days = [(_EPOCH + timedelta(seconds=number // per_second)).date().isoformat() for number in (low, high)]
    except OverflowError:
        return ""
    return f" ({days[0]} to {days[1]})"


def _julian(facts: Facts) -> int:
    profile = facts.profile
    if facts.family is not Family.TEMPORAL or set(profile.classes) != {"real"}:
        return 0
    samples = [value for value in profile.samples.get("real", []) if isinstance(value, float)]
    return profile.reals if all(_JULIAN_DAYS[0] <= value <= _JULIAN_DAYS[1] for value in samples) else 0


KINDS = (
    Kind(
        code="ZERO_DATE",
        severity="widened",
        count=_labelled(ZERO),
        message="empty or zero dates, which Postgres does not have; the column stands as text",
        keys=_keys(ZERO),
    ),
    Kind(
        code="ZERO_DATE",
        severity="widened",
        count=_zeros,
        message="zeros beside dates that are text; the column stands as text",
        keys=("integer",),
    ),
    Kind(
        code="INVALID_DATE",
        severity="widened",
        count=_labelled(NO_SHAPE, IMPOSSIBLE),
        message="text that is no date or time we can carry exactly; the column stands as text",
        keys=_keys(IMPOSSIBLE, NO_SHAPE),
    ),
    Kind(
        code="DATE_OUT_OF_RANGE",
        severity="widened",
        count=_labelled(OUT_OF_RANGE),
        message="years outside 1 to 9999; the column stands as text",
        keys=_keys(OUT_OF_RANGE),
    ),
    Kind(
        code="FRACTION_OVER_MICROSECOND",
        severity="widened",
        count=_labelled(TOO_FINE),
        message="more than six digits of a second, which Postgres would round; the column stands as text",
        keys=_keys(TOO_FINE),
    ),
    Kind(
        code="MIXED_DATETIME_SHAPES",
        severity="widened",
        count=_several_shapes,
        message=_shapes_message,
        keys=("shape",),
    ),
    Kind(
        code="MIXED_DATETIME_CLASSES",
        severity="widened",
        count=_mixed_classes,
        message="text beside numbers in a date/time column",
        keys=("mixed",),
    ),
    Kind(
        code="EPOCH_CANDIDATE",
        severity="note",
        count=_epoch,
        message=_epoch_message,
        keys=("integer",),
    ),
    Kind(
        code="JULIAN_CANDIDATE",
        severity="note",
        count=_julian,
        message="reals in a date/time column, perhaps Julian days; kept as double precision",
        keys=("real",),
    ),
)
