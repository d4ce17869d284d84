"""Which literals are SQL: whole statements, and the pieces that applications put statements together from."""

from __future__ import annotations

import re

_STATEMENT = re.compile(
    r"""(?:\s|--[^\n]*\n|/\*.*?\*/)*
    (?P<verb>
      SELECT\b (?=\s.*\bFROM\b | \s+\w+\()
    | INSERT\b (?=\s+(?:OR\s+\w+\s+)?INTO\s)
    | REPLACE\b (?=\s+INTO\s)
    | UPDATE\b (?=\s.*\bSET\s)
    | DELETE\b (?=\s+FROM\s)
    | WITH\b (?=\s.*\bAS\s*\()
    | CREATE\b (?=\s+(?:TEMP\w*\s+|UNIQUE\s+|VIRTUAL\s+)*(?:TABLE|INDEX|VIEW|TRIGGER)\s)
    | (?:ALTER|DROP)\b (?=\s+(?:TABLE|INDEX|VIEW|TRIGGER)\s)
    | PRAGMA\b (?=\s+\w)
    | ATTACH\b (?=\s+(?:DATABASE\s+)?['?])
    | BEGIN\b (?=\s+(?:IMMEDIATE|EXCLUSIVE|DEFERRED)\b)
    | VACUUM\b (?=\s*(?:;|INTO\b|\Z))
    )""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_PIECE = re.compile(
    r"""\b(?:WHERE|AND|OR|ORDER\s+BY|GROUP\s+BY|SET)\s+[\w.\"`]+
    | [\w.\"`]+\s*(?:[=<>]|==|<>|!=|<=|>=|\b(?:LIKE|GLOB|IN|IS)\b)\s*(?:\?|[@:$]\w|\(\s*\?)
    | \b(?:LIKE|GLOB)\s+'
    | \b(?:datetime|date|strftime|julianday|unixepoch)\s*\(\s*['\w]""",
    re.VERBOSE,
)


def is_statement(text: str) -> bool:
    """Whether the text is SQL from its first word on.

    The verb is written in one case throughout: "Select a file from the list" is a sentence.
    """
    match = _STATEMENT.match(text)
    return match is not None and (match["verb"].isupper() or match["verb"].islower())


def is_piece(text: str) -> bool:
    """Whether the text is a part of a statement, such as `name LIKE ?`."""
    return len(text) < 2000 and _PIECE.search(text) is not None
