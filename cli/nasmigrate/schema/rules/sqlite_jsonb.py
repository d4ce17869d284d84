"""Reads SQLite's JSONB blobs, so that they need no SQLite of a certain version.

Format: https://sqlite.org/jsonb.html. An element is a header and a payload. The low four bits of the first byte are
the type; the high four bits are the payload's size, or 12 to 15 for a size in the 1, 2, 4 or 8 bytes that follow.
"""

from __future__ import annotations

import json
import re

_MAX_DEPTH = 256
_SIZE_BYTES = {12: 1, 13: 2, 14: 4, 15: 8}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_HEXADECIMAL = re.compile(r"(-?)0[xX]([0-9a-fA-F]+)", re.ASCII)
_FLOAT5 = re.compile(r"(-?)([0-9]*)\.([0-9]*)([eE][+-]?[0-9]+)?", re.ASCII)
_ESCAPED = re.compile(r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')

_CONSTANTS = {0: "null", 1: "true", 2: "false"}
_INT, _INT5, _REAL, _REAL5, _TEXT, _TEXTJ, _TEXT5, _TEXTRAW, _ARRAY, _OBJECT = range(3, 13)


class NotJsonb(ValueError):
    """The blob is no JSONB, or holds JSON5 that has no plain form here."""


def to_text(blob: bytes) -> str:
    """The JSON text of a JSONB blob, without blanks.

    Raises:
        NotJsonb: it is none, in part or as a whole.
    """
    try:
        text, end = _element(blob, 0, len(blob), 0)
    except (IndexError, UnicodeDecodeError) as error:
        raise NotJsonb("cut short, or not UTF-8") from error
    if end != len(blob):
        raise NotJsonb("bytes after the value")
    return text


def _element(blob: bytes, start: int, limit: int, depth: int) -> tuple[str, int]:
    """The text of the element at `start`, and where the next one is."""
    if start >= limit or depth > _MAX_DEPTH:
        raise NotJsonb("no element, or too deep")
    kind, size = blob[start] & 15, blob[start] >> 4
    begin = start + 1
    if size >= 12:
        width = _SIZE_BYTES[size]
        size = int.from_bytes(blob[begin : begin + width], "big")
        begin += width
    end = begin + size
    if end > limit:
        raise NotJsonb("a size beyond the blob")
    if kind in _CONSTANTS:
        if size:
            raise NotJsonb("a constant with a payload")
        return _CONSTANTS[kind], end
    if kind in (_ARRAY, _OBJECT):
        return _collection(blob, kind, begin, end, depth), end
    return _scalar(kind, blob[begin:end].decode()), end


def _collection(blob: bytes, kind: int, begin: int, end: int, depth: int) -> str:
    parts: list[str] = []
    while begin < end:
        part, begin = _element(blob, begin, end, depth + 1)
        parts.append(part)
    if kind == _ARRAY:
        return f"[{','.join(parts)}]"
    keys = parts[::2]
    if len(parts) % 2 or not all(key.startswith('"') for key in keys):
        raise NotJsonb("an object without a value to a key")
    return "{" + ",".join(f"{key}:{value}" for key, value in zip(keys, parts[1::2], strict=True)) + "}"


def _scalar(kind: int, payload: str) -> str:
    if kind == _INT and _INTEGER.fullmatch(payload):
        return payload
    if kind == _REAL and _FLOAT.fullmatch(payload):
        return payload
    if kind == _INT5 and (match := _HEXADECIMAL.fullmatch(payload)):
        return f"{match[1]}{int(match[2], 16)}"
    if kind == _REAL5 and (match := _FLOAT5.fullmatch(payload)) and (match[2] or match[3]):
        return f"{match[1]}{match[2] or 0}.{match[3] or 0}{match[4] or ''}"
    if kind in (_TEXT, _TEXTRAW):
        return json.dumps(payload, ensure_ascii=False)
    if kind == _TEXTJ and _ESCAPED.fullmatch(payload):
        return f'"{payload}"'
    raise NotJsonb(f"a payload that does not fit its type {kind}")
