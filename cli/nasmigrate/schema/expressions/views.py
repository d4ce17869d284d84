"""Translates a view: the SELECT of its CREATE VIEW over tables and views that are carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from nasmigrate.schema.expressions.aggregates import AGGREGATES
from nasmigrate.schema.expressions.facts import NotTranslated, Refusal, fold, quote_name
from nasmigrate.schema.expressions.query import QueryTranslator
from nasmigrate.schema.expressions.relations import Output, Relation
from nasmigrate.schema.expressions.source import BEFORE_PARENTHESIS, FUNCTIONS, Source, tokens_of

_WORDS = BEFORE_PARENTHESIS | {
    "all", "as", "by", "distinct", "except", "exists", "filter", "from", "having", "join", "on", "select", "union",
    "where",
}  # fmt: skip
_NO_GROUP = frozenset({"as", "exists", "filter", "in"})
"""Words whose parentheses belong to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedView:
    """A view's SELECT in PostgreSQL's SQL, whose outputs have the names that SQLite gives them."""

    sql: str
    outputs: tuple[Output, ...]


def translate_view(
    sql: str, *, names: Sequence[str], relations: Mapping[str, Relation], utf8: bool = True
) -> TranslatedView | NotTranslated:
    """Translate a view.

    Args:
        sql: the whole CREATE VIEW.
        names: of its columns, as SQLite has them.
        relations: the tables and views it may read, by name.
        utf8: False for a UTF-16 database, where text sorts otherwise.
    """
    try:
        tree, source = _read(_query_of(sql))
        by_name = {fold(name): relation for name, relation in relations.items()}
        statement = QueryTranslator(source, by_name, utf8=utf8).statement(tree)
    except Refusal as refusal:
        return NotTranslated(reason=refusal.reason)
    except RecursionError:
        return NotTranslated(reason="the view is nested too deeply")
    if len(statement.outputs) != len(names):
        return NotTranslated(reason="its columns could not be told")
    if len({fold(name) for name in names}) < len(names) or "" in names:
        return NotTranslated(reason="two of its columns have one name")
    outputs = tuple(replace(output, name=name) for output, name in zip(statement.outputs, names, strict=True))
    return TranslatedView(sql=statement.sql, outputs=outputs)


def create_view(name: str, columns: Sequence[str], sql: str) -> str:
    """The CREATE VIEW of a translated one."""
    return f"CREATE VIEW {quote_name(name)} ({', '.join(map(quote_name, columns))}) AS {sql}"


def _query_of(sql: str) -> str:
    """The SELECT of a CREATE VIEW.

    Raises:
        Refusal: there is none.
    """
    depth = 0
    for token in tokens_of(sql):
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0 and token.token_type == TokenType.ALIAS:
            return sql[token.end + 1 :]
    raise Refusal("the text could not be read as a view")


def _read(sql: str) -> tuple[exp.Expr, Source]:
    """Parse a SELECT; as `source.read` does it, the names of functions are checked on the tokens.

    Raises:
        Refusal: it cannot be read whole as one SELECT, or it calls a function that is not known.
    """
    tokens = tokens_of(sql)
    groups = 1 if tokens and tokens[0].token_type == TokenType.L_PAREN else 0
    for token, following in pairwise(tokens):
        if following.token_type == TokenType.L_PAREN:
            groups += _opens_a_group(token)
    try:
        (tree,) = SQLite().parse(sql)
    except (SqlglotError, ValueError) as error:
        raise Refusal("the text could not be read as one SELECT") from error
    if not isinstance(tree, exp.Select | exp.Union):
        raise Refusal("the text could not be read as one SELECT")
    written = sum(1 for _ in tree.find_all(exp.Paren))
    written += sum(1 for node in tree.find_all(exp.Subquery) if not isinstance(node.parent, exp.In))
    # sqlglot adds parentheses of its own where SQLite groups unlike other systems; ours must be the writer's.
    if written != groups:
        raise Refusal("conditions grouped without parentheses")
    surely = {t.text for t in tokens if t.token_type == TokenType.IDENTIFIER and sql[t.start] != '"'}
    return tree, Source(tree=tree, surely_names=frozenset(surely))


def _opens_a_group(token: Token) -> bool:
    """Whether the parenthesis after this token groups.

    Raises:
        Refusal: it is the argument of a function that is not known.
    """
    word = token.text.lower()
    if token.token_type == TokenType.IDENTIFIER:
        raise Refusal(f"the function {token.text}()")
    is_word = word.isidentifier()
    if is_word and word not in FUNCTIONS and word not in AGGREGATES and word not in _WORDS:
        raise Refusal(f"the function {word}()")
    return word not in FUNCTIONS and word not in AGGREGATES and word not in _NO_GROUP
