r"""TOML to paste, made safe to print: `\xNN` is not an escape of TOML 1.0, `\u00NN` is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nasmigrate.core.redaction import printable

ACCEPT_ALL: Final = (
    "To accept them all, this list under [plan] in nasmigrate.toml, in place of the `accept` that is there"
    " (leave out what you do not accept):"
)


def toml_lines(text: str) -> list[str]:
    r"""The lines of a piece of TOML; hidden characters are written so that a basic string keeps its value."""
    return ["".join(_escaped(character) for character in line) for line in text.split("\n")]


def accept_list(identities: Sequence[str]) -> list[str]:
    """The lines of `accept`, a key of `[plan]`, with these entries.

    One list, because TOML forbids to set a key twice; without the section's own line, because a file has it once, and
    `init` wrote it.
    """
    return ["accept = [", *(f"  {_basic_string(identity)}," for identity in identities), "]"]


def _basic_string(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_escaped(character) for character in quoted) + '"'


def _escaped(character: str) -> str:
    shown = printable(character)
    return f"\\u00{shown[2:]}" if len(shown) == 4 and shown.startswith("\\x") else shown
