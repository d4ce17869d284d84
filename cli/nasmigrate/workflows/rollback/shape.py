"""R0: whether Postgres still has the shape it was opened with, and what SQLite has no place for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from nasmigrate.core.errors import TransferError
from nasmigrate.postgres.catalogue import catalogue_facts
from nasmigrate.postgres.copy_out import SCHEMA
from nasmigrate.schema.plan import Plan

LEFT_BEHIND = "left-behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTable:
    """A table that came after the cutover; `inherits` from tables, `grant` is what the operator lacks to keep it."""

    schema: str
    name: str
    inherits: tuple[str, ...] = ()
    grant: str | None = None

    def __str__(self) -> str:
        return self.name if self.schema == SCHEMA else f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What changed since the opening.

    `tables` and `columns` (table, column) are new, so that SQLite has no place for them; `broken` are changes with
    which nothing can come home: a table or column that is gone, or has another type.
    """

    tables: tuple[NewTable, ...]
    columns: tuple[tuple[str, str], ...]
    broken: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it in words."""
        return (
            *self.broken,
            *map(_words, self.tables),
            *(f"column {table}.{column} came after the cutover" for table, column in self.columns),
        )

    @property
    def blocking(self) -> bool:
        """Whether nothing can come home, or something can not even be left behind."""
        return bool(self.broken) or any(table.grant for table in self.tables)

    @property
    def hint(self) -> str:
        """What the operator can do."""
        if self.broken:
            return "put these tables back as they were"
        if self.blocking:
            return "let the owner of these tables, or a superuser, run what is named; then start again"
        return "rollback --leave-behind writes them to files"


def drift_since(connection: psycopg.Connection, plan: Plan, recorded: Mapping[str, str]) -> Drift:
    """Compare the catalogue with the one recorded before the opening. Indexes and defaults may have changed.

    Args:
        connection: to the target; a transaction is left open.
        plan: the tables that were copied.
        recorded: `catalogue_facts` of that time.
    """
    now = catalogue_facts(connection, plan.relations)
    broken = [
        f"{key} is {_type(now[key])}, it was {_type(recorded[key])}" if key in now else f"{key} is gone"
        for key in recorded
        if key.startswith("column ") and _type(recorded[key]) != _type(now.get(key, ""))
    ]
    broken += [f"{key} is gone" for key in recorded if key.startswith("table ") and key not in now]
    return Drift(tables=_new_tables(connection, plan), columns=_new_columns(connection, plan), broken=tuple(broken))


def require_nothing_newer(connection: psycopg.Connection, plan: Plan, drift: Drift) -> None:
    """See, with the tables locked, that what `drift` names is all that is new: only that is locked and kept.

    Raises:
        TransferError: more came since.
    """
    newer = [str(table) for table in _new_tables(connection, plan) if table not in drift.tables]
    newer += [
        f"{table}.{column}" for table, column in _new_columns(connection, plan) if (table, column) not in drift.columns
    ]
    if newer:
        raise TransferError(f"{', '.join(newer)} came while rows were brought home", hint="start again")


def leave_behind(connection: psycopg.Connection, plan: Plan, drift: Drift, folder: Path) -> tuple[Path, ...]:
    """Write what came after the cutover to CSV files (0600): new tables whole, new columns with their rows' keys.

    Args:
        connection: sees the rows as they come home.
        plan: gives the keys.
        drift: what is new.
        folder: is made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    files: list[Path] = []
    for new in drift.tables:
        everything = sql.SQL("SELECT * FROM {}").format(new.identifier)
        files.append(_csv(connection, everything, _unused(folder, _file_name(str(new)), ".csv", files)))
    by_table: dict[str, list[str]] = {}
    for table, column in drift.columns:
        by_table.setdefault(table, []).append(column)
    for table, columns in by_table.items():
        planned = next(known for known in plan.tables if known.target == table)
        key = [planned.column(name).target for name in planned.key] or [column.target for column in planned.columns]
        some = sql.SQL("SELECT {} FROM ONLY {}").format(
            sql.SQL(", ").join(map(sql.Identifier, [*key, *columns])), sql.Identifier(SCHEMA, table)
        )
        files.append(_csv(connection, some, _unused(folder, _file_name(table), ".new-columns.csv", files)))
    return tuple(files)


def _type(fact: str) -> str:
    """A column's fact without its default."""
    return fact.partition(" default ")[0]


_NEW_TABLES = """
SELECT n.nspname::text, c.relname::text,
       ARRAY(SELECT i.inhparent::regclass::text FROM pg_inherits i WHERE i.inhrelid = c.oid ORDER BY 1),
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
       AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE') AND NOT row_security_active(c.oid),
       format('GRANT USAGE ON SCHEMA %%I TO %%I; GRANT SELECT, UPDATE ON TABLE %%I.%%I TO %%I',
              n.nspname, current_user, n.nspname, c.relname, current_user)
       || CASE WHEN row_security_active(c.oid)
               THEN format('; ALTER TABLE %%I.%%I DISABLE ROW LEVEL SECURITY', n.nspname, c.relname) ELSE '' END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
  AND n.nspname NOT IN ('nasmigrate', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%%'
  AND NOT (n.nspname = %s AND c.relname = ANY (%s))
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
"""A target is empty before its first cutover, so a table in any schema came later. The lock needs more than SELECT;
partitions are locked and read with their parent, and row security would leave rows out without a word."""


def _new_tables(connection: psycopg.Connection, plan: Plan) -> tuple[NewTable, ...]:
    known = [table.target for table in plan.tables]
    rows = connection.execute(_NEW_TABLES.encode(), (SCHEMA, known)).fetchall()
    return tuple(
        NewTable(schema=schema, name=name, inherits=tuple(parents), grant=None if allowed else grant)
        for schema, name, parents, allowed, grant in rows
    )


def _new_columns(connection: psycopg.Connection, plan: Plan) -> tuple[tuple[str, str], ...]:
    known = {table.target: {column.target for column in table.columns} for table in plan.tables}
    rows = connection.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0"
        " AND NOT a.attisdropped ORDER BY 1, a.attnum"
    ).fetchall()
    return tuple((table, column) for table, column in rows if table in known and column not in known[table])


def _words(table: NewTable) -> str:
    heir = f" and inherits from {', '.join(table.inherits)}" if table.inherits else ""
    closed = f"; it cannot be locked and read without {table.grant}" if table.grant else ""
    return f"table {table} came after the cutover{heir}{closed}"


def _unused(folder: Path, name: str, suffix: str, taken: Sequence[Path]) -> Path:
    """A file that no other table has: two names may look alike once they are plain."""
    number, file = 1, folder / f"{name}{suffix}"
    while file in taken:
        number += 1
        file = folder / f"{name}-{number}{suffix}"
    return file


def _csv(connection: psycopg.Connection, query: sql.Composed, file: Path) -> Path:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER true)").format(query)
    with os.fdopen(descriptor, "wb") as stream, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    return file


def _file_name(table: str) -> str:
    """A plain file name; names in Postgres may hold anything."""
    return "".join(character if character.isalnum() or character in "_-" else "_" for character in table)[:100] or "_"
