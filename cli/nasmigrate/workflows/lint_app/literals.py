"""String literals of source files, with the place of each of their characters.

JavaScript and its relatives, Go, Java, C#, PHP, Ruby, Rust and the like share quotes and comments closely enough for
one scanner; Python has its own parser (`python_literals.py`). A literal's text has the length of its source: an
escape is blanked, an expression inside a template becomes a name of underscores, so that a place in the text is a
place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_ESCAPED_QUOTES = "'\"`"
_BEFORE_EXPRESSION = re.compile(r"(?:[(,=:\[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else))\s*\Z")
_REGULAR_EXPRESSION = re.compile(r"/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*")
_JOINED = re.compile(r"\s*[+.]\s*(?=[\"'`])")
_BLANK = re.compile(r"[^\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """One literal, or several joined by `+`. `pieces` are (text, offset of its first character in the file)."""

    pieces: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for text, _ in self.pieces)

    def place(self, offset: int) -> int:
        """The offset in the file of a character of `text`."""
        for text, start in self.pieces:
            if offset < len(text):
                return start + offset
            offset -= len(text)
        text, start = self.pieces[-1]
        return start + len(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What the scanner must know. A quote in `long_quotes` may span lines; `templates` holds expressions in ${}."""

    comments: tuple[str, ...] = ("//",)
    quotes: str = "'\""
    long_quotes: str = ""
    templates: str = ""
    regular_expressions: bool = False


_SCRIPT = Language(long_quotes="`", templates="`", regular_expressions=True)
_HASH = Language(comments=("#",), long_quotes="'\"")

LANGUAGES: dict[str, Language] = {
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue", ".svelte"), _SCRIPT),
    ".go": Language(long_quotes="`"),
    ".php": Language(comments=("//", "#"), long_quotes="'\""),
    **dict.fromkeys((".rb", ".pl", ".sh"), _HASH),
    **dict.fromkeys((".java", ".kt", ".cs", ".swift", ".scala", ".dart"), Language()),
    ".rs": Language(quotes='"', long_quotes='"'),
}
"""By suffix of the file's name."""


def literals(source: str, language: Language) -> Iterator[Literal]:
    """All literals of a file, in order; those inside a template's expressions as well."""
    yield from _Scanner(source, language).literals(0, len(source))


class _Scanner:
    def __init__(self, source: str, language: Language) -> None:
        self._source = source
        self._language = language
        self._quotes = language.quotes + language.long_quotes

    def literals(self, position: int, end: int) -> Iterator[Literal]:
        while position < end:
            after = self._skipped(position, end)
            if after != position:
                position = after
                continue
            if self._source[position] not in self._quotes:
                position += 1
                continue
            pieces: list[tuple[str, int]] = []
            nested: list[tuple[int, int]] = []
            while True:
                text, closing = self._one(position, end, nested)
                pieces.append((text, position + 1))
                position = closing
                joined = _JOINED.match(self._source, position, end)
                if joined is None:
                    break
                position = joined.end()
            yield Literal(pieces=tuple(pieces))
            for start, stop in nested:
                yield from self.literals(start, stop)

    def _skipped(self, position: int, end: int) -> int:
        """Where a comment or regular expression that begins here ends; `position` when none does."""
        source = self._source
        for mark in self._language.comments:
            if source.startswith(mark, position):
                line_end = source.find("\n", position, end)
                return end if line_end < 0 else line_end
        if "//" in self._language.comments and source.startswith("/*", position):
            closing = source.find("*/", position + 2, end)
            return end if closing < 0 else closing + 2
        if self._language.regular_expressions and source[position] == "/":
            match = _REGULAR_EXPRESSION.match(source, position, end)
            if match and (_BEFORE_EXPRESSION.search(source[max(0, position - 40) : position]) or position == 0):
                return match.end()
        return position

    def _one(self, start: int, end: int, nested: list[tuple[int, int]]) -> tuple[str, int]:
        """The text of the literal whose quote is at `start`, and the position after its closing quote."""
        source, quote = self._source, self._source[start]
        text: list[str] = []
        position = start + 1
        while position < end:
            character = source[position]
            if character == quote:
                return "".join(text), position + 1
            if character == "\n" and quote not in self._language.long_quotes:
                break  # no literal of this language goes on here: an apostrophe in a text, or a comment
            if character == "\\" and position + 1 < end:
                following = source[position + 1]
                kept = following if following in _ESCAPED_QUOTES or following == "\n" else " "
                text.append(f" {kept}")
                position += 2
            elif quote in self._language.templates and source.startswith("${", position):
                closing = self._closing(position + 2, end)
                nested.append((position + 2, closing - 1))
                text.append(_BLANK.sub("_", source[position:closing]))
                position = closing
            else:
                text.append(character)
                position += 1
        return "".join(text), position

    def _closing(self, position: int, end: int) -> int:
        """The position after the brace that closes an expression in a template."""
        depth = 1
        while position < end and depth:
            character = self._source[position]
            if character in self._quotes:
                position = self._one(position, end, [])[1]
                continue
            depth += {"{": 1, "}": -1}.get(character, 0)
            position += 1
        return position
