"""What a translation is made of: its outcome, typed pieces of SQL, and the quoting of names and strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

ColumnTypes = Mapping[str, str]
"""Column name -> PostgreSQL type, of every column of the table: a double-quoted word that is not a key is a string."""

DOUBLE_EXACT = 2**53
"""Up to here every integer is a double."""

_TYPE = re.compile(
    r"(?P<base>[a-z][a-z0-9 ]*?)\s*(?:\((?P<precision>\d+)(?:\s*,\s*(?P<scale>\d+))?\))?"
    r"(?P<zone> with(?:out)? time zone)?"
)
_ALIASES = {
    "int8": "bigint",
    "int4": "integer",
    "int": "integer",
    "int2": "smallint",
    "bool": "boolean",
    "float8": "double precision",
    "decimal": "numeric",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """PostgreSQL text that means exactly the same; identifiers are quoted as the column is named.

    No parentheses are put around the whole: CHECK, WHERE, GENERATED and index expressions need their own.
    """

    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTranslated:
    """The expression is not carried; `reason` names the part that has no exact equivalent."""

    reason: str


class Refusal(Exception):
    """Raised inside this package where an exact equivalent is not known; becomes NotTranslated."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Kind(StrEnum):
    """What a piece of SQL yields, as far as comparing and calculating care; the value is used in reasons."""

    NULL = "NULL"
    BOOLEAN = "a truth value"
    INTEGER = "an integer"
    DOUBLE = "a double"
    NUMERIC = "a numeric"
    TEXT = "text"
    BYTES = "bytes"
    HELD_AS_BYTES = "text or numbers that stand as bytea"
    MOMENT = "a date or time"
    OPAQUE = "a value of another type"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeName:
    """A PostgreSQL type taken apart: `timestamp(3)` is base timestamp, precision 3."""

    base: str
    precision: int | None = None
    scale: int | None = None
    sql: str

    @classmethod
    def parse(cls, text: str) -> TypeName:
        """Read a type name; one that is not understood keeps its text as base."""
        plain = " ".join(text.lower().split())
        match = _TYPE.fullmatch(plain)
        if match is None:
            return cls(base=plain, sql=text)
        base = match["base"] + (match["zone"] or "")
        precision, scale = match["precision"], match["scale"]
        return cls(
            base=_ALIASES.get(base, base),
            precision=None if precision is None else int(precision),
            scale=None if scale is None else int(scale),
            sql=text,
        )

    @property
    def kind(self) -> Kind:
        """How values of the type compare."""
        match self.base:
            case "boolean":
                return Kind.BOOLEAN
            case "bigint" | "integer" | "smallint":
                return Kind.INTEGER
            case "double precision":
                return Kind.DOUBLE
            case "numeric":
                return Kind.NUMERIC
            case "text":
                return Kind.TEXT
            case "bytea":
                return Kind.BYTES
            case "date" | "time" | "timestamp" | "timestamptz":
                return Kind.MOMENT
            case _:
                return Kind.OPAQUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A typed piece of PostgreSQL text.

    `literal` is the constant it was written as. `type` is set for columns and casts. `collation` and
    `shape` are those of a column: an expression over a text column compares as BINARY in SQLite.
    `wide` says that an integer is a bigint for PostgreSQL. `compound` asks for parentheses as an operand.
    """

    sql: str
    kind: Kind
    literal: int | Decimal | str | bytes | None = None
    type: TypeName | None = None
    collation: str | None = None
    shape: str | None = None
    wide: bool = False
    compound: bool = False

    @property
    def operand(self) -> str:
        """The text as an operand of anything."""
        return f"({self.sql})" if self.compound else self.sql

    @property
    def is_literal(self) -> bool:
        """Whether it is a constant that was written down."""
        return self.literal is not None

    @property
    def described(self) -> str:
        """For reasons: the kind, and the type where there is one."""
        if self.kind in (Kind.MOMENT, Kind.OPAQUE) and self.type is not None:
            return f"a value of type {self.type.sql}"
        return f"the literal {self.sql}" if self.is_literal else str(self.kind)

    def rewritten(self, sql: str, *, compound: bool = False) -> Value:
        """The same value written otherwise."""
        return replace(self, sql=sql, compound=compound)


def quote_name(name: str) -> str:
    """A PostgreSQL identifier, always quoted.

    Raises:
        Refusal: the name holds a NUL, which no PostgreSQL identifier can.
    """
    if "\0" in name:
        raise Refusal("a name holds a NUL character")
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A PostgreSQL string literal; needs `standard_conforming_strings = on`, the default since 9.1.

    Raises:
        Refusal: the text holds a NUL, which no PostgreSQL text can.
    """
    if "\0" in text:
        raise Refusal("a string literal holds a NUL character")
    return "'" + text.replace("'", "''") + "'"


def blob(digits: str) -> bytes:
    """The bytes of a SQLite blob literal, from its digits.

    Raises:
        Refusal: not whole bytes in hexadecimal.
    """
    try:
        return bytes.fromhex(digits)
    except ValueError as error:
        raise Refusal("a malformed blob literal") from error


def fold(name: str) -> str:
    """A name as SQLite matches it: ASCII letters lose their case, no others do."""
    return "".join(c.lower() if c.isascii() else c for c in name)


def number(text: str) -> int | Decimal:
    """The value of an unsigned SQLite number literal: an int, or the decimal of a REAL.

    Raises:
        Refusal: beyond 64 bits, where SQLite goes on in doubles; or more than 15 digits or an exponent
            beyond 22, where SQLite's own conversion may be an ulp off and no text names its double.
    """
    if text.isascii() and text.isdigit():
        value = int(text)
        if value > 2**63:  # 2**63 itself is the lowest integer without its sign
            raise Refusal(f"the integer {text} is beyond 64 bits")
        return value
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", text, re.ASCII):
        raise Refusal(f"the number {text}")
    real = Decimal(text)
    _, digits, exponent = real.normalize().as_tuple()
    if len(digits) > 15 or not isinstance(exponent, int) or abs(exponent) > 22:
        raise Refusal(f"the number {text} is not exact as a double")
    return real


def write_decimal(value: Decimal) -> str:
    """A decimal in plain digits, always with a point so that it reads as what it is: 1e3 -> 1000.0."""
    text = format(value.normalize(), "f")
    return text if "." in text else text + ".0"
