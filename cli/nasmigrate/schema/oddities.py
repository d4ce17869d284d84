"""What the profile watches for in a column besides classes and ranges: values that a declaration did not expect.

Each oddity has a name, under which the evidence keeps a count and up to five row keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.codecs.candidate import Family, family_of
from nasmigrate.schema.codecs.numbers import EXACT_INTEGER
from nasmigrate.schema.model import Column

NOT_BOOLEAN = "not 0 or 1"
DECLARED_WIDTH = "over the declared width"
OVER_2_53 = "beyond 2^53"
INFINITE = "infinite"
HUGE = "real beyond 2^53"
OVER_SCALE = "over the declared scale"
EMPTY = "empty"
OVERLENGTH = "over the declared length"
BOM = "byte order mark"
DOT_ZERO = "number with .0"
_DOT_ZERO = re.compile(r"-?\d+\.0", re.ASCII)

_WIDTHS: dict[str, tuple[int, int]] = {
    "TINYINT": (-(2**7), 2**8 - 1),
    "INT1": (-(2**7), 2**8 - 1),
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INT2": (-(2**15), 2**15 - 1),
    "MEDIUMINT": (-(2**23), 2**23 - 1),
    "INT3": (-(2**23), 2**23 - 1),
    "INT4": (-(2**31), 2**31 - 1),
}
"""Types whose name gives a width. INT and INTEGER are left out: in SQLite they mean 64 bits. TINYINT is signed in
MySQL and unsigned in SQL Server; both ranges are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to look for.

    `bounds` are (oddity, smallest, largest) of integers, `scale` is (precision, scale), `length` the most characters
    of a text, `empty` asks for empty strings.
    """

    bounds: tuple[tuple[str, int, int], ...] = ()
    scale: tuple[int, int] | None = None
    empty: bool = False
    length: int | None = None

    def integers(self, low: int, high: int) -> list[tuple[str, int, int]]:
        """The bounds that values between `low` and `high` may be outside of."""
        return [bound for bound in self.bounds if low < bound[1] or high > bound[2]]

    def reals(self, values: npt.NDArray[np.float64]) -> list[tuple[str, npt.NDArray[np.bool_]]]:
        """(oddity, which values) for those that occur."""
        size = np.abs(values)
        found = [(INFINITE, np.isinf(values)), (HUGE, size >= EXACT_INTEGER)]
        if self.scale is not None:
            found.append((OVER_SCALE, self._over_scale(values, size)))
        return [(what, where) for what, where in found if where.any()]

    def texts(self, values: Sequence[str], joined: str, longest: int) -> list[tuple[str, list[int]]]:
        """(oddity, places of the values) for those that occur.

        Args:
            values: the texts.
            joined: all of them in one; what is in none of them is quickly not found there.
            longest: an upper bound of their length.
        """
        found = []
        if self.empty and "" in values:
            found.append((EMPTY, [place for place, value in enumerate(values) if not value]))
        if self.length is not None and longest > self.length:
            found.append((OVERLENGTH, [place for place, value in enumerate(values) if len(value) > self.length]))
        if "\ufeff" in joined:
            found.append((BOM, [place for place, value in enumerate(values) if value.startswith("\ufeff")]))
        if ".0" in joined:
            found.append((DOT_ZERO, [place for place, value in enumerate(values) if _DOT_ZERO.fullmatch(value)]))
        return [(what, places) for what, places in found if places]

    def _over_scale(self, values: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Reals whose shortest decimal has more digits than declared, before the point or after it."""
        assert self.scale is not None  # noqa: S101 - asked for only then
        precision, scale = self.scale
        over: npt.NDArray[np.bool_] = np.isfinite(values) & (size >= 10.0 ** (precision - scale))
        with np.errstate(over="ignore", invalid="ignore"):
            # Rounding by multiplication may be off for some; those are looked at one by one.
            suspects = np.isfinite(values) & (np.round(values, scale) != values)
        for row in np.flatnonzero(suspects).tolist():
            over[row] = over[row] or float(f"{values[row]:.{scale}f}") != values[row]
        return over


def watch_of(column: Column) -> Watch:
    """What a column's declaration makes worth watching."""
    family = family_of(column.declared_type)
    bounds = [(OVER_2_53, -EXACT_INTEGER, EXACT_INTEGER)]
    if family is Family.BOOLEAN:
        bounds.append((NOT_BOOLEAN, 0, 1))
    word = column.declared_type.upper().split("(")[0].split()
    if family is Family.INTEGER and word:
        low, high = _WIDTHS.get(word[0], (-(2**63), 2**63 - 1))
        if "UNSIGNED" in column.declared_type.upper() and word[0] in _WIDTHS:
            low, high = 0, max(high, 2 * high + 1 if low < -(2**7) else high)
        bounds.append((DECLARED_WIDTH, low, high))
    scale = None
    match = re.search(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", column.declared_type)
    if family is Family.DECIMAL and match is not None:
        scale = (int(match[1]), int(match[2] or 0))
        largest = 10 ** (scale[0] - scale[1]) - 1
        bounds.append((OVER_SCALE, -largest, largest))
    return Watch(
        bounds=tuple(bounds),
        scale=scale,
        empty=family not in (Family.TEXT, Family.BLOB, Family.NONE),
        length=int(match[1]) if family is Family.TEXT and match is not None else None,
    )
