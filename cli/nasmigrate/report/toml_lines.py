r"""TOML to paste, made safe to print: `\xNN` is not an escape of TOML 1.0, `\u00NN` is."""

from __future__ import annotations

from collections.abc import Sequence

from nasmigrate.core.redaction import printable


def toml_lines(text: str) -> list[str]:
    r"""The lines of a piece of TOML; hidden characters are written so that a basic string keeps its value."""
    return ["".join(_escaped(character) for character in line) for line in text.split("\n")]


def accept_table(identities: Sequence[str]) -> list[str]:
    """The lines of `[plan] accept` with these entries. One list, because TOML forbids to set a key twice."""
    return ["[plan]", "accept = [", *(f"  {_basic_string(identity)}," for identity in identities), "]"]


def _basic_string(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_escaped(character) for character in quoted) + '"'


def _escaped(character: str) -> str:
    shown = printable(character)
    return f"\\u00{shown[2:]}" if len(shown) == 4 and shown.startswith("\\x") else shown
