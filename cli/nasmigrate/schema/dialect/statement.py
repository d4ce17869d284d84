"""One statement of the application as the rules see it, and what a rule says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from nasmigrate.schema.dialect.names import Names
from nasmigrate.schema.plan import PlanColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A place where Postgres does otherwise. `offset` counts characters from the start of the statement."""

    rule: str
    offset: int
    found: str
    message: str
    fix: str


_FILLED_IN = re.compile(r"\b_{4,}")


def _tokens(sql: str) -> list[Token]:
    tokens = list(SQLite().tokenize(sql))
    if len(tokens) == 2 and tokens[1].token_type == TokenType.STRING and sql[tokens[1].start] != "'":
        # A verb that sqlglot does not look behind (REPLACE): all the rest is one string to it.
        verb_end = tokens[0].end + 1
        return [tokens[0], *SQLite().tokenize(" " * verb_end + sql[verb_end:])]
    return tokens


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


class Statement:
    """The tokens of a statement, and its trees where sqlglot reads it whole.

    Args:
        sql: the text; parts that the application fills in stand as names (`____`).
        names: of the plan.

    Raises:
        SqlglotError: the text is not even a row of tokens.
    """

    def __init__(self, sql: str, names: Names) -> None:
        self.sql = sql
        self.names = names
        self.tokens = _tokens(sql)
        self.words = tuple(
            word
            for token in self.tokens
            for word in (token.text.lower().split() if token.token_type != TokenType.STRING else ("",))
        )
        """Lower-case; strings are empty, so that no text is taken for a keyword."""

    @cached_property
    def trees(self) -> tuple[exp.Expr, ...] | None:
        """The statements of the text, None where it cannot be read whole."""
        # What the application fills in is a name or a value; failing that, whole clauses, which can be left out.
        for text in dict.fromkeys((self.sql, _FILLED_IN.sub(_blank, self.sql))):
            try:
                return tuple(tree for tree in SQLite().parse(text) if tree is not None)
            except (SqlglotError, RecursionError):
                continue
        return None

    @cached_property
    def columns(self) -> dict[str, PlanColumn]:
        """The plan's columns of the tables that the statement names, by lower-case name."""
        return self.names.among(self.words)

    def word(self, index: int) -> str:
        """The lower-case text of a token that is no string; '' beyond the ends."""
        if not 0 <= index < len(self.tokens) or self.tokens[index].token_type == TokenType.STRING:
            return ""
        return self.tokens[index].text.lower()

    def calls(self) -> Iterator[tuple[int, str]]:
        """(token number, lower-case name) of each function called."""
        for index, token in enumerate(self.tokens[:-1]):
            following = self.tokens[index + 1]
            if following.token_type == TokenType.L_PAREN and token.text.isidentifier():
                yield index, token.text.lower()

    def arguments(self, index: int) -> list[tuple[int, int]]:
        """The token ranges [first, end) of the arguments of the call whose name is token `index`."""
        depth, start = 0, index + 2
        found = []
        for position in range(index + 1, len(self.tokens)):
            kind = self.tokens[position].token_type
            if kind == TokenType.L_PAREN:
                depth += 1
            elif kind == TokenType.R_PAREN:
                depth -= 1
                if depth == 0:
                    if position > start:
                        found.append((start, position))
                    return found
            elif kind == TokenType.COMMA and depth == 1:
                found.append((start, position))
                start = position + 1
        return found

    def text(self, first: int, last: int) -> str:
        """The source text from token `first` to token `last`, on one line."""
        last = min(last, len(self.tokens) - 1)
        return " ".join(self.sql[self.tokens[first].start : self.tokens[last].end + 1].split())


Finder = Callable[[Statement], Iterator[Hit]]
"""What a rule of `shapes` is."""
