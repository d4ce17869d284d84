"""A schema that an ORM or a migration tool made in the target, as far as rows are to be put into it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingColumn:
    """One column.

    Attributes:
        name: in Postgres.
        type: as `format_type` prints it.
        not_null: whether it refuses NULL.
        filled: Postgres gives it a value when a row says nothing of it.
        computed_sql: the expression of a generated column.
        numbered: a sequence numbers its rows, as identity or by default.
        labels: of an enum, in their order.
    """

    name: str
    type: str
    not_null: bool = False
    filled: bool = False
    computed_sql: str | None = None
    numbered: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingKey:
    """A foreign key; schemas other than `public` stand before the table's name with a dot."""

    name: str
    child: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingTable:
    """One relation of schema `public`; `kind` in words, `table` for an ordinary one. `rows` are those it holds."""

    name: str
    kind: str
    columns: tuple[ExistingColumn, ...]
    foreign_keys: tuple[ExistingKey, ...] = ()
    rows: int = 0

    def column(self, name: str) -> ExistingColumn | None:
        """The column called `name` exactly; None when there is none."""
        return next((column for column in self.columns if column.name == name), None)
