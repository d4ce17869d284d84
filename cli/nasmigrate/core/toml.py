"""TOML written from names that nobody chose for it."""

from __future__ import annotations


def toml_string(text: str) -> str:
    """A basic string of TOML 1.0: a name may hold quotes, backslashes and line breaks."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else c for c in quoted) + '"'
