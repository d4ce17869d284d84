"""Decodes a column of send bytes at a time: the codecs' `decode_one`, with shorter roads where many values are alike.

A short road is taken only for values whose outcome it knows to be the codec's; every other value goes through
`decode_one`. Tests hold the two against each other.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nasmigrate.schema.codecs import BigInt, Boolean, Bytea, Codec, Date, Double, SqliteValue, Text, Timestamp
from nasmigrate.schema.rules.codec import Ruled

Raw = bytes | None
ColumnDecoder = Callable[[Sequence[Raw]], list[SqliteValue]]

_REMEMBERED = 65536
"""Values remembered per column for codecs without a short road: prices and labels come again and again."""
_EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
_YEAR_1 = int((np.datetime64("0001-01-01T00:00:00", "us") - _EPOCH).astype(np.int64))
_YEAR_10000 = int((np.datetime64("10000-01-01T00:00:00", "us") - _EPOCH).astype(np.int64))
_DAY = 86_400_000_000
_Unit = Literal["D", "s", "ms", "us"]
_UNITS: Mapping[int, _Unit] = {0: "s", 3: "ms", 6: "us"}


def outside(raw: bytes) -> str:
    """What stands in the rebuilt file for a value that the codec cannot decode.

    The source cannot have held this text there, so the comparison names the row and the column: NaN, for example,
    would otherwise be bound as NULL and pass for one.
    """
    return f"<outside the codec: {raw.hex()}>"


def column_decoder(codec: Codec) -> ColumnDecoder:
    """The quickest decoder of whole columns that gives what `codec.decode_one` gives, None for None.

    Values the codec refuses come as the text of `outside`.
    """
    if isinstance(codec, Ruled):
        # Rules work on the way to Postgres; the way back is that of the codec behind them, and the originals'.
        codec = codec.inner
    match codec:
        case BigInt():
            return _fixed(codec, ">i8")
        case Double(integers=False):
            return _fixed(codec, ">f8")
        case Boolean():
            return _booleans
        case Text(numbers=False):
            return _texts
        case Bytea(native_class="blob"):
            return lambda raws: list(raws)
        case Date() if codec.shape == "YYYY-MM-DD":
            return _moments(codec, ">i4", _DAY, "D")
        case Timestamp() if _plain_shape(codec):
            return _moments(codec, ">i8", 1, _UNITS[codec.precision])
    return _remembering(codec)


def decode(codec: Codec, raw: bytes) -> SqliteValue:
    """One value, through `decode_one`."""
    try:
        value = codec.decode_one(raw)
    except (ValueError, OverflowError, IndexError, struct.error):
        return outside(raw)
    return outside(raw) if isinstance(value, float) and math.isnan(value) else value


def _remembering(codec: Codec) -> ColumnDecoder:
    known: dict[Raw, SqliteValue] = {None: None}

    def column(raws: Sequence[Raw]) -> list[SqliteValue]:
        values = []
        for raw in raws:
            if raw in known:
                values.append(known[raw])
                continue
            assert raw is not None  # noqa: S101 - None is always known
            value = decode(codec, raw)
            if len(known) < _REMEMBERED and len(raw) <= 64:
                known[raw] = value
            values.append(value)
        return values

    return column


def _present(raws: Sequence[Raw], width: int) -> bytes | None:
    """The values without NULLs, concatenated; None when one has another width."""
    present = [raw for raw in raws if raw is not None] if None in raws else raws
    data = b"".join(present)  # type: ignore[arg-type]
    return data if len(data) == width * len(present) else None


def _spread(values: list[Any], raws: Sequence[Raw]) -> list[SqliteValue]:
    """The decoded values, with None put back where it was."""
    if len(values) == len(raws):
        return values
    iterator = iter(values)
    return [None if raw is None else next(iterator) for raw in raws]


def _fixed(codec: Codec, dtype: str) -> ColumnDecoder:
    width = np.dtype(dtype).itemsize

    def column(raws: Sequence[Raw]) -> list[SqliteValue]:
        data = _present(raws, width)
        if data is None:
            return [None if raw is None else decode(codec, raw) for raw in raws]
        numbers = np.frombuffer(data, dtype=dtype)
        if np.isnan(numbers).any():
            return [None if raw is None else decode(codec, raw) for raw in raws]
        return _spread(numbers.tolist(), raws)

    return column


def _booleans(raws: Sequence[Raw]) -> list[SqliteValue]:
    return [None if raw is None else raw[0] for raw in raws]


def _texts(raws: Sequence[Raw]) -> list[SqliteValue]:
    if None in raws:
        return [None if raw is None else raw.decode() for raw in raws]
    return list(map(bytes.decode, raws))  # type: ignore[arg-type]


def _plain_shape(codec: Timestamp) -> bool:
    """Whether NumPy prints this shape: seconds, milliseconds or microseconds."""
    fraction = "." + "f" * codec.precision if codec.precision else ""
    body = codec.shape[: len(codec.shape) - len(codec.offset)]
    return codec.precision in _UNITS and body in {f"YYYY-MM-DD{separator}HH:II:SS{fraction}" for separator in " T"}


def _moments(codec: Date | Timestamp, dtype: str, microseconds: int, unit: _Unit) -> ColumnDecoder:
    """Dates and timestamps printed by NumPy, whose calendar is not the codec's: a second opinion by the way.

    Args:
        codec: gives shape, offset and precision.
        dtype: of the send bytes.
        microseconds: per unit of the send bytes.
        unit: NumPy's name of the finest unit printed.
    """
    width = np.dtype(dtype).itemsize
    step = _DAY if unit == "D" else 10 ** (6 - codec.precision)
    low = (_YEAR_1 - codec.offset_microseconds) // microseconds
    high = (_YEAR_10000 - codec.offset_microseconds) // microseconds

    def column(raws: Sequence[Raw]) -> list[SqliteValue]:
        data = _present(raws, width)
        if data is None:
            return [None if raw is None else decode(codec, raw) for raw in raws]
        numbers = np.frombuffer(data, dtype=dtype).astype(np.int64)
        # Before any arithmetic, which infinity (the largest number) would overflow.
        if ((numbers < low) | (numbers >= high)).any():
            return [None if raw is None else decode(codec, raw) for raw in raws]
        moments = numbers * microseconds + codec.offset_microseconds
        if unit != "D" and (moments % step).any():
            return [None if raw is None else decode(codec, raw) for raw in raws]
        texts = np.datetime_as_string(_EPOCH + moments.astype("m8[us]"), unit=unit)
        size = len(codec.shape) - len(codec.offset)
        letters = texts.astype(f"U{size}").view("U1").reshape(len(texts), size)
        if unit != "D":
            letters[:, 10] = codec.shape[10]
        printed = letters.reshape(-1).view(f"U{size}").tolist()
        if codec.offset:
            printed = [text + codec.offset for text in printed]
        return _spread(printed, raws)

    return column
