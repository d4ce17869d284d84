"""What a mapping rule is: which stored values it takes, what they become, and to which codec it leads.

Rules are the only way a value is changed on its way to Postgres; each is asked for by name, per column. A changed
value is kept as an original wherever the codec would not give it back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.codecs import SqliteValue


class Outside(Enum):
    """The answer of a rule that does not take a value."""

    OUTSIDE = "outside"


OUTSIDE = Outside.OUTSIDE
MOMENT = "moment"
"""The codec that rules for dates and times lead to; they turn a value into microseconds since 1970, in UTC."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: as the configuration writes it.
        kinds: the Python types of stored values it may take.
        normalise: what a value of these types becomes, None for NULL, or OUTSIDE when the rule does not take it. A
            value that is returned unchanged is one that the codec takes as it is.
        target: the name of the codec it leads to: every value of the column must fit there. None for a rule that
            makes NULLs, which leads anywhere.
        many: `normalise` for whole columns of integers; None when one of them is outside.
        precision: decimals of a second that its moments need, for integers; 0 to 6.
        hint: what to know when it is refused.
    """

    name: str
    kinds: frozenset[type]
    normalise: Callable[[Any], SqliteValue | Outside]
    target: str | None
    many: Callable[[Integers], Integers | None] | None = None
    precision: int = 0
    hint: str = ""
