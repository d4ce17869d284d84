"""Dates and times: the shapes SQLite stores as text, their literals, and 'now' in PostgreSQL.

A shape is a name such as `YYYY-MM-DD HH:MM:SS.SSSZ`. SQLite's clock functions give UTC
(https://sqlite.org/lang_datefunc.html), whole seconds or milliseconds, cut and never rounded; a cast to
timestamp(0) rounds, so values are cut by date_trunc before any cast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time

from nasmigrate.schema.expressions.facts import Refusal, TypeName, quote_text

_SHAPE = re.compile(
    r"(?P<date>YYYY-MM-DD)?(?P<separator>[ T]?)(?P<clock>HH:MM:SS(?P<fraction>\.SSS)?)?(?P<zone>Z|[+-]\d\d:\d\d)?"
)
_UTC_NOW = "now() AT TIME ZONE 'UTC'"
_STRFTIME = (("%F", "%Y-%m-%d"), ("%T", "%H:%M:%S"), ("%Y-%m-%d", "YYYY-MM-DD"), ("%H:%M:%S", "HH:MM:SS"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The parts of a shape: which of date and clock are there, the separator, milliseconds, the suffix."""

    date: bool
    separator: str
    clock: bool
    milliseconds: bool
    zone: str

    @classmethod
    def parse(cls, name: str) -> Shape | None:
        """Take a shape's name apart; None for a name that is not a shape."""
        match = _SHAPE.fullmatch(name)
        if match is None:
            return None
        date, clock = match["date"] is not None, match["clock"] is not None
        if not (date or clock) or bool(match["separator"]) != (date and clock):
            return None
        return cls(
            date=date,
            separator=match["separator"],
            clock=clock,
            milliseconds=match["fraction"] is not None,
            zone=match["zone"] or "",
        )

    @property
    def utc(self) -> bool:
        """Whether the suffix, if any, says UTC."""
        return self.zone in ("", "Z", "+00:00")

    @property
    def cut(self) -> str:
        """The unit that date_trunc cuts to."""
        return "milliseconds" if self.milliseconds else "second" if self.clock else "day"

    @property
    def pattern(self) -> str:
        """A regular expression for texts of this shape."""
        date = r"\d{4}-\d\d-\d\d" if self.date else ""
        clock = r"\d\d:\d\d:\d\d" + (r"\.\d{3}" if self.milliseconds else "") if self.clock else ""
        return date + self.separator + clock + re.escape(self.zone)

    @property
    def to_char(self) -> str:
        """The to_char template that writes the shape."""
        date = "YYYY-MM-DD" if self.date else ""
        clock = "HH24:MI:SS" + (".MS" if self.milliseconds else "") if self.clock else ""
        separator = '"T"' if self.separator == "T" else self.separator
        return date + separator + clock + (f'"{self.zone}"' if self.zone else "")


def shape_of_strftime(template: str) -> str | None:
    """The shape that a strftime template writes, or None when it is not one of ours."""
    name = template
    for code, replacement in _STRFTIME:
        name = name.replace(code, replacement)
    name = name.replace("%H:%M:%f", "HH:MM:SS.SSS")
    return name if Shape.parse(name) is not None else None


def now_in_shape(produced: str, *, target: TypeName, text_shape: str | None) -> str:
    """PostgreSQL text for 'now' where SQLite writes it in the shape `produced`.

    `text_shape` is the shape of the stored rows, None when they have none.

    Raises:
        Refusal: the stored rows have another shape or the type holds another, so that a new row could
            not come home.
    """
    shape = Shape.parse(produced)
    if shape is None:
        raise Refusal(f"a time written as {produced}")
    if text_shape is not None and text_shape != produced:
        raise Refusal(f"writes {produced}, the stored rows are {text_shape}")
    if not shape.utc:
        raise Refusal(f"writes UTC with the offset {shape.zone}")
    if shape.milliseconds and target.precision is not None and target.precision < 3:
        raise Refusal(f"writes milliseconds, the column is {target.sql}")
    match target.base:
        case "text":
            return f"to_char({_UTC_NOW}, {quote_text(shape.to_char)})"
        case "date" if shape.date and not shape.clock:
            return f"(({_UTC_NOW})::date)"
        case "time" if shape.clock and not shape.date:
            return f"date_trunc('{shape.cut}', {_UTC_NOW})::{target.sql}"
        case "timestamp" if shape.date and shape.clock:
            return f"date_trunc('{shape.cut}', {_UTC_NOW})::{target.sql}"
        case "timestamptz" if shape.date and shape.clock:
            return f"date_trunc('{shape.cut}', now())::{target.sql}"
    raise Refusal(f"writes {produced}, the column is {target.sql}")


def moment_literal(text: str, *, target: TypeName, shape: str) -> str:
    """A typed literal for a text that has exactly the shape of the stored rows.

    Raises:
        Refusal: another shape, no such date, or an offset that the type does not keep.
    """
    parts = Shape.parse(shape)
    if parts is None or not re.fullmatch(parts.pattern, text, re.ASCII):
        raise Refusal(f"the text {quote_text(text)} is not written as {shape}")
    bare = text[: len(text) - len(parts.zone)]
    try:
        if parts.date:
            datetime.fromisoformat(bare)
        else:
            time.fromisoformat(bare)
    except ValueError as error:
        raise Refusal(f"the text {quote_text(text)} is no date or time") from error
    fits = {
        "date": parts.date and not parts.clock,
        "time": parts.clock and not parts.date,
        "timestamp": parts.date and parts.clock and parts.utc,
        "timestamptz": parts.date and parts.clock,
    }
    if not fits.get(target.base, False) or (parts.zone and target.base not in ("timestamp", "timestamptz")):
        raise Refusal(f"a text written as {shape} in a column of type {target.sql}")
    if parts.milliseconds and target.precision is not None and target.precision < 3:
        raise Refusal(f"a text with milliseconds in a column of type {target.sql}")
    if target.base == "timestamptz":
        bare += parts.zone if parts.zone not in ("", "Z") else "+00:00"
    return f"{quote_text(bare)}::{target.sql}"
