"""Reads the schema of a SQLite file into the model both sides share.

Pragmas are the authority; the parsed DDL adds what they hide. Where both know a fact they must agree, or the
schema is refused: a misread constraint would be lost in silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import apsw

from nasmigrate.core.errors import SchemaError, SourceCorrupt, SourceEmpty
from nasmigrate.schema.model import (
    BUILT_IN_COLLATIONS,
    Column,
    ForeignKey,
    Generated,
    Index,
    IndexTerm,
    OtherObject,
    SourceSchema,
    Table,
)
from nasmigrate.sqlite.ddl import ParsedColumn, ParsedTable, parse_create_index, parse_create_table
from nasmigrate.sqlite.open import mapped_errors, touch
from nasmigrate.sqlite.quoting import fold_ascii, quote_ident
from nasmigrate.sqlite.schema_text import schema_text
from nasmigrate.sqlite.stand_ins import with_any_order

_GENERATED: Mapping[int, Generated] = {2: "virtual", 3: "stored"}


def inspect(connection: apsw.Connection) -> SourceSchema:
    """The schema of the main database of `connection`, read in one transaction.

    Raises:
        SourceEmpty: there is no ordinary table.
        SchemaError: the DDL of an object cannot be read, or contradicts the pragmas.
        SourceError: or one of its kinds, when SQLite fails.
    """
    # One savepoint = one moment, beside any writer.
    with mapped_errors(Path(connection.filename), "read the schema"), connection:
        touch(connection)
        schema = _Inspector(connection).read()
    return schema  # noqa: RET504 - apsw's __exit__ is typed to swallow errors, which it does not do


@dataclass(frozen=True, slots=True)
class _XInfo:
    """A row of `table_xinfo`, in its order."""

    cid: int
    name: str
    type: str
    not_null: int
    default: str | None
    pk: int
    hidden: int


@dataclass(frozen=True, slots=True)
class _Reference:
    """A foreign key as `foreign_key_list` gives it; columns of the parent may be unnamed."""

    parent: str
    columns: tuple[str, ...]
    parent_columns: tuple[str | None, ...]
    on_update: str
    on_delete: str


class _Inspector:
    """Reads one connection's schema; holds what several tables need."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.kinds: dict[str, tuple[str, bool, bool]] = {
            name: (kind, bool(without_rowid), bool(strict))
            for name, kind, without_rowid, strict in self.rows(
                "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
            )
        }
        self.sql: dict[tuple[str, str], str] = {}
        self.triggers: list[OtherObject] = []
        for kind, name, table, sql in self.rows("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema"):
            self.sql[kind, name] = sql
            if kind == "trigger":
                self.triggers.append(OtherObject(kind="trigger", name=name, sql=sql, table=table))
        self.xinfo: dict[str, tuple[_XInfo, ...]] = {}
        self.has_sequences = ("table", "sqlite_sequence") in self.sql

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(sql, values))

    def definition(self, kind: str, name: str) -> str:
        """The DDL of an object.

        Raises:
            SourceCorrupt: SQLite knows the object by its DDL, but its row of `sqlite_schema` has another name.
        """
        sql = self.sql.get((kind, name))
        if sql is None:
            raise SourceCorrupt(
                f"{self.connection.filename}: sqlite_schema has no row for the {kind} {name!r}",
                hint="its row says otherwise than its own DDL: restore the file from a backup",
            )
        return sql

    def read(self) -> SourceSchema:
        names = sorted(name for name, (kind, _, _) in self.kinds.items() if kind == "table" and not _internal(name))
        if not names:
            raise SourceEmpty(
                f"{self.connection.filename}: the database has no tables",
                hint="check the path; migrating nothing is never a success",
            )
        for name in names:
            self.xinfo[name] = tuple(
                _XInfo(*row)
                for row in self.rows(
                    'SELECT cid, name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?, ?)',
                    name,
                    "main",
                )
            )
        return SourceSchema(
            tables=tuple(self.table(name) for name in names),
            others=self.others(),
            encoding=str(self.connection.pragma("encoding")),
            user_version=int(self.connection.pragma("user_version")),
            application_id=int(self.connection.pragma("application_id")),
            sql_text=schema_text(self.connection),
        )

    def others(self) -> tuple[OtherObject, ...]:
        virtual = [name for name, (kind, _, _) in self.kinds.items() if kind == "virtual"]
        found = list(self.triggers)
        for name, (kind, _, _) in self.kinds.items():
            if kind == "view":
                found.append(OtherObject(kind="view", name=name, sql=self.definition("view", name)))
            elif kind == "virtual":
                found.append(OtherObject(kind="virtual table", name=name, sql=self.definition("table", name)))
            elif kind == "shadow":
                # A shadow is called <virtual table>_<suffix>; of two that fit, the longer one is its own.
                owners = [owner for owner in virtual if fold_ascii(name).startswith(fold_ascii(owner) + "_")]
                owner = max(owners, key=len, default=None)
                found.append(
                    OtherObject(kind="shadow table", name=name, sql=self.sql.get(("table", name), ""), table=owner)
                )
        return tuple(sorted(found, key=lambda other: (other.kind, other.name)))

    def table(self, name: str) -> Table:
        _, without_rowid, strict = self.kinds[name]
        sql = self.definition("table", name)
        info = self.xinfo[name]
        parsed = parse_create_table(sql)
        if (parsed.strict, parsed.without_rowid) != (strict, without_rowid):
            _contradiction(name, "its table options")
        if [column.name for column in parsed.columns] != [row.name for row in info]:
            _contradiction(name, "its column names")
        pairs = list(zip(info, parsed.columns, strict=True))
        columns = tuple(self.column(name, row, from_ddl) for row, from_ddl in pairs)
        indexes = self.indexes(name, parsed)
        key = self.primary_key(name)
        # INTEGER PRIMARY KEY is the rowid itself and so the one kind of key that has no index of its own.
        is_alias = len(key) == 1 and not without_rowid and all(index.origin != "pk" for index in indexes)
        autoincrement = any(self.connection.column_metadata("main", name, row.name)[4] for row in info)
        if autoincrement != parsed.autoincrement:
            _contradiction(name, "AUTOINCREMENT")
        return Table(
            name=name,
            columns=columns,
            primary_key=key,
            primary_key_name=parsed.primary_key_name,
            rowid_alias=key[0] if is_alias else None,
            without_rowid=without_rowid,
            strict=strict,
            autoincrement=autoincrement,
            sequence=self.sequence(name),
            foreign_keys=self.foreign_keys(name, parsed),
            indexes=indexes,
            checks=tuple(check for column in parsed.columns for check in column.checks) + parsed.checks,
            sql=sql,
        )

    def column(self, table: str, row: _XInfo, parsed: ParsedColumn) -> Column:
        generated = _GENERATED.get(row.hidden)
        collation = _collation(self.connection.column_metadata("main", table, row.name)[1])
        if generated != parsed.generated:
            _contradiction(table, f"whether column {row.name!r} is generated")
        if collation != _collation(parsed.collation or "BINARY"):
            _contradiction(table, f"the collation of column {row.name!r}")
        if generated is None and row.default != parsed.default_sql:
            _contradiction(table, f"the default of column {row.name!r}")
        # A primary key may add NOT NULL (WITHOUT ROWID); nothing takes it away.
        if parsed.not_null and not row.not_null:
            _contradiction(table, f"NOT NULL of column {row.name!r}")
        return Column(
            name=row.name,
            declared_type=row.type,
            not_null=bool(row.not_null),
            default_sql=row.default,
            pk_ordinal=row.pk,
            collation=collation,
            generated=generated,
            generated_sql=parsed.generated_sql,
        )

    def primary_key(self, table: str) -> tuple[str, ...]:
        return tuple(row.name for row in sorted(self.xinfo[table], key=lambda row: row.pk) if row.pk)

    def sequence(self, table: str) -> int | None:
        if not self.has_sequences:
            return None
        # The table is writable by anyone: rows may be doubled, or hold no integer.
        sql = "SELECT max(seq) FROM sqlite_sequence WHERE name = ? AND typeof(seq) = 'integer'"
        [(value,)] = self.rows(sql, table)
        return None if value is None else int(value)

    def indexes(self, table: str, parsed: ParsedTable) -> tuple[Index, ...]:
        uniques = {tuple(_folded(unique.columns)): unique.name for unique in reversed(parsed.uniques) if unique.name}
        found = [
            self.index(table, name, bool(unique), origin, bool(partial))
            for name, unique, origin, partial in self.rows(
                'SELECT name, "unique", origin, partial FROM pragma_index_list(?, ?)', table, "main"
            )
        ]
        named = (
            replace(index, constraint_name=uniques.get(tuple(_folded([term.column or "" for term in index.terms]))))
            if index.origin == "u"
            else index
            for index in found
        )
        return tuple(sorted(named, key=lambda index: index.name))

    def index(self, table: str, name: str, unique: bool, origin: Literal["c", "u", "pk"], partial: bool) -> Index:
        sql = self.sql.get(("index", name), "")  # the key of a WITHOUT ROWID table is listed, but stored nowhere
        rows = self.rows(
            'SELECT cid, name, "desc", coll FROM pragma_index_xinfo(?, ?) WHERE key = 1 ORDER BY seqno', name, "main"
        )
        # Only the DDL has the text of expressions and of WHERE.
        parsed = parse_create_index(sql) if partial or any(cid < 0 for cid, _, _, _ in rows) else None
        if parsed is not None and (
            [bool(desc) for _, _, desc, _ in rows] != [term.descending for term in parsed.terms]
            or partial != (parsed.where_sql is not None)
        ):
            _contradiction(table, f"index {name!r}")
        terms = []
        for number, (_, column, descending, collation) in enumerate(rows):
            expression = parsed.terms[number].sql if column is None and parsed is not None else None
            terms.append(
                IndexTerm(
                    column=column,
                    expression_sql=expression,
                    descending=bool(descending),
                    collation=_collation(collation),
                )
            )
        return Index(
            name=name,
            unique=unique,
            origin=origin,
            terms=tuple(terms),
            where_sql=parsed.where_sql if parsed is not None else None,
            sql=sql or None,
        )

    def references(self, table: str) -> list[_Reference]:
        """Foreign keys in the order of the DDL; the pragma counts them backwards."""
        by_id: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for row in self.rows(
            'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?, ?)'
            " ORDER BY id, seq",
            table,
            "main",
        ):
            by_id[row[0]].append(row)
        return [
            _Reference(
                parent=rows[0][1],
                columns=tuple(row[2] for row in rows),
                parent_columns=tuple(row[3] for row in rows),
                on_update=rows[0][4],
                on_delete=rows[0][5],
            )
            for _, rows in sorted(by_id.items(), reverse=True)
        ]

    def foreign_keys(self, table: str, parsed: ParsedTable) -> tuple[ForeignKey, ...]:
        references = self.references(table)
        if len(references) != len(parsed.foreign_keys):
            _contradiction(table, "the number of its foreign keys")
        keys = []
        for reference, from_ddl in zip(references, parsed.foreign_keys, strict=True):
            if _folded(reference.columns) != _folded(from_ddl.columns) or reference.parent != from_ddl.parent:
                _contradiction(table, f"a foreign key to {reference.parent!r}")
            parent = self.find(reference.parent)
            keys.append(
                ForeignKey(
                    columns=reference.columns,
                    parent=parent or reference.parent,
                    parent_columns=self.parent_columns(parent, reference.parent_columns),
                    on_update=reference.on_update,
                    on_delete=reference.on_delete,
                    deferred=from_ddl.deferred,
                    name=from_ddl.name,
                )
            )
        return tuple(keys)

    def find(self, table: str) -> str | None:
        """The ordinary table called so, as it is spelled itself."""
        return next((name for name in self.xinfo if fold_ascii(name) == fold_ascii(table)), None)

    def parent_columns(self, parent: str | None, named: Sequence[str | None]) -> tuple[str, ...]:
        """The columns a foreign key points at, () when the parent or one of them is missing, or no key stands for them.

        SQLite takes a key to a column that is not there, or to `rowid`, and refuses it when it is used.
        """
        if parent is None:
            return ()
        if None in named:
            return self.primary_key(parent)
        spelled = {fold_ascii(row.name): row.name for row in self.xinfo[parent]}
        folded = [fold_ascii(name) for name in cast("Sequence[str]", named)]
        return tuple(spelled[name] for name in folded) if spelled.keys() >= set(folded) else ()


def _internal(name: str) -> bool:
    return fold_ascii(name).startswith("SQLITE_")


def _collation(name: str) -> str:
    """The built-in collations in one spelling; others as written."""
    return fold_ascii(name) if fold_ascii(name) in BUILT_IN_COLLATIONS else name


def _folded(names: Sequence[str]) -> list[str]:
    return [fold_ascii(name) for name in names]


def _contradiction(table: str, what: str) -> NoReturn:
    raise SchemaError(
        f"table {table!r}: its DDL and SQLite's pragmas disagree on {what}",
        hint="please report this DDL; nothing was changed",
    )


def count_rows(connection: apsw.Connection, table: str) -> int:
    """`count(*)`, the source's own count, independent of the reader."""
    sql = f"SELECT count(*) FROM main.{quote_ident(table)}"  # noqa: S608 - quoted name only
    # SQLite counts by the smallest index: it has to know its collation, but compares nothing by it.
    value = with_any_order(connection, lambda: connection.execute(sql).fetchone())
    assert value is not None  # noqa: S101 - an aggregate always has a row
    return int(value[0])
