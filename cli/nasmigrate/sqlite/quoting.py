"""SQLite's SQL at the level of characters: quoting, unquoting and folding names, and splitting DDL into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Literal, cast

from nasmigrate.core.errors import SchemaError

_FOLD = str.maketrans(ascii_lowercase, ascii_uppercase)

TokenKind = Literal["word", "name", "string", "blob", "number", "symbol"]

_TOKEN = re.compile(
    r"""
      (?P<skip>    [ \t\n\v\f\r]+ | \ufeff | --[^\n]*(?:\n|\Z) | /\*.*?(?:\*/|\Z) )
    | (?P<blob>    [xX]'[^']*' )
    | (?P<word>    [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | (?P<string>  '(?:[^']|'')*' )
    | (?P<name>    "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
    | (?P<number>  0[xX][0-9A-Fa-f_]+ | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)? )
    | (?P<symbol>  [-+*/%(),.;=<>!|&~] )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `key` is the folded word or the symbol itself, '' for everything quoted or literal."""

    kind: TokenKind
    start: int
    end: int
    key: str


def quote_ident(name: str) -> str:
    """`name` as a double-quoted SQLite identifier, inner quotes doubled.

    The empty name is legal in SQLite (`CREATE TABLE ""(a)`), so it is quoted like any other.

    Raises:
        SchemaError: the name holds a NUL character, at which SQLite would stop reading the SQL.
    """
    if "\0" in name:
        raise SchemaError(
            f"the name {name!r} holds a NUL character and cannot be written in SQL",
            hint="rename the object in the source",
        )
    return '"' + name.replace('"', '""') + '"'


def unquote(text: str) -> str:
    """An identifier as written, without its quotes, as `sqlite3Dequote` does it."""
    if text[:1] == "[":
        return text[1:-1]
    if text[:1] in {'"', "'", "`"}:
        quote = text[0]
        return text[1:-1].replace(quote * 2, quote)
    return text


def fold_ascii(text: str) -> str:
    """`text` in upper case for a-z only, as SQLite compares names (`ı`, `ſ` and the Kelvin sign stay themselves)."""
    return text.translate(_FOLD)


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of `sql`, comments and blanks left out.

    Raises:
        SchemaError: a character that starts no token of SQLite's DDL.
    """
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:
            raise SchemaError(f"unreadable DDL at character {position}: {sql[position : position + 20]!r}")
        kind = match.lastgroup
        position = match.end()
        if kind != "skip":
            key = fold_ascii(match.group()) if kind in {"word", "symbol"} else ""
            yield Token(cast(TokenKind, kind), match.start(), match.end(), key)
