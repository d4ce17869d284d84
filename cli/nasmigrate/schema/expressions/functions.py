"""Functions and arithmetic on typed values, each with the PostgreSQL text that gives SQLite's result.

Sources: https://sqlite.org/lang_corefunc.html and https://sqlite.org/lang_expr.html.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasmigrate.schema.expressions.agree import as_bigint, as_double, as_integer
from nasmigrate.schema.expressions.facts import Kind, Refusal, Value, quote_text

_MAX_POSITION = 10**9


def text_argument(value: Value, what: str) -> Value:
    """A text as an argument; a bare literal has no type yet where PostgreSQL picks the function.

    Raises:
        Refusal: not a text: SQLite would write the value as one first.
    """
    if value.kind != Kind.TEXT:
        raise Refusal(f"{what} on {value.described}")
    return value.rewritten(f"{value.sql}::text") if value.is_literal else value


def written(value: Value, what: str) -> Value:
    """A value as text: an integer in its decimal digits, which both systems write alike.

    Raises:
        Refusal: neither text nor an integer; SQLite writes a REAL with 15 digits, PostgreSQL as many as it needs.
    """
    if value.kind not in (Kind.INTEGER, Kind.BOOLEAN):
        return text_argument(value, what)
    number = as_integer(value)
    return Value(sql=f"({number.sql})::text", kind=Kind.TEXT)


def calculate(left: Value, operator: str, right: Value) -> Value:
    """`+`, `-` or `*` on two integers (in 64 bits) or with a double.

    Raises:
        Refusal: one is not a number, or is a numeric: SQLite calculates those in doubles.
    """
    left, right = as_integer(left), as_integer(right)
    kinds = {left.kind, right.kind}
    if kinds == {Kind.INTEGER}:
        sql = f"{as_bigint(left)} {operator} {as_bigint(right)}"
        return Value(sql=sql, kind=Kind.INTEGER, wide=True, compound=True)
    if kinds <= {Kind.INTEGER, Kind.DOUBLE}:
        sql = f"{as_double(left)} {operator} {as_double(right)}"
        return Value(sql=sql, kind=Kind.DOUBLE, compound=True)
    raise Refusal(f"{left.described} {operator} {right.described}")


def divide(left: Value, operator: str, right: Value) -> Value:
    """`/` or `%` on two integers; both systems cut towards zero, and the rest has the sign of the left.

    `/` with a double is a division of doubles.

    Raises:
        Refusal: one is of another kind.
    """
    left, right = as_integer(left), as_integer(right)
    if operator == "/" and {left.kind, right.kind} in ({Kind.DOUBLE}, {Kind.INTEGER, Kind.DOUBLE}):
        divisor = as_double(right) if right.literal else f"NULLIF({as_double(right)}, 0)"
        return Value(sql=f"{as_double(left)} / {divisor}", kind=Kind.DOUBLE, compound=True)
    if {left.kind, right.kind} != {Kind.INTEGER}:
        raise Refusal(f"{left.described} {operator} {right.described}")
    divisor = as_bigint(right)
    if not right.literal:  # zero, or not known: SQLite gives NULL where PostgreSQL raises an error
        divisor = f"NULLIF({divisor}, 0)"
    sql = f"{as_bigint(left)} {operator} {divisor}"
    return Value(sql=sql, kind=Kind.INTEGER, wide=True, compound=True)


def negative(value: Value) -> Value:
    """Unary minus.

    Raises:
        Refusal: not an integer, truth value or double.
    """
    match value.kind:
        case Kind.INTEGER | Kind.BOOLEAN:
            return Value(sql=f"- {as_bigint(value)}", kind=Kind.INTEGER, wide=True, compound=True)
        case Kind.DOUBLE:
            return Value(sql=f"- {as_double(value)}", kind=Kind.DOUBLE, compound=True)
    raise Refusal(f"the negative of {value.described}")


def absolute(value: Value) -> Value:
    """abs() of a number.

    Raises:
        Refusal: not a number.
    """
    value = as_integer(value)
    match value.kind:
        case Kind.INTEGER:
            return Value(sql=f"abs({as_bigint(value)})", kind=Kind.INTEGER, wide=True)
        case Kind.DOUBLE:
            return Value(sql=f"abs({as_double(value)})", kind=Kind.DOUBLE)
        case Kind.NUMERIC:
            return value.rewritten(f"abs({value.sql})")
    raise Refusal(f"abs() on {value.described}")


def like(value: Value, pattern: Value, *, negated: bool) -> Value:
    """LIKE as SQLite has it: the case of ASCII letters does not count, and no character escapes.

    Raises:
        Refusal: not a text, or the pattern is not an ASCII literal without backslashes.
    """
    if value.kind != Kind.TEXT:
        raise Refusal(f"LIKE on {value.described}")
    if not isinstance(pattern.literal, str) or not pattern.literal.isascii() or "\\" in pattern.literal:
        raise Refusal("LIKE with a pattern that is not an ASCII literal without backslashes")
    word = "NOT LIKE" if negated else "LIKE"
    sql = f"""lower({value.operand} COLLATE "C") {word} {quote_text(pattern.literal.lower())} ESCAPE ''"""
    return Value(sql=sql, kind=Kind.BOOLEAN, compound=True)


def length(value: Value) -> Value:
    """How long a value is: characters of a text (which has no NUL in PostgreSQL) or integer, bytes of a blob.

    Raises:
        Refusal: of another kind.
    """
    if value.kind == Kind.BYTES:
        return Value(sql=f"octet_length({value.sql})", kind=Kind.INTEGER)
    return Value(sql=f"length({written(value, 'length()').sql})", kind=Kind.INTEGER)


def fold_case(name: str, value: Value) -> Value:
    """lower() or upper(): ASCII letters only in SQLite, and in PostgreSQL under the collation "C".

    Raises:
        Refusal: not a text.
    """
    return Value(sql=f'{name}({text_argument(value, f"{name}()").operand} COLLATE "C")', kind=Kind.TEXT)


def trim(position: str, value: Value) -> Value:
    """The trims of one argument: blanks only.

    Raises:
        Refusal: not a text.
    """
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(position, "btrim")
    return Value(sql=f"{name}({text_argument(value, 'trim()').sql}, ' ')", kind=Kind.TEXT)


def substring(value: Value, numbers: Sequence[Value]) -> Value:
    """substr() from a start, with or without a length.

    Raises:
        Refusal: not a text, or a number that is not a positive literal: the two count those otherwise.
    """
    text = text_argument(value, "substr()")
    if not numbers or any(not isinstance(n.literal, int) or not 0 < n.literal <= _MAX_POSITION for n in numbers):
        raise Refusal("substr() with a start or length that is not a positive literal")
    return Value(sql=f"substr({', '.join([text.sql, *(n.sql for n in numbers)])})", kind=Kind.TEXT)
