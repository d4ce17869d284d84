"""Moments that a mapping rule made of numbers or text, in timestamptz.

The codec encodes microseconds since 1970 in UTC, which the rules make of stored values, and decodes to the stored
form of one rule, its `inverse`: a number of a unit, a Julian day, or text of a shape. It is chosen by rules only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate
from nasmigrate.schema.codecs.temporal import TimestampTz

UNITS: Mapping[str, int] = {"epoch-s": 1_000_000, "epoch-ms": 1_000, "epoch-us": 1}
"""Microseconds of one unit."""
MS_PER_DAY = 86_400_000
JULIAN_EPOCH_MS = 210_866_760_000_000
"""Milliseconds from the beginning of Julian days to 1970."""
_POSTGRES_EPOCH = 946_684_800_000_000
"""Microseconds from 1970 to 2000, the zero of timestamptz."""


class Moment(Codec):
    """`timestamptz(p)`; parameters name the inverse, and for text its shape.

    `number` is `real` where the stored numbers are REALs; else whole numbers come back as INTEGER.
    """

    name: ClassVar = "moment"
    width: ClassVar = 8
    send: ClassVar = "timestamptz_send"
    native: ClassVar = frozenset({int})

    def __init__(self, inverse: str, precision: int, shape: str = "", number: str = "") -> None:
        self.inverse = inverse
        self.precision = precision
        self.shape = shape
        self.number = number
        self._step = 10 ** (6 - precision)
        self.text = TimestampTz(shape) if shape else None

    @property
    def pg_type(self) -> str:
        return f"timestamptz({self.precision})"

    def parameters(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {"inverse": self.inverse, "precision": self.precision}
        return found | {name: value for name in ("shape", "number") if (value := getattr(self, name))}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        return self.pack(np.array(column, dtype=np.int64)), []

    def pack(self, moments: npt.NDArray[np.int64]) -> bytes:
        """Send bytes of moments.

        Raises:
            Misfit: one is finer than the type's precision, so Postgres would round it.
        """
        if self._step > 1 and (moments % self._step).any():
            raise Misfit(int(moments[np.argmax(moments % self._step != 0)]))
        return (moments - _POSTGRES_EPOCH).astype(">i8").tobytes()

    def decode_one(self, raw: bytes) -> SqliteValue:
        if self.text is not None:
            return self.text.decode_one(raw)
        moment = int.from_bytes(raw, "big", signed=True) + _POSTGRES_EPOCH
        if self.inverse == "julian-day":
            return (moment + JULIAN_EPOCH_MS * 1000) / (MS_PER_DAY * 1000)
        unit = UNITS[self.inverse]
        if moment % unit or self.number == "real":
            return moment / unit
        return moment // unit


CANDIDATES = (Candidate(codecs=(Moment,), build=lambda column, profile: None),)
