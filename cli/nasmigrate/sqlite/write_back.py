"""Writes decoded rows into a new SQLite file that has the source's own tables.

The file is scratch: it is compared with the snapshot and thrown away, so nothing is synced. Affinities, collations
and generated columns are the source's because its own CREATE TABLE text is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import apsw

from nasmigrate.core.errors import SourceError
from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.bind import Binder
from nasmigrate.sqlite.open import mapped_errors
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.stand_ins import missing_function, with_stand_ins

# What a CREATE TABLE of the file's own text may do, and nothing else: the text comes from a stranger's file.
_DDL_ACTIONS = frozenset(
    {
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_READ,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_SELECT,
        apsw.SQLITE_UPDATE,
    }
)


class RowRefused(SourceError):
    """SQLite's own constraints refuse a row that Postgres holds; the source cannot have held it."""

    code = "NM0710"


class SqliteWriter:
    """A new SQLite file, mode 0600, written table by table. A context manager: leaving it closes the file.

    Args:
        path: must not exist.
        encoding: the source's: UTF-8, UTF-16le or UTF-16be. Files of different encodings cannot be compared.
        schema: gives the CREATE TABLE texts.

    Raises:
        FileExistsError: there is something at `path`.
    """

    def __init__(self, path: Path, *, encoding: str, schema: SourceSchema) -> None:
        self._path = path
        self._schema = schema
        self._binder = Binder(encoding)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        # Old files hold DEFAULT "x" with the double quotes meaning a string.
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)
        self._connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
        self._connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # The journal is in memory, not off: without one a table that was refused could not be rolled back.
        # Pages beyond the end of the file are never journaled, so filling new tables costs nothing.
        self._connection.execute(
            f"PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;"
        ).fetchall()

    def __enter__(self) -> SqliteWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._connection.close()

    def insert(self, table: PlanTable, rows: Iterable[Sequence[SqliteValue]]) -> int:
        """Create one table and fill it, in one transaction; how many rows were written.

        Values stand in plan order; those of generated columns are left out, SQLite computes them.

        Raises:
            RowRefused: a constraint of the source's table does not hold; the table is not in the file then.
            SourceError: the CREATE TABLE text cannot be run, or the disk is full.
            KeyError: the source has no such table.
        """
        kept = [i for i, column in enumerate(table.columns) if column.generated is None]
        names = [quote_ident(table.columns[i].name) for i in kept]
        # OR ABORT: a clause like UNIQUE ON CONFLICT REPLACE in the table would make a duplicate row vanish.
        head = f"INSERT OR ABORT INTO {quote_ident(table.name)} ({', '.join(names)}) VALUES "  # noqa: S608
        plain = f"{head}({', '.join('?' * len(kept))})"
        written = 0

        def bindable() -> Iterator[Sequence[SqliteValue]]:
            # One row at a time: rows may be 100 MB each, so none is held back to make a batch.
            nonlocal written
            for row in rows if len(kept) == len(table.columns) else _picked(rows, kept):
                if self._binder.needs_cast(row):
                    marks, values = self._binder.bind(row)
                    self._connection.execute(f"{head}({', '.join(marks)})", values)
                else:
                    yield row
                written += 1

        with mapped_errors(self._path, "write"):
            try:
                with self._connection:
                    self._create(table.name)
                    self._connection.executemany(plain, bindable())
            except (apsw.ConstraintError, apsw.MismatchError) as error:
                raise RowRefused(
                    f"table {table.name}: SQLite refuses a row that Postgres holds: {error}",
                    hint="the target holds a row that the source's own constraints forbid; compare it with the source",
                    details={"table": table.name, "rows_before": written},
                ) from error
            except apsw.SQLError as error:
                function = missing_function(error)
                if function is None:
                    raise
                raise SourceError(
                    f"table {table.name}: a generated column calls {function}(), which only the application has: its"
                    " values can neither be proven nor brought home",
                    hint="keep what it computes in an ordinary column",
                    details={"table": table.name},
                    code="NM0711",
                ) from error
        return written

    def _create(self, name: str) -> None:
        """Run the source's text. Keys that are part of it get their indexes; CREATE INDEX is not run.

        Raises:
            SourceError: SQLite does not accept it, or it does more than create a table.
        """
        text = self._schema.table(name).sql
        self._connection.authorizer = allow_ddl
        try:
            # A CHECK may call functions of the application's; CHECKs are ignored here, so it is never evaluated.
            with_stand_ins(self._connection, lambda: self._connection.execute(text))
        except apsw.Error as error:
            raise SourceError(
                f"table {name}: its CREATE TABLE text cannot be run in a new file: {error}",
                details={"table": name},
            ) from error
        finally:
            self._connection.authorizer = None


def _picked(rows: Iterable[Sequence[SqliteValue]], kept: Sequence[int]) -> Iterator[Sequence[SqliteValue]]:
    for row in rows:
        yield [row[i] for i in kept]


def allow_ddl(action: int, *_: str | None) -> int:
    """An authorizer for CREATE TABLE texts out of a file, and for what SQLite itself does to run them."""
    return apsw.SQLITE_OK if action in _DDL_ACTIONS else apsw.SQLITE_DENY
