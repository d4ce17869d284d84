"""Makes two or more typed values agree: for comparing, for choosing one of them, and for a target type.

Every rule here either gives PostgreSQL text with SQLite's result or raises Refusal. Sources: affinity and
collation of comparisons, https://sqlite.org/datatype3.html sections 4 and 7; SQLite compares an integer with
a REAL exactly, PostgreSQL rounds a bigint to a double first.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from nasmigrate.schema.expressions.facts import DOUBLE_EXACT, Kind, Refusal, TypeName, Value, write_decimal
from nasmigrate.schema.expressions.moments import moment_literal

_INT4_MAX = 2**31 - 1


def truth(value: Value) -> Value:
    """The value as a condition, as SQLite takes any number for one.

    Raises:
        Refusal: text or bytes as a condition: SQLite would read a number out of them.
    """
    match value.kind:
        case Kind.BOOLEAN:
            return value
        case Kind.NULL:
            return Value(sql="NULL::boolean", kind=Kind.BOOLEAN)
        case Kind.INTEGER | Kind.DOUBLE | Kind.NUMERIC:
            if value.is_literal:
                return Value(sql="FALSE" if value.literal == 0 else "TRUE", kind=Kind.BOOLEAN)
            return Value(sql=f"{value.operand} <> 0", kind=Kind.BOOLEAN, compound=True)
    raise Refusal(f"{value.described} used as a condition")


def as_integer(value: Value) -> Value:
    """A truth value as SQLite's 0 and 1; integers as they are."""
    if value.kind != Kind.BOOLEAN:
        return value
    if value.is_literal:
        return Value(sql=str(value.literal), kind=Kind.INTEGER, literal=value.literal)
    return Value(sql=f"{value.operand}::integer", kind=Kind.INTEGER)


def as_bigint(value: Value) -> str:
    """An integer or truth value as an operand of 64-bit arithmetic: 32 bits would overflow earlier."""
    value = as_integer(value)
    if value.wide:
        return value.operand
    if value.is_literal and value.sql.startswith("-"):
        return f"({value.sql})::bigint"
    return f"{value.operand}::bigint"


def as_double(value: Value) -> str:
    """A number as an operand of double arithmetic.

    Raises:
        Refusal: an integer literal that is no double.
    """
    value = as_integer(value)
    if isinstance(value.literal, int) and abs(value.literal) > DOUBLE_EXACT:
        raise Refusal(f"the integer {value.literal} is not exact as a double")
    if value.is_literal:
        return f"'{value.sql}'::double precision"
    return value.operand if value.kind == Kind.DOUBLE else f"{value.operand}::double precision"


def _small(value: Value) -> bool:
    """Whether all values have at most 15 digits: then decimals order as the doubles SQLite holds."""
    kind = value.type
    return value.kind == Kind.NUMERIC and kind is not None and kind.precision is not None and kind.precision <= 15


def _numbers(left: Value, right: Value) -> tuple[str, str]:
    if Kind.BOOLEAN in (left.kind, right.kind):
        pair = (left, right)
        if all(v.kind == Kind.BOOLEAN or (v.is_literal and v.literal in (0, 1)) for v in pair):
            one, other = (truth(v).operand for v in pair)
            return one, other
        left, right = as_integer(left), as_integer(right)
    kinds = {left.kind, right.kind}
    if kinds == {Kind.INTEGER}:
        return left.operand, right.operand
    if Kind.DOUBLE in kinds:
        columns = {v.kind for v in (left, right) if not v.is_literal}
        if Kind.DOUBLE in columns and columns == {Kind.DOUBLE}:
            return as_double(left), as_double(right)
        if not columns:
            return as_double(left), as_double(right)
        if Kind.DOUBLE not in columns:
            return left.operand, right.operand  # a decimal of 15 digits stays on its side of every value
        raise Refusal("compares a double with an integer or numeric: PostgreSQL would round one of them")
    for value in (left, right):
        if isinstance(value.literal, int) and abs(value.literal) > DOUBLE_EXACT:
            raise Refusal(f"the integer {value.literal} is not exact as a double")
    exact = all(v.is_literal or v.kind == Kind.INTEGER or _small(v) for v in (left, right))
    if exact or left.is_literal or right.is_literal:
        return left.operand, right.operand
    raise Refusal("compares numerics of more than 15 digits, which SQLite holds as doubles")


def _texts(left: Value, right: Value, *, ordered: bool, utf8: bool) -> tuple[str, str]:
    collation = (left.collation or right.collation or "BINARY").upper()
    one, other = left.operand, right.operand
    if ordered and not utf8:
        raise Refusal("compares the order of text, which differs in a UTF-16 database")
    if collation == "NOCASE":
        return f'lower({one} COLLATE "C")', f'lower({other} COLLATE "C")'
    if collation == "RTRIM":
        one, other = f"rtrim({one}, ' ')", f"rtrim({other}, ' ')"
    elif collation != "BINARY":
        raise Refusal(f"the collation {collation}")
    return (f'{one} COLLATE "C"' if ordered else one), other


_NUMBERS = frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC})


def comparable(left: Value, right: Value, *, ordered: bool, utf8: bool = True) -> tuple[str, str]:
    """The two sides of a comparison, so that it means in PostgreSQL what it means in SQLite.

    `ordered` is False for equality alone.

    Raises:
        Refusal: the types do not agree, or rounding would decide.
    """
    if Kind.NULL in (left.kind, right.kind):
        return left.operand, right.operand
    kinds = {left.kind, right.kind}
    if kinds <= _NUMBERS:
        return _numbers(left, right)
    if kinds == {Kind.TEXT}:
        return _texts(left, right, ordered=ordered, utf8=utf8)
    if kinds == {Kind.BYTES}:
        return left.operand, right.operand
    if kinds == {Kind.MOMENT, Kind.TEXT}:
        return _moment_operand(left, right), _moment_operand(right, left)
    if kinds == {Kind.MOMENT} and left.type == right.type and left.shape is not None and left.shape == right.shape:
        return left.operand, right.operand
    raise Refusal(f"compares {left.described} with {right.described}")


def _moment_operand(value: Value, other: Value) -> str:
    if value.kind == Kind.MOMENT:
        return value.operand
    if not isinstance(value.literal, str) or other.type is None or other.shape is None:
        raise Refusal(f"compares {other.described} with {value.described}")
    return moment_literal(value.literal, target=other.type, shape=other.shape)


def merged(values: Sequence[Value]) -> tuple[list[str], Value]:
    """The branches of COALESCE or CASE, each rewritten to one kind, and a value of that kind as pattern.

    Raises:
        Refusal: the branches are of different kinds.
    """
    solid = [v for v in values if v.kind != Kind.NULL]
    if not solid:
        raise Refusal("its branches are all NULL")
    kinds = {v.kind for v in solid}
    if Kind.BOOLEAN in kinds and kinds <= {Kind.BOOLEAN, Kind.INTEGER}:
        if all(v.kind == Kind.BOOLEAN or v.literal in (0, 1) for v in solid):
            return [v.sql if v.kind == Kind.NULL else truth(v).sql for v in values], Value(sql="", kind=Kind.BOOLEAN)
        return [as_integer(v).sql for v in values], Value(sql="", kind=Kind.INTEGER)
    plain = [v for v in solid if not v.is_literal]
    if kinds == {Kind.INTEGER, Kind.DOUBLE} and {v.kind for v in plain} <= {Kind.DOUBLE}:
        kinds = {Kind.DOUBLE}
    if kinds == {Kind.DOUBLE}:
        return [v.sql if v.kind == Kind.NULL else as_double(v) for v in values], Value(sql="", kind=Kind.DOUBLE)
    if kinds == {Kind.INTEGER, Kind.NUMERIC} and {v.kind for v in plain} == {Kind.NUMERIC}:
        if any(isinstance(v.literal, int) and abs(v.literal) >= 10**15 for v in solid):
            raise Refusal("an integer of more than 15 digits beside a numeric")
        kinds, solid = {Kind.NUMERIC}, plain
    if len(kinds) != 1:
        raise Refusal("its branches are " + " and ".join(sorted(kinds)))
    kind = kinds.pop()
    result = Value(sql="", kind=kind)
    if kind in (Kind.OPAQUE, Kind.HELD_AS_BYTES):
        raise Refusal(f"{solid[0].described} as a branch")
    if kind in (Kind.MOMENT, Kind.NUMERIC):
        first = solid[0]
        if any((v.type, v.shape) != (first.type, first.shape) for v in solid):
            raise Refusal("its branches are of different types")
        result = Value(sql="", kind=kind, type=first.type, shape=first.shape)
    return [v.sql for v in values], result


def stored_as(value: Value, target: TypeName) -> str:
    """The value as a generated column of the target type stores it.

    Raises:
        Refusal: SQLite's affinity or PostgreSQL's cast would change the value.
    """
    kinds = (value.kind, target.kind)
    if value.kind == Kind.NULL:
        return f"NULL::{target.sql}"
    if kinds in (
        (Kind.BOOLEAN, Kind.BOOLEAN),
        (Kind.INTEGER, Kind.INTEGER),
        (Kind.INTEGER, Kind.NUMERIC),
        (Kind.DOUBLE, Kind.DOUBLE),
        (Kind.TEXT, Kind.TEXT),
        (Kind.BYTES, Kind.BYTES),
    ):
        return value.sql
    if kinds == (Kind.BOOLEAN, Kind.INTEGER):
        return as_integer(value).sql
    if kinds == (Kind.INTEGER, Kind.DOUBLE):
        return as_double(value)
    if kinds == (Kind.INTEGER, Kind.BOOLEAN) and value.literal in (0, 1):
        return truth(value).sql
    if value.type is not None and value.type.base == target.base and value.type == target:
        return value.sql
    raise Refusal(f"{value.described} in a column of type {target.sql}")


def typed(value: Value) -> str:
    """The value with a type of its own: an index cannot order a bare NULL or string literal."""
    bare = value.kind == Kind.NULL or (value.kind == Kind.TEXT and value.is_literal)
    return f"{value.operand}::text" if bare else value.sql


def integer_literal(value: int) -> Value:
    """A signed 64-bit integer literal."""
    if not -(2**63) <= value < 2**63:
        raise Refusal(f"the integer {value} is beyond 64 bits")
    # PostgreSQL reads the lowest bigint as minus a numeric.
    sql = f"'{value}'::bigint" if value == -(2**63) else str(value)
    return Value(sql=sql, kind=Kind.INTEGER, literal=value, wide=abs(value) > _INT4_MAX)


def real_literal(value: Decimal) -> Value:
    """A REAL literal whose decimal names its double exactly."""
    return Value(sql=write_decimal(value), kind=Kind.DOUBLE, literal=value)
