"""Translates the DEFAULT of a column: a literal as the column's type stores it, or 'now' in its rows' shape.

A default has no columns, and what it means depends on the type it lands in, so it is read on its tokens:
anything but a signed literal, a word or one of the clock calls below is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from sqlglot.tokenizer_core import Token, TokenType

from nasmigrate.schema.expressions.facts import (
    DOUBLE_EXACT,
    Kind,
    Refusal,
    TypeName,
    blob,
    number,
    quote_text,
    write_decimal,
)
from nasmigrate.schema.expressions.moments import Shape, moment_literal, now_in_shape, shape_of_strftime
from nasmigrate.schema.expressions.random import random_bytes
from nasmigrate.schema.expressions.source import tokens_of
from nasmigrate.schema.model import Affinity

Constant = int | Decimal | str | bytes | None

_NUMBER_TOKENS = frozenset({TokenType.DASH, TokenType.PLUS, TokenType.DOT, TokenType.NUMBER})
_WORD = re.compile(r"[^\W\d]\w*")
_SIGNED = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CLOCKS = {
    "current_timestamp": "YYYY-MM-DD HH:MM:SS",
    "current_date": "YYYY-MM-DD",
    "current_time": "HH:MM:SS",
    "datetime": "YYYY-MM-DD HH:MM:SS",
    "date": "YYYY-MM-DD",
    "time": "HH:MM:SS",
}
_BLANKS = " \t\n\v\f\r"
_EPOCH = "floor(extract(epoch FROM now()))::bigint"
_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


def default_sql(sql: str, *, target: TypeName, text_shape: str | None, affinity: Affinity) -> str:
    """PostgreSQL text of a DEFAULT, for a column of the target type.

    Raises:
        Refusal: it has no exact equivalent in that type, or new rows would look unlike the stored ones.
    """
    tokens = _unwrapped(tokens_of(sql))
    if not tokens:
        raise Refusal("the default is empty")
    if {token.token_type for token in tokens} <= _NUMBER_TOKENS:
        value: Constant = _signed("".join(token.text for token in tokens))
        return _constant(value, target=target, text_shape=text_shape, affinity=affinity)
    if len(tokens) == 1:
        return _single(sql, tokens[0], target=target, text_shape=text_shape, affinity=affinity)
    random = random_bytes(sql[tokens[0].start : tokens[-1].end + 1], target=target, text_shape=text_shape)
    if random is not None:
        return random
    seconds = _epoch_factor(sql, tokens)
    if seconds is not None:
        return _epoch(seconds, target=target, text_shape=text_shape)
    name, arguments = _call(sql, tokens)
    return now_in_shape(_clock_shape(name, arguments), target=target, text_shape=text_shape)


def _unwrapped(tokens: Sequence[Token]) -> Sequence[Token]:
    """Without the parentheses around the whole."""
    while len(tokens) > 2 and tokens[0].token_type == TokenType.L_PAREN:
        depth, closed = 0, 0
        for place, token in enumerate(tokens):
            depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
            closed = place
            if depth == 0:
                break
        if closed != len(tokens) - 1:
            break
        tokens = tokens[1:-1]
    return tokens


def _signed(text: str) -> Constant:
    if not _SIGNED.fullmatch(text):
        raise Refusal(f"the number {text}")
    value = number(text.lstrip("+-"))
    if not text.startswith("-"):
        return value
    return -value if isinstance(value, int) else value.copy_negate()  # unary minus would lose the sign of -0.0


def _single(sql: str, token: Token, *, target: TypeName, text_shape: str | None, affinity: Affinity) -> str:
    value: Constant
    word = token.text.lower()
    if token.token_type == TokenType.STRING:
        value = token.text
    elif token.token_type == TokenType.HEX_STRING:
        if sql[token.start : token.start + 2].lower() == "0x":
            raise Refusal("a hexadecimal integer")
        value = blob(token.text)
    elif token.token_type == TokenType.IDENTIFIER:
        value = token.text
    elif word == "null":
        value = None
    elif word in ("true", "false"):
        value = int(word == "true")
    elif word in ("current_timestamp", "current_date", "current_time"):
        return now_in_shape(_CLOCKS[word], target=target, text_shape=text_shape)
    elif _WORD.fullmatch(token.text):
        value = token.text  # DEFAULT word: SQLite takes a bare word for a string
    else:
        raise Refusal("the default could not be read")
    return _constant(value, target=target, text_shape=text_shape, affinity=affinity)


def _call(sql: str, tokens: Sequence[Token]) -> tuple[str, list[str]]:
    """A call with string arguments only: its lower-case name and the arguments."""
    words = [
        token.text.lower()
        for token, following in pairwise(tokens)
        if following.token_type == TokenType.L_PAREN and _WORD.fullmatch(token.text)
    ]
    if not words:
        raise Refusal("an expression that is neither a literal nor a call of the clock")
    outer = next((word for word in words if word not in _CLOCKS and word not in ("strftime", "unixepoch")), None)
    if outer is not None:
        raise Refusal(f"the function {outer}()")
    if _WORD.fullmatch(tokens[0].text) is None or tokens[-1].token_type != TokenType.R_PAREN:
        raise Refusal(f"an expression around the function {words[0]}()")
    inner = tokens[2:-1]
    arguments: list[str] = []
    for place, token in enumerate(inner):
        if place % 2:
            good = token.token_type == TokenType.COMMA and place < len(inner) - 1
        else:
            # "now" in double quotes is a string too, as no column exists in a default.
            quoted = token.token_type == TokenType.IDENTIFIER and sql[token.start] == '"'
            good = token.token_type == TokenType.STRING or quoted
            arguments.append(token.text)
        if not good:
            raise Refusal(f"the arguments of the function {words[0]}()")
    return words[0], arguments


def _clock_shape(name: str, arguments: list[str]) -> str:
    """The shape that datetime(), date(), time() or strftime() writes for now."""
    rest = list(arguments)
    if name == "strftime":
        if not rest:
            raise Refusal("strftime() without a template")
        template = rest.pop(0)
        shape = shape_of_strftime(template)
        if shape is None:
            raise Refusal(f"strftime() with the template {quote_text(template)}")
    elif name in _CLOCKS and not name.startswith("current_"):
        shape = _CLOCKS[name]
    else:
        raise Refusal(f"the function {name}()")
    if rest and rest.pop(0).lower() != "now":
        raise Refusal(f"{name}() of another time than now")
    for modifier in (word.lower() for word in rest):
        if modifier in ("subsec", "subsecond") and name in ("datetime", "time"):
            shape = shape.replace(":SS", ":SS.SSS") if ".SSS" not in shape else shape
        else:
            raise Refusal(f"{name}() with the modifier {quote_text(modifier)}")
    return shape


def _epoch_factor(sql: str, tokens: Sequence[Token]) -> int | None:
    """What the seconds since 1970 are multiplied by (1 for the seconds), None for another expression."""
    tokens = _unwrapped(tokens)
    if len(tokens) > 2 and tokens[-2].token_type == TokenType.STAR and tokens[-1].text.isdecimal():
        factor = _epoch_factor(sql, tokens[:-2])
        return None if factor is None else factor * int(tokens[-1].text)
    if tokens[0].text.lower() == "cast" and tokens[-1].token_type == TokenType.R_PAREN and len(tokens) > 5:
        if tokens[-3].text.lower() == "as" and tokens[-2].text.lower() in ("int", "integer", "bigint"):
            return _epoch_factor(sql, tokens[2:-3])
        return None
    try:
        name, arguments = _call(sql, tokens)
    except Refusal:
        return None
    if [name, *(argument.lower() for argument in arguments)] in (["unixepoch"], ["unixepoch", "now"]):
        return 1
    # %S is the seconds of the minute: only the lower-case code counts from 1970.
    if name == "strftime" and arguments[:1] == ["%s"] and [a.lower() for a in arguments[1:]] in ([], ["now"]):
        return 1
    return None


def _epoch(factor: int, *, target: TypeName, text_shape: str | None) -> str:
    if target.base != "bigint" or text_shape is not None:
        raise Refusal(f"writes seconds since 1970, the column is {text_shape or target.sql}")
    if factor == 1:
        return _EPOCH
    if not 0 < factor <= 10**6:
        raise Refusal(f"seconds since 1970 times {factor}")
    return f"{_EPOCH} * {factor}"


def _constant(value: Constant, *, target: TypeName, text_shape: str | None, affinity: Affinity) -> str:
    """A literal as SQLite's affinity stores it in such a column."""
    if value is None:
        return "NULL"
    if isinstance(value, str) and target.kind in (Kind.INTEGER, Kind.BOOLEAN, Kind.DOUBLE, Kind.NUMERIC):
        if not _SIGNED.fullmatch(value):
            raise _misfit(value, target)
        value = _signed(value)
    written: str | None = None
    match target.kind:
        case Kind.TEXT:
            written = _text(_stored(value, affinity), text_shape=text_shape)
        case Kind.BYTES if isinstance(value, bytes):
            written = f"'\\x{value.hex()}'::bytea"
        case Kind.MOMENT if isinstance(value, str) and text_shape is not None:
            written = moment_literal(value, target=target, shape=text_shape)
        case Kind.INTEGER if isinstance(value, int | Decimal):
            written = _integer(value, target)
        case Kind.BOOLEAN if not isinstance(value, bytes) and value in (0, 1):
            written = "TRUE" if value == 1 else "FALSE"
        case Kind.DOUBLE if isinstance(value, int) and abs(value) <= DOUBLE_EXACT:
            written = str(value)
        case Kind.DOUBLE if isinstance(value, Decimal) and not _negative_zero(value):
            written = write_decimal(value)
        case Kind.NUMERIC if isinstance(value, int | Decimal):
            written = _numeric(Decimal(value), target)
        case Kind.OPAQUE if target.base in ("json", "jsonb") and value in ("{}", "[]"):
            written = f"'{value}'::{target.base}"  # any other text may come back with other blanks
    if written is None:
        raise _misfit(value, target)
    return written


def _misfit(value: Constant, target: TypeName) -> Refusal:
    shown = quote_text(value) if isinstance(value, str) else "a blob" if isinstance(value, bytes) else str(value)
    return Refusal(f"the literal {shown} in a column of type {target.sql}")


def _negative_zero(value: Decimal) -> bool:
    return value.is_zero() and value.is_signed()


def _integer(value: int | Decimal, target: TypeName) -> str | None:
    if isinstance(value, Decimal):
        if value != value.to_integral_value() or abs(value) > DOUBLE_EXACT:
            return None
        value = int(value)
    limit = _RANGES[target.base]
    return str(value) if -limit <= value < limit else None


def _numeric(value: Decimal, target: TypeName) -> str | None:
    """A number that the column holds unrounded."""
    if value == value.to_integral_value():
        text, fraction = str(int(value)), 0
    else:
        text = format(value.normalize(), "f")
        fraction = len(text.partition(".")[2])
    if target.precision is not None:
        scale = target.scale or 0
        if fraction > scale or abs(value) >= Decimal(10) ** (target.precision - scale):
            return None
    return text


def _stored(value: Constant, affinity: Affinity) -> Constant:
    """A literal as a column of number affinity stores it: 0 in REAL is 0.0, '1.0' in INTEGER is 1."""
    if affinity in (Affinity.TEXT, Affinity.BLOB):
        return value
    if isinstance(value, str) and _SIGNED.fullmatch(value.strip(_BLANKS)):
        value = _signed(value.strip(_BLANKS))
    if not isinstance(value, int | Decimal):
        return value
    if isinstance(value, Decimal):
        integral = affinity is not Affinity.REAL and -DOUBLE_EXACT <= value <= DOUBLE_EXACT and value == int(value)
        return int(value) if integral else value
    if affinity is not Affinity.REAL:
        return value
    if abs(value) > DOUBLE_EXACT:
        raise Refusal(f"the integer {value} is not exact as a double")
    return Decimal(value)


def _text(value: Constant, *, text_shape: str | None) -> str | None:
    """A literal as TEXT affinity writes it: 1 -> '1', 1.50 -> '1.5'."""
    if isinstance(value, int):
        value = str(value)
    elif isinstance(value, Decimal):
        plain = not _negative_zero(value) and (value == 0 or Decimal("1e-4") <= abs(value) < Decimal("1e15"))
        value = write_decimal(value) if plain else None
    if not isinstance(value, str):
        return None
    if text_shape is not None:
        shape = Shape.parse(text_shape)
        if shape is None or not re.fullmatch(shape.pattern, value, re.ASCII):
            raise Refusal(f"the text {quote_text(value)} is not written as {text_shape}")
    return quote_text(value)
