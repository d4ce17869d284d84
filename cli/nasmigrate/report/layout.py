"""Text in columns of terminal cells: how wide it is, shortening in the middle, padding, wrapping.

Widths are in cells: an East Asian wide character takes two, a combining mark none.
"""

from __future__ import annotations

import unicodedata

ELLIPSIS = "..."


def cells(text: str) -> int:
    """How many cells `text`, already made printable, takes on a terminal."""
    return len(text) if text.isascii() else sum(_cells_of(character) for character in text)


def clip(text: str, width: int) -> str:
    """`text` in at most `width` cells, shortened in the middle: names differ at their ends."""
    if cells(text) <= width:
        return text
    room = width - len(ELLIPSIS)
    if room < 2:
        return _head(text, width)
    return _head(text, room - room // 2) + ELLIPSIS + _tail(text, room // 2)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `width` cells; never shortened."""
    blanks = " " * max(0, width - cells(text))
    return blanks + text if right else text + blanks


def wrap(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken at blanks, inside a word only when it is longer than a line."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if cells(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while cells(word) > width:
            head = _head(word, width) or word[0]
            lines.append(head)
            word = word[len(head) :]
        line = word
    if line or not lines:
        lines.append(line)
    return lines


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _head(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _cells_of(character)
        if used > width:
            return text[:position]
    return text


def _tail(text: str, width: int) -> str:
    used = 0
    for position in range(len(text) - 1, -1, -1):
        used += _cells_of(text[position])
        if used > width:
            return text[position + 1 :]
    return text
