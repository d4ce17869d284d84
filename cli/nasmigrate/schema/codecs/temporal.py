"""Dates and times stored as text of one shape, in date, time, timestamp and timestamptz.

The shape is the codec's parameter. It is written with letters for digits and with the separators as they stand,
for example `YYYY-MM-DDTHH:II:SS.fffZ`; an offset is literal (`+02:00`, or ` +02:00` as Sequelize writes it). A value
belongs to a shape when every byte fits and every field is in range, so text -> fields -> text is exact by
construction.
Postgres' own parser is never used on source text: it takes words ('now'), rounds and normalises (traps T41-T45).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue

_SHAPE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)?(?P<sep>[ T])?(?P<minutes>\d\d:\d\d)?(?P<seconds>:\d\d)?(?P<fraction>\.\d{1,6})?"
    r"(?P<offset> ?(?:Z|[+-]\d\d:\d\d))?\Z",
    re.ASCII,
)
_OFFSET = re.compile(r" ?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)
"""The offset of a shape, with the blank that some libraries put before it."""
_EPOCH_DAYS = 10957
"""Days from 1970-01-01 to 2000-01-01, the zero of Postgres' date and timestamp."""
_MICROSECONDS_PER_DAY = 86_400_000_000
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_DIGITS = frozenset("YMDHISf")


def shape_of(text: str) -> str | None:
    """The shape of one stored value, or None when it is no date, time or timestamp we know.

    Fields are not range-checked here; encoding does that.
    """
    match = _SHAPE.match(text)
    if not match or not text:
        return None
    date, sep, minutes = match["date"], match["sep"], match["minutes"]
    if bool(sep) != bool(date and minutes) or not (date or minutes):
        return None
    if (match["seconds"] or match["fraction"] or match["offset"]) and not minutes:
        return None
    if match["fraction"] and not match["seconds"]:
        return None
    if match["offset"] and not date:
        return None
    fraction = "." + "f" * (len(match["fraction"]) - 1) if match["fraction"] else ""
    return (
        ("YYYY-MM-DD" if date else "")
        + (sep or "")
        + ("HH:II" if minutes else "")
        + (":SS" if match["seconds"] else "")
        + fraction
        + (match["offset"] or "")
    )


def days_from_civil(
    year: npt.NDArray[np.int64], month: npt.NDArray[np.int64], day: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Days since 1970-01-01 of proleptic Gregorian dates.

    Algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    year = year - (month <= 2)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    days: npt.NDArray[np.int64] = era * 146097 + day_of_era - 719468
    return days


def civil_from_days(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a count of days since 1970-01-01; the inverse of `days_from_civil`."""
    days += 719468
    era, day_of_era = divmod(days, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


class _Temporal(Codec):
    """Shared by the four: parse by shape into microseconds (or days), print by shape."""

    native: ClassVar = frozenset({str})
    strict: ClassVar = True
    ordered: ClassVar = True

    def __init__(self, shape: str) -> None:
        self.shape = shape
        match = _OFFSET.search(shape)
        self.offset = match[0] if match else ""
        body = shape[: len(shape) - len(self.offset)]
        self._fields = {letter: [i for i, c in enumerate(body) if c == letter] for letter in _DIGITS}
        self._literals = [(i, ord(c)) for i, c in enumerate(shape) if i >= len(body) or c not in _DIGITS]
        self._digit_positions = sorted(position for positions in self._fields.values() for position in positions)
        self.precision = len(self._fields["f"])
        self.offset_microseconds = 0
        if self.offset[-1:] not in ("", "Z"):
            minutes = int(self.offset[-5:-3]) * 60 + int(self.offset[-2:])
            self.offset_microseconds = (-minutes if self.offset[-6] == "-" else minutes) * 60_000_000

    def parameters(self) -> dict[str, str | int]:
        return {"shape": self.shape}

    def _digits(self, column: Sequence[str]) -> npt.NDArray[np.uint8]:
        """The column's digits as a (len(shape), rows) matrix; at a separator's position the number means nothing.

        Raises:
            Misfit: a value has another length, a separator elsewhere, or a letter where a digit should be.
            TypeError: a value is no text.
        """
        width = len(self.shape)
        if set(map(len, column)) != {width}:
            raise Misfit(next(v for v in column if len(v) != width))
        try:
            raw = "".join(column).encode("ascii")
        except UnicodeEncodeError:
            raise Misfit(next(v for v in column if not v.isascii())) from None
        # One row per position: what follows then runs over neighbouring bytes.
        matrix = np.ascontiguousarray(np.frombuffer(raw, dtype=np.uint8).reshape(len(column), width).T)
        digits = matrix - np.uint8(ord("0"))
        bad: npt.NDArray[np.bool_] = np.any(digits[self._digit_positions] > _NINE, axis=0)
        for position, byte in self._literals:
            bad |= matrix[position] != byte
        self._refuse(bad, column)
        return digits

    @staticmethod
    def _refuse(bad: npt.NDArray[np.bool_], column: Sequence[str]) -> None:
        if bad.any():
            raise Misfit(column[int(np.argmax(bad))])

    def _number(self, digits: npt.NDArray[np.uint8], letter: str) -> npt.NDArray[np.int64]:
        total = np.zeros(digits.shape[1], dtype=np.int64)
        for position in self._fields[letter]:
            total *= 10
            total += digits[position]
        return total

    def _days(self, digits: npt.NDArray[np.uint8], column: Sequence[str]) -> npt.NDArray[np.int64]:
        """Days since 2000-01-01."""
        year, month, day = (self._number(digits, letter) for letter in "YMD")
        month_ok = (month >= 1) & (month <= 12)
        limit = _DAYS_IN_MONTH[np.where(month_ok, month, 0)]
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        limit = limit + ((month == 2) & leap)
        self._refuse(~month_ok | (day < 1) | (day > limit) | (year < 1), column)
        return days_from_civil(year, month, day) - _EPOCH_DAYS

    def _time(self, digits: npt.NDArray[np.uint8], column: Sequence[str]) -> npt.NDArray[np.int64]:
        """Microseconds since midnight."""
        hour, minute, second = (self._number(digits, letter) for letter in "HIS")
        self._refuse((hour > 23) | (minute > 59) | (second > 59), column)
        fraction = self._number(digits, "f") * 10 ** (6 - self.precision)
        midnight: npt.NDArray[np.int64] = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
        return midnight

    def _print(self, days: int | None, microseconds: int) -> str:
        """Text of this shape. `days` since 2000-01-01; digits finer than the shape make the value a misfit.

        Raises:
            Misfit: the moment has digits that the shape cannot show.
        """
        second, fraction = divmod(microseconds, 1_000_000)
        scaled, rest = divmod(fraction, 10 ** (6 - self.precision))
        if rest or (second % 60 and not self._fields["S"]):
            raise Misfit(microseconds)
        parts = []
        if days is not None:
            year, month, day = civil_from_days(days + _EPOCH_DAYS)
            if not 1 <= year <= 9999:
                raise Misfit(days)
            parts.append(f"{year:04d}-{month:02d}-{day:02d}")
            if self._fields["H"]:
                parts.append(self.shape[10])
        if self._fields["H"]:
            parts.append(f"{second // 3600:02d}:{second // 60 % 60:02d}")
        if self._fields["S"]:
            parts.append(f":{second % 60:02d}")
        if self.precision:
            parts.append(f".{scaled:0{self.precision}d}")
        return "".join(parts) + self.offset


class Date(_Temporal):
    """`YYYY-MM-DD` in `date`."""

    name: ClassVar = "date"
    width: ClassVar = 4
    send: ClassVar = "date_send"
    pg_type = "date"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        digits = self._digits(column)
        return self._days(digits, column).astype(">i4").tobytes(), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        return self._print(int.from_bytes(raw, "big", signed=True), 0)


class Time(_Temporal):
    """`HH:MM[:SS[.fff]]` in `time`."""

    name: ClassVar = "time"
    width: ClassVar = 8
    send: ClassVar = "time_send"

    @property
    def pg_type(self) -> str:
        return f"time({self.precision})"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        return self._time(self._digits(column), column).astype(">i8").tobytes(), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        return self._print(None, int.from_bytes(raw, "big", signed=True))


class Timestamp(_Temporal):
    """Date and time without zone in `timestamp(p)`, p the digits of the shape's fraction."""

    name: ClassVar = "timestamp"
    width: ClassVar = 8
    send: ClassVar = "timestamp_send"

    @property
    def pg_type(self) -> str:
        return f"timestamp({self.precision})"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        digits = self._digits(column)
        moment = self._days(digits, column) * _MICROSECONDS_PER_DAY + self._time(digits, column)
        return (moment - self.offset_microseconds).astype(">i8").tobytes(), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        moment = int.from_bytes(raw, "big", signed=True) + self.offset_microseconds
        return self._print(*divmod(moment, _MICROSECONDS_PER_DAY))


class TimestampTz(Timestamp):
    """Date and time with one offset for all rows in `timestamptz(p)`; the offset is in the shape."""

    name: ClassVar = "timestamptz"
    send: ClassVar = "timestamptz_send"

    @property
    def pg_type(self) -> str:
        return f"timestamptz({self.precision})"


_NINE = np.uint8(9)


def codec_of_shape(shape: str) -> type[Date | Time | Timestamp | TimestampTz]:
    """Which of the four a shape belongs to."""
    if "YYYY" not in shape:
        return Time
    if "HH" not in shape:
        return Date
    return TimestampTz if _OFFSET.search(shape) else Timestamp


def expression_shape(shape: str) -> str:
    """The same shape in the words of `schema.expressions` (MM for minutes, SSS for a fraction)."""
    return shape.replace("II", "MM").replace("f", "S")
