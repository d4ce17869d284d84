"""Aggregate functions on typed values, each with the PostgreSQL text that gives SQLite's result.

Source: https://sqlite.org/lang_aggfunc.html. What depends on the order of the rows is refused: a sum of doubles,
group_concat().
"""

from __future__ import annotations

from nasmigrate.schema.expressions.agree import as_bigint, as_integer
from nasmigrate.schema.expressions.facts import Kind, Refusal, Value

AGGREGATES = frozenset({"avg", "count", "max", "min", "sum"})


def count(value: Value | None, *, distinct: bool, where: str) -> Value:
    """How many rows there are or, with a value, how many of them have it.

    Raises:
        Refusal: distinct values that the two systems tell apart otherwise.
    """
    if value is None:
        return Value(sql=f"count(*){where}", kind=Kind.INTEGER, wide=True)
    if distinct and not _is_plain(value):
        raise Refusal(f"count() of distinct values of {value.described}")
    word = "DISTINCT " if distinct else ""
    return Value(sql=f"count({word}{value.sql}){where}", kind=Kind.INTEGER, wide=True)


def total(value: Value, *, where: str) -> Value:
    """sum() of integers; beyond 64 bits it is an error in both systems.

    Raises:
        Refusal: not an integer: a sum of doubles depends on the order in which they are added.
    """
    number = as_integer(value)
    if number.kind != Kind.INTEGER:
        raise Refusal(f"sum() of {value.described}, which depends on the order of the rows")
    return Value(sql=f"(sum({as_bigint(number)}){where})::bigint", kind=Kind.INTEGER, wide=True)


def average(value: Value, *, where: str) -> Value:
    """avg() of integers: their sum as a double, divided by their count.

    Raises:
        Refusal: not an integer, as for sum().
    """
    number = as_integer(value)
    if number.kind != Kind.INTEGER:
        raise Refusal(f"avg() of {value.described}, which depends on the order of the rows")
    operand = as_bigint(number)
    sql = f"(sum({operand}){where})::double precision / count({operand}){where}"
    return Value(sql=sql, kind=Kind.DOUBLE, compound=True)


def extreme(name: str, value: Value, *, where: str, utf8: bool) -> Value:
    """min() or max().

    Raises:
        Refusal: text that orders otherwise, or bytes, which PostgreSQL compares only since 18.
    """
    value = as_integer(value)
    operand = value.sql
    if value.kind == Kind.TEXT and _is_plain(value) and utf8:
        operand = f'{value.operand} COLLATE "C"'
    elif value.kind not in (Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC, Kind.MOMENT):
        raise Refusal(f"{name}() of {value.described}")
    return Value(sql=f"{name}({operand}){where}", kind=value.kind, type=value.type, shape=value.shape, wide=value.wide)


def _is_plain(value: Value) -> bool:
    return value.kind not in (Kind.OPAQUE, Kind.HELD_AS_BYTES) and (value.collation or "BINARY") == "BINARY"
