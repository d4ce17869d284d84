"""The source schema as both sides see it: tables, columns, keys, indexes and what is not carried.

Everything here is a frozen fact read from `sqlite_schema` and its pragmas; no SQL is run here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal

BUILT_IN_COLLATIONS: Final = frozenset({"BINARY", "NOCASE", "RTRIM"})
"""Others are functions of the application (https://sqlite.org/datatype3.html section 7)."""


class Affinity(StrEnum):
    """Column affinity, by the rules of https://sqlite.org/datatype3.html section 3.1."""

    INTEGER = "INTEGER"
    TEXT = "TEXT"
    BLOB = "BLOB"
    REAL = "REAL"
    NUMERIC = "NUMERIC"

    @classmethod
    def of(cls, declared_type: str) -> Affinity:
        """Affinity that SQLite gives to a declared type; '' has BLOB affinity."""
        name = declared_type.upper()
        if "INT" in name:
            return cls.INTEGER
        if "CHAR" in name or "CLOB" in name or "TEXT" in name:
            return cls.TEXT
        if "BLOB" in name or not name:
            return cls.BLOB
        if "REAL" in name or "FLOA" in name or "DOUB" in name:
            return cls.REAL
        return cls.NUMERIC


class StorageClass(StrEnum):
    """What `typeof()` answers; RAW_TEXT is text of a UTF-16 file that is none there, but by chance is some in UTF-8."""

    NULL = "null"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    RAW_TEXT = "raw text"
    BLOB = "blob"


Generated = Literal["stored", "virtual"]

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)


def _folded(name: str) -> str:
    """As SQLite compares names: `É` and `é` are two."""
    return name.translate(_FOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as declared.

    `pk_ordinal` is 1-based within the primary key, 0 outside it. `default_sql` is the text of the
    default expression as `table_xinfo` gives it. `generated_sql` is the expression text, without parentheses.
    """

    name: str
    declared_type: str = ""
    not_null: bool = False
    default_sql: str | None = None
    pk_ordinal: int = 0
    collation: str = "BINARY"
    generated: Generated | None = None
    generated_sql: str | None = None

    @property
    def affinity(self) -> Affinity:
        """The affinity of the declared type."""
        return Affinity.of(self.declared_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key; `parent_columns` is resolved: empty where the parent, its key or one of the columns is missing."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_update: str = "NO ACTION"
    on_delete: str = "NO ACTION"
    deferred: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTerm:
    """One key term of an index: a column or an expression, exactly one of them set."""

    column: str | None = None
    expression_sql: str | None = None
    descending: bool = False
    collation: str = "BINARY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index. `origin` is SQLite's: c = CREATE INDEX, u = UNIQUE constraint, pk = PRIMARY KEY.

    `constraint_name` is the name that the UNIQUE constraint was given.
    """

    name: str
    unique: bool
    origin: Literal["c", "u", "pk"]
    terms: tuple[IndexTerm, ...]
    where_sql: str | None = None
    sql: str | None = None
    constraint_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A CHECK constraint, of a table or a column; `sql` is the text between the parentheses."""

    sql: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One ordinary table.

    `rowid_alias` is the column that is the rowid (INTEGER PRIMARY KEY), or None. `primary_key` holds
    the declared key in key order, empty when none was declared. `sequence` is the table's row in
    `sqlite_sequence`, or None.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    primary_key_name: str | None = None
    rowid_alias: str | None = None
    without_rowid: bool = False
    strict: bool = False
    autoincrement: bool = False
    sequence: int | None = None
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[Index, ...] = ()
    checks: tuple[Check, ...] = ()
    sql: str = ""

    def column(self, name: str) -> Column:
        """The column called `name`, ASCII case-insensitively as SQLite matches names.

        Raises:
            KeyError: no such column.
        """
        for column in self.columns:
            if _folded(column.name) == _folded(name):
                return column
        raise KeyError(f"{self.name}.{name}")


ObjectKind = Literal["view", "trigger", "virtual table", "shadow table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherObject:
    """An object that is not an ordinary table; `table` is what a trigger or shadow belongs to."""

    kind: ObjectKind
    name: str
    sql: str = ""
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSchema:
    """All of one SQLite file's schema. `encoding` is UTF-8, UTF-16le or UTF-16be."""

    tables: tuple[Table, ...]
    others: tuple[OtherObject, ...] = ()
    encoding: str = "UTF-8"
    user_version: int = 0
    application_id: int = 0
    sql_text: tuple[tuple[str, str, str], ...] = field(default=(), repr=False)
    """(type, name, sql) of every row of sqlite_schema, ordered; the drift comparison of two moments."""

    def table(self, name: str) -> Table:
        """The table called `name`, ASCII case-insensitively.

        Raises:
            KeyError: no such table.
        """
        for table in self.tables:
            if _folded(table.name) == _folded(name):
                return table
        raise KeyError(name)
