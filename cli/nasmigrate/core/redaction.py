"""The one place that hides secrets and row values, and makes foreign text safe to print.

Patterns err on the side of masking: a log line with one word too many hidden is better than a password kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

MASK = "***"

# user:password@ of any URL. The lookahead keeps `host:5432/…` without a user readable; the password
# itself may hold `/`, quotes and `@` (people paste it unencoded), so it reaches to the last `@` of the word.
_URL = re.compile(
    r"""(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://[^\s:@/'"]*):(?!\d{1,5}(?:[/?,\s'"]|$))\S*@""",
)
# password=…, sslpassword = '…', PGPASSWORD=…, POSTGRES_PASSWORD=…; libpq quotes with '' and escapes with a
# backslash. `&` ends a value only where another URL parameter follows.
_ASSIGNMENT = re.compile(
    r"""(?P<head>[A-Za-z0-9_]*(?:password|passwd|pwd|passphrase)\s*=\s*)"""
    r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:\\.|(?!&[A-Za-z_]+=)\S)+)""",
    re.IGNORECASE | re.DOTALL,
)
# "password": "…" as JSON and Python's repr write it.
_QUOTED_KEY = re.compile(
    r"""(?P<head>["'][A-Za-z0-9_]*(?:password|passwd|pwd|passphrase)["']\s*:\s*)"""
    r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"(?:password|passwd|pwd|passphrase)$", re.IGNORECASE)
# PASSWORD 'secret' of CREATE/ALTER ROLE.
_SQL_PASSWORD = re.compile(r"(?P<head>\bPASSWORD\s+)'(?:[^']|'')*'", re.IGNORECASE)


def redact(text: str) -> str:
    """`text` with every password in URLs, conninfo strings, assignments and SQL replaced by `***`."""
    text = _URL.sub(rf"\g<head>:{MASK}@", text)
    text = _QUOTED_KEY.sub(rf'\g<head>"{MASK}"', text)
    text = _ASSIGNMENT.sub(rf"\g<head>{MASK}", text)
    return _SQL_PASSWORD.sub(rf"\g<head>'{MASK}'", text)


def redact_all(value: object) -> object:
    """`value` with `redact` applied to every text in its mappings and sequences; shaped for JSON.

    A value under a key that names a password is masked whole. What JSON does not know becomes its text.
    """
    if isinstance(value, Mapping):
        return {
            redact(str(key)): MASK if _SECRET_NAME.search(str(key)) and item else redact_all(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_all(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def holds_password(text: str) -> bool:
    """True when `redact` would hide something; `password=***` itself does not count."""
    return redact(text) != text


def mask_value(value: object) -> str:
    """What may be said of a row's value without showing it: its storage class and its size.

    Text is counted in characters, blobs in bytes, numbers in decimal digits of their shortest form.
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"text({_count(len(value), 'char')})"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"blob({_count(len(bytes(value)), 'byte')})"
    digits = sum(character.isdigit() for character in repr(value))
    if isinstance(value, float):
        return f"real({_count(digits, 'digit')})" if digits else "real(not finite)"
    if isinstance(value, int):
        return f"integer({_count(digits, 'digit')})" if digits else "integer(1 digit)"
    return f"{type(value).__name__}({_count(digits, 'digit')})" if digits else type(value).__name__


def printable(text: str) -> str:
    r"""`text` on one line; control, bidi, zero-width and surrogate characters become `\x1b`, `\u202e`.

    Names in a hostile file must not move the cursor, turn the reading direction or forge a second line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    # Cc control, Cf format (bidi, zero-width, tags), Cs surrogates, Zl/Zp line and paragraph separators.
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
