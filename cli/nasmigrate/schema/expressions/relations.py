"""What a SELECT reads from: relations with typed columns, and what it puts out."""

from __future__ import annotations

from dataclasses import dataclass

from nasmigrate.schema.expressions.facts import Kind, TypeName, Value, quote_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationColumn:
    """A column that a SELECT may read.

    `target` is its name in PostgreSQL. `held_as_bytes` says of a bytea that it holds other than blobs in SQLite. `like`
    is whatever the caller wants back for an output that holds the same kind of values.
    """

    name: str
    target: str
    pg_type: str
    collation: str = "BINARY"
    shape: str | None = None
    held_as_bytes: bool = False
    like: object = None

    def value(self, alias: str) -> Value:
        """The column of a relation that is bound to an alias."""
        kind = TypeName.parse(self.pg_type)
        return Value(
            sql=f"{quote_name(alias)}.{quote_name(self.target)}",
            kind=Kind.HELD_AS_BYTES if self.held_as_bytes else kind.kind,
            type=kind,
            collation=self.collation,
            shape=self.shape,
            wide=kind.base == "bigint",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, a view, or a SELECT in a FROM.

    `target` is its name in PostgreSQL. `key` are the columns that identify a row, empty when none are known to.
    """

    name: str
    target: str
    columns: tuple[RelationColumn, ...]
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A relation in a FROM under an alias."""

    alias: str
    relation: Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A column that a SELECT puts out; `name` is None for an expression without an alias.

    `value` is what it was translated to, `sql` the same with a type and collation of its own. `like` is that of the
    column it is, or of one with the same type and shape; None for a computed value of a plain type.
    """

    name: str | None
    value: Value
    sql: str
    pg_type: str
    like: object = None

    def column(self, name: str, like: object = None) -> RelationColumn:
        """The same as a column of a relation; `like` where another is better known by now."""
        return RelationColumn(
            name=name,
            target=name,
            pg_type=self.pg_type,
            collation=self.value.collation or "BINARY",
            shape=self.value.shape,
            held_as_bytes=self.value.kind == Kind.HELD_AS_BYTES,
            like=self.like if like is None else like,
        )

    @property
    def is_comparable(self) -> bool:
        """Whether equal values are equal in both systems, byte by byte: what DISTINCT, GROUP BY and UNION take."""
        binary = self.value.kind != Kind.TEXT or (self.value.collation or "BINARY") == "BINARY"
        return binary and self.value.kind != Kind.HELD_AS_BYTES and self.pg_type != "json"
