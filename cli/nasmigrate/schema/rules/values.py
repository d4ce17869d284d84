"""Rules for words, money, UUIDs and text that Postgres cannot hold."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nasmigrate.schema.codecs import RawText, SqliteValue
from nasmigrate.schema.codecs.numbers import EXACT_INTEGER
from nasmigrate.schema.codecs.uuid import canonical
from nasmigrate.schema.rules.base import OUTSIDE, Outside, Rule

WORDS: Mapping[str, int] = {
    "true": 1,
    "t": 1,
    "yes": 1,
    "y": 1,
    "on": 1,
    "false": 0,
    "f": 0,
    "no": 0,
    "n": 0,
    "off": 0,
}
"""All words that `bool-words` knows, in lower case. 2 is none of them, nor is ''."""
SNAP = 1e-6
"""How far from an integer an amount may be that was meant to be one: far more than the error of a few additions and
multiplications of doubles of that size, far less than a real fraction of a cent."""
NUL_REPLACEMENT = "\u2400"
"""SYMBOL FOR NULL."""


def _word(value: str) -> SqliteValue | Outside:
    return WORDS.get(value.lower(), OUTSIDE) if value.isascii() else OUTSIDE


def _snap(value: float) -> SqliteValue | Outside:
    if not math.isfinite(value) or abs(value) > EXACT_INTEGER:
        return OUTSIDE
    nearest = round(value)  # half to even
    return nearest if abs(value - nearest) <= SNAP else OUTSIDE


def _uuid(value: str) -> SqliteValue | Outside:
    found = canonical(value)
    if found is None:
        return OUTSIDE
    return value if found == value else found


def _without_nul(value: str) -> SqliteValue | Outside:
    return value.replace("\x00", NUL_REPLACEMENT)


def _bytes_of_text(value: str) -> SqliteValue | Outside:
    """The codec for bytes of text takes it as it is; what is not valid counts as changed, being bytes from now on."""
    return RawText(value) if isinstance(value, RawText) else value


RULES = (
    Rule(
        name="bool-words",
        kinds=frozenset({str}),
        normalise=_word,
        target="boolean",
        hint="the words are true/false, t/f, yes/no, y/n and on/off; of numbers, 0 and 1 only",
    ),
    Rule(
        name="money-cents-snap",
        kinds=frozenset({float}),
        normalise=_snap,
        target="bigint",
        hint=f"an amount must be within {SNAP:g} of an integer",
    ),
    Rule(
        name="uuid-canonical",
        kinds=frozenset({str}),
        normalise=_uuid,
        target="uuid",
        hint="a UUID may be in upper case, in braces or without hyphens",
    ),
    Rule(
        name="nul-in-text=replace",
        kinds=frozenset({str}),
        normalise=_without_nul,
        target="text",
        hint="only text that is valid in the file's encoding can be kept as text",
    ),
    Rule(
        name="invalid-utf8=bytea",
        kinds=frozenset({str, RawText}),
        normalise=_bytes_of_text,
        target="bytea",
        hint="it is for columns of text; other classes need a decision of their own",
    ),
)
