"""Applies changes to the live SQLite file, inside the caller's transaction, and proves that nothing else was moved.

Neither triggers nor foreign keys act, a conflict never makes a row vanish (OR ABORT), a row keeps its rowid, and a
column that did not change keeps its bytes. Rows whose unique values change are taken out and put in again, so that two
of them may swap. Afterwards SQLite's own count of this connection's changes must be the planned one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import apsw

from nasmigrate.core.errors import StateError, TransferError
from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.home import HomeChanges, Spool, Update, Values
from nasmigrate.schema.model import SourceSchema, Table
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.bind import Binder
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.read import Selection
from nasmigrate.sqlite.stand_ins import without_opaque_checks
from nasmigrate.sqlite.write_back import RowRefused

_ROWIDS = ("rowid", "_rowid_", "oid")


def prepare(connection: apsw.Connection) -> None:
    """Switch off foreign keys and triggers; before BEGIN, inside a transaction SQLite ignores the former."""
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    # Old files hold "x" with the double quotes meaning a string.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)


def place_of(table: Table, key: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The columns that locate a row, and the word for the rowid when that is it.

    Args:
        table: of the source.
        key: the plan's key, empty when there is none.
    """
    if key:
        return tuple(key), None
    if table.without_rowid:
        return table.primary_key, None
    taken = {column.name.lower() for column in table.columns}
    word = next((word for word in _ROWIDS if word not in taken), None)
    if word is None:
        raise TransferError(
            f"{table.name}: no word for the rowid is left, columns are called {', '.join(_ROWIDS)}",
            hint="give the table a primary key",
            code="NM0908",
        )
    return (word,), word


def apply_home(connection: apsw.Connection, schema: SourceSchema, plan: Plan, changes: Sequence[HomeChanges]) -> None:
    """Make the changed tables equal to what `changes` want; the caller commits.

    Args:
        connection: prepared (`prepare`), in a transaction that may write.
        schema: of the file: unique indexes and encoding.
        plan: which columns hold text with invalid bytes.
        changes: at most one per table.

    Raises:
        StateError: foreign keys or triggers are on, or no transaction was begun.
        RowRefused: a constraint of the file refuses a row.
        TransferError: SQLite counted other changes than planned. The transaction must be rolled back.
    """
    _check_connection(connection)
    for change in changes:
        _Applier(connection, schema, plan, change).run()


def _check_connection(connection: apsw.Connection) -> None:
    if not connection.in_transaction:
        raise StateError("rows come home inside a transaction that was begun before", code="NM1110")
    if connection.pragma("foreign_keys") or connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, -1):
        raise StateError("foreign keys or triggers would act while rows come home", code="NM1111")


class _Applier:
    """One table's changes."""

    def __init__(self, connection: apsw.Connection, schema: SourceSchema, plan: Plan, change: HomeChanges) -> None:
        self._connection = connection
        self._change = change
        self._table = schema.table(change.table)
        self._binder = Binder(schema.encoding)
        self._name = f"main.{quote_ident(self._table.name)}"
        unique = _unique_columns(self._table)
        self._unique = None if unique is None else {i for i, name in enumerate(change.columns) if name in unique}
        columns = {column.name: column for column in self._table.columns}
        self._collated = [
            index
            for index, name in enumerate(change.place)
            if name != change.rowid and columns[name].collation != "BINARY"
        ]
        self._keeps_rowid = not self._table.without_rowid and self._table.rowid_alias is None
        raw_text = frozenset(column.name for column in plan.table(change.table).columns if column.raw_text)
        word = place_of(self._table, ())[1] if self._keeps_rowid else None
        self._whole = Selection(
            table=self._table.name,
            columns=(*((word,) if word else ()), *change.columns),
            raw_text=raw_text & set(change.columns),
            encoding=schema.encoding,
            rowid=word,
        )

    def run(self) -> None:
        """Delete, take out, update, put in, insert; then count."""
        change = self._change
        before = self._connection.total_changes()
        taken_out: Spool[Values] = Spool()
        try:
            with self._refusals(), without_opaque_checks(self._connection, self._table.name):
                for place in change.deleted:
                    self._delete(place)
                for update in change.updated:
                    if self._is_swap(update):
                        taken_out.add(self._take_out(update))
                for update in change.updated:
                    if not self._is_swap(update):
                        self._update(update)
                self._insert(self._whole.columns, taken_out)
                self._insert(change.columns, change.inserted)
        finally:
            taken_out.close()
        planned = change.counts.total + taken_out.count
        self._require(planned, self._connection.total_changes() - before)

    def _word(self, name: str) -> str:
        """A column of `place` in SQL; the rowid's word stands bare."""
        return name if name == self._change.rowid else quote_ident(name)

    def _is_swap(self, update: Update) -> bool:
        return self._unique is None or not self._unique.isdisjoint(update.columns)

    def _delete(self, place: Values) -> None:
        marks, bound = self._binder.bind((*place, *self._exact(place)))
        self._one(f"DELETE FROM {self._name} WHERE {self._located(marks)}", bound)  # noqa: S608

    def _take_out(self, update: Update) -> Values:
        """Delete the row and give it back as it shall be, its rowid first."""
        marks, bound = self._binder.bind((*update.place, *self._exact(update.place)))
        row = self._whole.one(self._connection, self._located(marks), bound)
        if row is None:
            raise TransferError(f"{self._change.table}: a row to be updated is not there", code="NM0904")
        values = list(row)
        shift = len(self._whole.columns) - len(self._change.columns)
        for column, value in zip(update.columns, update.values, strict=True):
            values[column + shift] = value
        self._delete(update.place)
        return tuple(values)

    def _exact(self, place: Values) -> Values:
        """The values of `place` that stand in columns of another collation than BINARY."""
        return tuple(place[index] for index in self._collated)

    def _located(self, marks: Sequence[str]) -> str:
        """The condition for the row at a place; its marks are those of the place, then those of `_exact`.

        By a column's own collation 'a' and 'A' may be one, though a unique index by BINARY lets both be there. That
        comparison stays in the condition beside the exact one: the column's index may serve it alone.
        """
        names = [self._word(name) for name in self._change.place]
        terms = [f"{name} = {mark}" for name, mark in zip(names, marks, strict=False)]
        exact = zip(self._collated, marks[len(names) :], strict=True)
        terms += [f"{names[index]} COLLATE BINARY = {mark}" for index, mark in exact]
        return " AND ".join(terms)

    def _update(self, update: Update) -> None:
        marks, bound = self._binder.bind((*update.values, *update.place, *self._exact(update.place)))
        count = len(update.columns)
        sets = ", ".join(
            f"{quote_ident(self._change.columns[column])} = {mark}"
            for column, mark in zip(update.columns, marks[:count], strict=True)
        )
        sql = f"UPDATE OR ABORT {self._name} SET {sets} WHERE {self._located(marks[count:])}"  # noqa: S608
        self._one(sql, bound)

    def _one(self, sql: str, bound: Sequence[SqliteValue]) -> None:
        """Run a statement that must move one row, whatever the sum of all may be."""
        before = self._connection.total_changes()
        self._connection.execute(sql, bound)
        self._require(1, self._connection.total_changes() - before)

    def _require(self, planned: int, counted: int) -> None:
        if counted != planned:
            raise TransferError(
                f"{self._change.table}: {planned} changes were planned, SQLite counted {counted}",
                hint="the file is not as it was when it was compared; nothing was kept",
                details={"table": self._change.table, "planned": planned, "counted": counted},
                code="NM0904",
            )

    def _insert(self, columns: Sequence[str], rows: Iterable[Values]) -> None:
        names = ", ".join(name if name == self._whole.rowid else quote_ident(name) for name in columns)
        head = f"INSERT OR ABORT INTO {self._name} ({names}) VALUES "  # noqa: S608 - quoted names only
        for row in rows:
            marks, bound = self._binder.bind(row)
            self._connection.execute(f"{head}({', '.join(marks)})", bound)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (apsw.ConstraintError, apsw.MismatchError) as error:
            raise RowRefused(
                f"table {self._change.table}: SQLite refuses a row that Postgres holds: {error}",
                hint="the target holds a row that the source's own constraints forbid: mend it there",
                details={"table": self._change.table},
            ) from error


def _unique_columns(table: Table) -> frozenset[str] | None:
    """Columns that stand in a unique index; None when one has an expression or a condition, so that any may."""
    names: set[str] = set(table.primary_key)
    for index in table.indexes:
        if not index.unique:
            continue
        if index.where_sql is not None or any(term.column is None for term in index.terms):
            return None
        names.update(table.column(term.column).name for term in index.terms if term.column)
    return frozenset(names)
