"""Rules that take more of the statement than a word: a function each, collected in SHAPES."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from nasmigrate.schema.dialect.statement import Finder, Hit, Statement

_NUMBERS = frozenset({"0", "1"})
_COMPARISONS = frozenset({TokenType.EQ, TokenType.NEQ})
_ARITHMETIC = frozenset({TokenType.PLUS, TokenType.DASH, TokenType.STAR, TokenType.SLASH})
_ORDER_ENDS = frozenset({"limit", "offset", "union", "except", "intersect", "returning", ")", ";"})
_NAMES = frozenset({TokenType.VAR, TokenType.IDENTIFIER})


def boolean_as_number(statement: Statement) -> Iterator[Hit]:
    """`flag = 1` on a column that becomes boolean: operator does not exist: boolean = integer."""
    for index, token in enumerate(statement.tokens):
        column = statement.columns.get(statement.word(index))
        if column is None or column.pg_type != "boolean":
            continue
        following = index + 1
        if following + 1 >= len(statement.tokens) or statement.tokens[following].token_type not in _COMPARISONS:
            continue
        if statement.word(following + 1) in _NUMBERS:
            value = "true" if statement.word(following + 1) == "1" else "false"
            yield Hit(
                rule="boolean-as-number",
                offset=token.start,
                found=statement.text(index, following + 1),
                message=f"{column.target} is boolean in Postgres, which does not compare with a number",
                fix=f"{column.target} {statement.tokens[following].text} {value}",
            )


def row_number(statement: Statement) -> Iterator[Hit]:
    """`rowid` where no column is called so."""
    for index, token in enumerate(statement.tokens):
        word = statement.word(index)
        if word in ("rowid", "_rowid_") and word not in statement.columns and statement.word(index - 1) != "without":
            yield Hit(
                rule="rowid",
                offset=token.start,
                found=token.text,
                message="Postgres has no rowid",
                fix="the primary key's column; a table without one needs one",
            )


def limit_with_comma(statement: Statement) -> Iterator[Hit]:
    """`LIMIT 5, 10`."""
    for index in range(len(statement.tokens)):
        if statement.word(index) == "limit" and statement.word(index + 2) == ",":
            yield Hit(
                rule="limit-comma",
                offset=statement.tokens[index].start,
                found=statement.text(index, index + 3),
                message="LIMIT offset, count is no syntax of Postgres",
                fix="LIMIT count OFFSET offset",
            )


def placeholder(statement: Statement) -> Iterator[Hit]:
    """The first `?`, `@name` or `:name` of a statement: node-pg wants $1."""
    for index, token in enumerate(statement.tokens):
        sign = token.text if token.token_type != TokenType.STRING else ""
        named = sign in ("@", ":") and index + 1 < len(statement.tokens)
        if named:
            named = statement.tokens[index + 1].start == token.end + 1
        if sign == "?" or named or (sign.startswith("$") and not sign[1:].isdecimal()):
            yield Hit(
                rule="placeholder",
                offset=token.start,
                found=statement.text(index, index + 1 if named else index),
                message="node-pg takes $1, $2, … only",
                fix="$1, $2, …, and the values as an array",
            )
            return


def other_name(statement: Statement) -> Iterator[Hit]:
    """A name that was changed, or that has capitals and is written without quotes: Postgres folds it to lower case."""
    known = {name: target for name, target in statement.names.tables.items() if name in statement.words}
    known |= {name: column.target for name, column in statement.columns.items()}
    for token in statement.tokens:
        target = known.get(token.text.lower())
        if target is None or token.token_type == TokenType.STRING:
            continue
        quoted = token.token_type == TokenType.IDENTIFIER
        if target.lower() != token.text.lower():
            rule, message = "renamed", f"{token.text} is called {target} in Postgres"
        elif not quoted and target != target.lower():
            rule, message = "folded-name", f"Postgres reads {token.text} as {target.lower()}; the name is {target}"
        elif quoted and target != token.text:
            rule, message = "folded-name", f"quoted names are exact in Postgres; the name is {target}"
        else:
            continue
        fix = target if target.isidentifier() and target == target.lower() else '"' + target.replace('"', '""') + '"'
        yield Hit(rule=rule, offset=token.start, found=token.text, message=message, fix=fix)


def text_in_double_quotes(statement: Statement) -> Iterator[Hit]:
    """`status = "active"`: SQLite takes the string when no column is called so, Postgres never."""
    if not statement.columns:
        return
    for index, token in enumerate(statement.tokens):
        if token.token_type != TokenType.IDENTIFIER or statement.sql[token.start] != '"':
            continue
        compared = index > 0 and statement.tokens[index - 1].token_type in _COMPARISONS | {TokenType.LIKE}
        if compared and token.text.lower() not in statement.columns and statement.word(index + 1) != ".":
            yield Hit(
                rule="string-in-double-quotes",
                offset=token.start,
                found=f'"{token.text}"',
                message="double quotes are for names only in Postgres",
                fix="'" + token.text.replace("'", "''") + "'",
            )


def name_in_brackets(statement: Statement) -> Iterator[Hit]:
    """`[name]` and `name` in backquotes."""
    for token in statement.tokens:
        if token.token_type == TokenType.IDENTIFIER and statement.sql[token.start] in "[`":
            yield Hit(
                rule="quoted-name",
                offset=token.start,
                found=statement.sql[token.start : token.end + 1],
                message="Postgres quotes names with double quotes only",
                fix='"' + token.text.replace('"', '""') + '"',
            )


def is_value(statement: Statement) -> Iterator[Hit]:
    """`a IS ?`: SQLite's equality that knows NULL."""
    fine = {"null", "not", "true", "false", "distinct", "unknown", "json"}
    for index in range(len(statement.tokens) - 1):
        if statement.word(index) != "is":
            continue
        operand = index + 2 if statement.word(index + 1) == "not" else index + 1
        if statement.word(operand) not in fine:
            negated = operand == index + 2
            yield Hit(
                rule="is-value",
                offset=statement.tokens[index].start,
                found=statement.text(index, operand),
                message="IS takes only NULL, TRUE, FALSE and the like in Postgres",
                fix="IS DISTINCT FROM" if negated else "IS NOT DISTINCT FROM",
            )


def text_as_number(statement: Statement) -> Iterator[Hit]:
    """`'10' + 5`, and `/`, whose answer depends on each value's class in SQLite and on the types in Postgres."""
    for index, token in enumerate(statement.tokens):
        if token.token_type not in _ARITHMETIC or not 0 < index < len(statement.tokens) - 1:
            continue
        sides = (statement.tokens[index - 1].token_type, statement.tokens[index + 1].token_type)
        if TokenType.STRING in sides:
            yield Hit(
                rule="text-as-number",
                offset=token.start,
                found=statement.text(index - 1, index + 1),
                message="Postgres does not count with text",
                fix="write the number without quotes, or CAST(column AS numeric)",
            )
        elif token.token_type == TokenType.SLASH:
            yield Hit(
                rule="division",
                offset=token.start,
                found=statement.text(index - 1, index + 1),
                message="whether 7/2 is 3 or 3.5 is up to each value in SQLite, to the columns' types in Postgres",
                fix="CAST one side AS numeric or double precision where a fraction is meant",
            )


def nulls_in_order(statement: Statement) -> Iterator[Hit]:
    """ORDER BY on a column that may be NULL: NULLs come first in SQLite and last in Postgres."""
    index = 0
    while index < len(statement.tokens):
        if statement.word(index) != "order by":
            index += 1
            continue
        index += 1
        while index < len(statement.tokens) and statement.word(index) not in _ORDER_ENDS:
            column = statement.columns.get(statement.tokens[index].text.lower())
            plain = statement.tokens[index].token_type in _NAMES and statement.word(index + 1) != "("
            following = index + (2 if statement.word(index + 1) in ("asc", "desc") else 1)
            if column is not None and plain and column.nullable and statement.word(following) != "nulls":
                descending = statement.word(index + 1) == "desc"
                yield Hit(
                    rule="nulls-order",
                    offset=statement.tokens[index].start,
                    found=f"ORDER BY {statement.text(index, following - 1)}",
                    message=f"NULLs of {column.name} come {'last' if descending else 'first'} in SQLite,"
                    f" {'first' if descending else 'last'} in Postgres",
                    fix=f"ORDER BY {column.name}{' DESC NULLS LAST' if descending else ' NULLS FIRST'}",
                )
            index += 1


def bare_column(statement: Statement) -> Iterator[Hit]:
    """A column beside an aggregate that is not grouped by: SQLite takes any row's value, Postgres refuses."""
    for tree in statement.trees or ():
        for select in tree.find_all(exp.Select):
            yield from _bare_columns(statement, select)


def _bare_columns(statement: Statement, select: exp.Select) -> Iterator[Hit]:
    group = select.args.get("group")
    grouped = {expression.sql().lower() for expression in group.expressions} if group else set()
    grouped |= {name.rpartition(".")[2] for name in grouped}
    if any(set(key) <= grouped for table, key in statement.names.keys.items() if key and table in statement.words):
        return  # all other columns follow from the key
    if group and any(isinstance(expression, exp.Literal) for expression in group.expressions):
        return  # GROUP BY 1, 2: by position
    aggregates = any(
        node.find_ancestor(exp.Select) is select and not isinstance(node.parent, exp.Window)
        for node in select.find_all(exp.AggFunc)
    )
    if not group and not aggregates:
        return
    for projection in select.expressions:
        column = projection.this if isinstance(projection, exp.Alias) else projection
        names = {column.sql().lower(), projection.alias_or_name.lower()}
        if isinstance(column, exp.Column) and not names & grouped and not isinstance(column.this, exp.Star):
            yield Hit(
                rule="bare-column",
                offset=int(column.this.meta.get("start", 0)),
                found=column.sql(),
                message="neither grouped by nor in an aggregate: SQLite takes it from some row, Postgres refuses",
                fix=f"GROUP BY it as well, or min({column.sql()}), or DISTINCT ON",
            )


SHAPES: tuple[Finder, ...] = (
    boolean_as_number,
    row_number,
    limit_with_comma,
    placeholder,
    other_name,
    text_in_double_quotes,
    name_in_brackets,
    is_value,
    text_as_number,
    nulls_in_order,
    bare_column,
)
