"""Colour for the terminal, always as an addition: every meaning is also a word. ANSI written by hand."""

from __future__ import annotations

from dataclasses import dataclass

_CODES = {
    "pass": "32",
    "fail": "31;1",
    "inconclusive": "33",
    "skipped": "2",
    "strong": "1",
    "quiet": "2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """Paints text that has already been measured, so that escape codes never count as cells."""

    color: bool

    def paint(self, text: str, style: str) -> str:
        """`text` in a style of the table above; unchanged without colour."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text else text
