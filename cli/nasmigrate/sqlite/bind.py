"""Binds values so that SQLite stores exactly them; a column's affinity is the one thing that still acts on them."""

from __future__ import annotations

from collections.abc import Sequence

from nasmigrate.schema.codecs import RawText, SqliteValue

TEXT_CODEC = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
"""Python's names of the encodings a file may have."""
_NONCHARACTERS = ("\ufffe", "\uffff")
_PLAIN, _AS_TEXT = "?", "CAST(? AS TEXT)"


class Binder:
    """Knows what cannot be bound as it is in a file of one encoding (UTF-8, UTF-16le or UTF-16be)."""

    def __init__(self, encoding: str) -> None:
        self._text_codec = TEXT_CODEC[encoding]

    def needs_cast(self, row: Sequence[SqliteValue]) -> bool:
        """Whether a value of the row cannot be bound as it is."""
        if RawText in map(type, row):
            return True
        return self._text_codec != "utf-8" and any(self._as_raw(value) is not None for value in row)

    def bind(self, row: Sequence[SqliteValue]) -> tuple[list[str], list[SqliteValue]]:
        """For each value the term of the statement, and what is bound there."""
        if not self.needs_cast(row):
            return [_PLAIN] * len(row), list(row)
        raws = [self._as_raw(value) for value in row]
        marks = [_PLAIN if raw is None else _AS_TEXT for raw in raws]
        return marks, [value if raw is None else raw for value, raw in zip(row, raws, strict=True)]

    def _as_raw(self, value: SqliteValue) -> bytes | None:
        """Bytes to be cast to TEXT, or None when the value can be bound as it is.

        SQLite replaces U+FFFE and U+FFFF by U+FFFD when it turns bound UTF-8 into UTF-16 (utf.c, READ_UTF8); a
        CAST of bytes in the file's own encoding leaves them alone.
        """
        if type(value) is RawText:
            return bytes(value)
        if self._text_codec != "utf-8" and isinstance(value, str) and any(c in value for c in _NONCHARACTERS):
            return value.encode(self._text_codec)
        return None
