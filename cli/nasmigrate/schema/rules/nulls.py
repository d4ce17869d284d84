"""Rules that make NULLs."""

from __future__ import annotations

import re
from typing import Any

from nasmigrate.schema.rules.base import OUTSIDE, Outside, Rule

_ZERO_DATE = re.compile(r"0|0000-00-00([T ]00:00(:00(\.0+)?)?Z?)?", re.ASCII)


def _empty(value: str) -> Outside | None:
    return OUTSIDE if value else None


def _zero_date(value: Any) -> Outside | None:
    zero = _ZERO_DATE.fullmatch(value) is not None if isinstance(value, str) else value == 0
    return None if zero else OUTSIDE


RULES = (
    Rule(name="empty-as-null", kinds=frozenset({str}), normalise=_empty, target=None),
    Rule(name="zero-date-as-null", kinds=frozenset({int, float, str}), normalise=_zero_date, target=None),
)
