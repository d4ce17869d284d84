"""What Postgres says of a text as JSON: whether `json` takes it, and whether `jsonb` would print it unchanged.

Postgres' own parser is never used on source text. `json` keeps the text as it is and checks the grammar of RFC 8259;
`jsonb` keeps a value and prints it in one way only (src/backend/utils/adt/jsonb.c, jsonb_put_escaped_value and
JsonbToCStringWorker; keys by length, then by bytes: lengthCompareJsonbStringValue in jsonb_util.c).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

MAX_DEPTH = 256
"""Nesting taken for JSON. Postgres' limit is its stack (2 MB hold some thousand levels), which is no fixed number."""
MAX_JSONB = 16 * 1024 * 1024
"""Characters of a text taken for jsonb: one array or object holds at most 256 MiB in its own, wider form."""
_MAX_DIGITS = 4000
"""Digits of a number taken for jsonb: far below those of `numeric`, and below what Python's int() takes at once."""

_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_ZERO = re.compile(r"-0\.0+", re.ASCII)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_FIRST_MARK = 2_718_281_828_459_045


class _Refused(Exception):
    """Not JSON, or not as jsonb prints it."""


def _refuse(_: object) -> NoReturn:
    raise _Refused


def _in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand as jsonb orders them, each once."""
    before: tuple[int, bytes] = (-1, b"")
    for key, _ in pairs:
        raw = key.encode()
        if (len(raw), raw) <= before:
            raise _Refused
        before = (len(raw), raw)
    return dict(pairs)


_VALID = json.JSONDecoder(parse_constant=_refuse)
_VALID_LONG = json.JSONDecoder(parse_constant=_refuse, parse_int=str, parse_float=str)
_WITHOUT_FRACTION = json.JSONDecoder(parse_constant=_refuse, parse_float=_refuse, object_pairs_hook=_in_order)
_PRINT = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


def is_json(text: str) -> bool:
    """Whether the text is JSON by RFC 8259 and not too deep: then `json` takes it and gives it back."""
    if _is_deep(text):
        return False
    try:
        _VALID.decode(text)
    except (_Refused, json.JSONDecodeError):
        return False
    except ValueError:
        # An integer of more digits than int() takes at once.
        try:
            _VALID_LONG.decode(text)
        except (_Refused, json.JSONDecodeError):
            return False
    return True


def has_nul_escape(text: str) -> bool:
    r"""Whether JSON text holds `\u0000`: `json` keeps it, but cannot search it, and jsonb refuses it."""
    return "\\u0000" in text and _NUL_ESCAPE.search(text) is not None


def is_canonical(text: str) -> bool:
    """Whether jsonb prints the value of the text as this text, byte by byte."""
    if len(text) > MAX_JSONB or _is_deep(text) or has_nul_escape(text):
        return False
    try:
        if "." not in text:
            return _PRINT(_WITHOUT_FRACTION.decode(text)) == text
        return _printed_with_fractions(text) == text
    except (_Refused, ValueError):
        # ValueError: no JSON, an integer of too many digits, a lone surrogate.
        return False


def _printed_with_fractions(text: str) -> str:
    """The text as printed again. Numbers with a point keep their digits: a double would lose them.

    A mark that does not occur in the text stands in for each of them while the rest is printed.
    """
    mark = _FIRST_MARK
    while str(mark) in text:
        mark += 1
    fractions: list[str] = []

    def keep(digits: str) -> int:
        if not _PLAIN.fullmatch(digits) or _ZERO.fullmatch(digits) or len(digits) > _MAX_DIGITS:
            raise _Refused
        fractions.append(digits)
        return mark

    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=keep, object_pairs_hook=_in_order)
    parts = _PRINT(decoder.decode(text)).split(str(mark))
    if len(parts) != len(fractions) + 1:
        raise _Refused
    return "".join(part for pair in zip(parts, [*fractions, ""], strict=True) for part in pair)


def _is_deep(text: str) -> bool:
    """Whether brackets nest deeper than MAX_DEPTH."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in "[{") - (match[0] in "]}")
        if depth > MAX_DEPTH:
            return True
    return False


class _Number:
    """A number of a JSON text, as jsonb prints it."""

    __slots__ = ("text",)

    def __init__(self, digits: str) -> None:
        self.text = _plain_number(digits)


def canonical(text: str) -> str | None:
    """What jsonb would print for a text; None when it is no JSON that jsonb takes.

    jsonb changes blanks, escapes and the notation of numbers, sorts keys and keeps the last of equal ones.
    """
    if len(text) > MAX_JSONB or _is_deep(text):
        return None
    decoder = json.JSONDecoder(
        parse_constant=_refuse, parse_float=_Number, parse_int=_Number, object_pairs_hook=_as_kept
    )
    try:
        printed = _printed(decoder.decode(text))
        printed.encode()
    except (_Refused, ValueError, OverflowError):
        return None
    return None if "\\u0000" in printed and has_nul_escape(printed) else printed


def _printed(value: Any) -> str:
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_PRINT(key)}: {_printed(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_printed, value)) + "]"
    return _PRINT(value)


def _as_kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object as jsonb keeps it."""
    return dict(sorted(dict(pairs).items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode())))


def _plain_number(digits: str) -> str:
    """A JSON number as `numeric` prints it: no exponent, as many decimals as were written, no minus before zero."""
    number = Decimal(digits)
    if abs(number.adjusted()) > _MAX_DIGITS or len(digits) > _MAX_DIGITS:
        raise _Refused
    plain = format(number, "f")
    return plain.removeprefix("-") if number.is_zero() else plain
