"""Reads the text of a SQLite expression into a tree, and refuses what the tree could not show.

sqlglot maps many spellings to one node (`len`, `lcase`): a function the application registered under such a
name would be taken for another. So names of functions are checked on the tokens, before parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from nasmigrate.schema.expressions.facts import Refusal, fold

FUNCTIONS = frozenset(
    {"abs", "coalesce", "ifnull", "iif", "length", "lower", "ltrim", "rtrim", "substr", "substring", "trim", "upper"}
)
BEFORE_PARENTHESIS = frozenset({"and", "or", "not", "in", "is", "like", "between", "case", "when", "then", "else"})
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The tree, and the names that were quoted by `[x]` or backquotes: those are never strings."""

    tree: exp.Expr
    surely_names: frozenset[str]


def tokens_of(sql: str) -> list[Token]:
    """The tokens of a SQLite expression.

    Raises:
        Refusal: not SQL that sqlglot can read.
    """
    try:
        return list(SQLite().tokenize(sql))
    except SqlglotError as error:
        raise Refusal("the text could not be read") from error


def quoted_strings(sql: str, columns: Iterable[str]) -> tuple[str, ...]:
    """The double-quoted words of an expression that are strings, because no column has that name.

    See https://sqlite.org/quirks.html section 8. Text that cannot be read holds none.
    """
    names = {fold(name) for name in columns}
    try:
        tokens = tokens_of(sql)
    except Refusal:
        return ()
    return tuple(
        token.text
        for token in tokens
        if token.token_type == TokenType.IDENTIFIER and sql[token.start] == '"' and fold(token.text) not in names
    )


def columns_of(sql: str, columns: Iterable[str]) -> frozenset[str]:
    """The columns that an expression may speak of: every word of it that is the name of one.

    Text that cannot be read speaks of none.
    """
    names = {fold(name): name for name in columns}
    try:
        tokens = tokens_of(sql)
    except Refusal:
        return frozenset()
    return frozenset(names[fold(token.text)] for token in tokens if fold(token.text) in names)


def read(sql: str) -> Source:
    """Parse one expression.

    Raises:
        Refusal: it cannot be read whole as one expression, or it calls a function outside FUNCTIONS.
    """
    surely_names: set[str] = set()
    tokens = tokens_of(sql)
    groups = 1 if tokens and tokens[0].token_type == TokenType.L_PAREN else 0
    surely_names.update(t.text for t in tokens if t.token_type == TokenType.IDENTIFIER and sql[t.start] != '"')
    for token, following in pairwise(tokens):
        if following.token_type != TokenType.L_PAREN:
            continue
        if token.token_type == TokenType.IDENTIFIER:
            raise Refusal(f"the function {token.text}()")
        word = token.text.lower()
        if _WORD.fullmatch(word) and word not in FUNCTIONS and word not in BEFORE_PARENTHESIS:
            raise Refusal(f"the function {word}()")
        groups += word not in FUNCTIONS and word != "in"
    try:
        # Parentheses: some words at the start of a text make sqlglot read a statement. The line
        # break ends a comment that the text may end with.
        select = SQLite().parse(f"SELECT (\n{sql}\n)")
    except (SqlglotError, RecursionError) as error:
        raise Refusal("the text could not be read as one expression") from error
    if len(select) != 1 or not isinstance(select[0], exp.Select):
        raise Refusal("the text could not be read as one expression")
    filled = {name for name, value in select[0].args.items() if value}
    if filled != {"expressions"} or len(select[0].expressions) != 1:
        raise Refusal("the text could not be read as one expression")
    outer = select[0].expressions[0]
    if not isinstance(outer, exp.Paren):
        raise Refusal("the text could not be read as one expression")
    # sqlglot adds parentheses of its own where SQLite groups unlike other systems; ours must be the writer's.
    if sum(1 for _ in outer.this.find_all(exp.Paren)) != groups:
        raise Refusal("conditions grouped without parentheses")
    return Source(tree=outer.this, surely_names=frozenset(surely_names))
