"""Rules for JSON, and for text that was stored as blobs."""

from __future__ import annotations

import math
from typing import Any

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.codecs.json_text import canonical, is_json
from nasmigrate.schema.rules.base import OUTSIDE, Outside, Rule
from nasmigrate.schema.rules.sqlite_jsonb import NotJsonb, to_text


def _reformat(value: Any) -> SqliteValue | Outside:
    text = value
    if isinstance(value, float):
        text = repr(value) if math.isfinite(value) else ""
    found = canonical(text)
    if found is None:
        return OUTSIDE
    return value if found == value else found


def _from_jsonb(value: bytes) -> SqliteValue | Outside:
    try:
        found = canonical(to_text(value))
    except NotJsonb:
        return OUTSIDE
    return OUTSIDE if found is None else found


def _text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def _as_text(value: bytes) -> SqliteValue | Outside:
    text = _text(value)
    return OUTSIDE if text is None else text


def _as_json(value: bytes) -> SqliteValue | Outside:
    text = _text(value)
    return OUTSIDE if text is None or not is_json(text) else text


RULES = (
    Rule(
        name="json-reformat",
        kinds=frozenset({str, float}),
        normalise=_reformat,
        target="jsonb",
        hint=r"jsonb takes valid JSON without \u0000 and lone surrogates, at most 256 levels deep",
    ),
    Rule(
        name="jsonb-blob-as-json",
        kinds=frozenset({bytes}),
        normalise=_from_jsonb,
        target="jsonb",
        hint="a blob must be SQLite's own JSONB, as its function jsonb() makes it",
    ),
    Rule(
        name="bytes-as-json",
        kinds=frozenset({bytes}),
        normalise=_as_json,
        target="json",
        hint="a blob must be the UTF-8 text of valid JSON",
    ),
    Rule(
        name="blob-as-text",
        kinds=frozenset({bytes}),
        normalise=_as_text,
        target="text",
        hint="a blob must be valid UTF-8 without NUL",
    ),
)
