"""The fence: triggers that refuse every write to the source, and one row that says for whom it stands.

It is one of the two authorities of a cutover; the control row in Postgres is the other. Its triggers and its row come
and go in one transaction each.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Final

import apsw

from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.schema_text import OURS
from nasmigrate.sqlite.stand_ins import need_of_stored_parts, nothing, with_stand_ins

FENCE_TABLE: Final = "_nasmigrate_fence"
MESSAGE: Final = "nasmigrate: this database has moved to PostgreSQL and takes no writes; see `nasmigrate status`"

_OPERATIONS: Final = ("INSERT", "UPDATE", "DELETE")
_FTS5: Final = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\b.*\bUSING\s+[\"'`\[]?fts5\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The fence row.

    `system_identifier` and `database_oid` name the Postgres database it stands for, `epoch` the control row's at the
    time. `file_mode` are the permission bits of the file before it was made read-only. `made_at` is UTC, ISO 8601.
    """

    run_id: str
    system_identifier: str
    database_oid: int
    epoch: int
    file_mode: int
    made_at: str

    def stands_for(self, system_identifier: str, database_oid: int) -> bool:
        """Whether it means that database."""
        return (self.system_identifier, self.database_oid) == (system_identifier, database_oid)

    def as_fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_fence(connection: apsw.Connection) -> Fence | None:
    """The fence row, or None where there is no fence.

    Raises:
        apsw.Error: SQLite failed.
    """
    there = connection.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (FENCE_TABLE,)
    ).fetchall()
    if not there:
        return None
    row = connection.execute(
        "SELECT run_id, system_identifier, database_oid, epoch, file_mode, made_at FROM _nasmigrate_fence LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return Fence(
        run_id=str(row[0]),
        system_identifier=str(row[1]),
        database_oid=int(row[2]),
        epoch=int(row[3]),
        file_mode=int(row[4]),
        made_at=str(row[5]),
    )


def fenced_tables(connection: apsw.Connection) -> tuple[str, ...]:
    """The tables that get triggers: all that hold rows, those behind virtual tables included, without SQLite's own.

    An FTS5 index refuses by its content and its sizes alone where it has them: with triggers on its index tables as
    well, a DELETE that fails half-way ends the process (seen with SQLite 3.40 to 3.54).
    """
    rows = connection.execute(
        "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    names = {str(name) for name, _ in rows if not str(name).startswith(OURS)}
    for name, sql in connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall():
        if _FTS5.match(str(sql or "")) and names & {f"{name}_content", f"{name}_docsize"}:
            names -= {f"{name}_data", f"{name}_idx"}
    return tuple(sorted(names))


def ways_home_closed(connection: apsw.Connection) -> tuple[tuple[str, str], ...]:
    """Tables that nobody but the application can write, each with a function or collation that only it has.

    An index or a generated column needs it. Such a table could be fenced, but no rollback could bring a row home.

    Raises:
        apsw.Error: SQLite failed.
    """
    found = ((table, need_of_stored_parts(connection, table)) for table in fenced_tables(connection))
    return tuple((table, need) for table, need in found if need is not None)


def make_fence(connection: apsw.Connection, fence: Fence) -> int:
    """Write fence and triggers into the open transaction; how many tables are fenced.

    Raises:
        apsw.Error: SQLite failed; the caller rolls back.
    """
    tables = fenced_tables(connection)
    for number, table in enumerate(tables):
        for operation in _OPERATIONS:
            name = quote_ident(f"{FENCE_TABLE}_{number}_{operation.lower()}")
            connection.execute(
                f"CREATE TRIGGER {name} BEFORE {operation} ON {quote_ident(table)}"
                f" BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
            ).fetchall()
    own = quote_ident(FENCE_TABLE)
    connection.execute(
        f"CREATE TABLE {own} (run_id TEXT NOT NULL, system_identifier TEXT NOT NULL, database_oid INTEGER NOT NULL,"
        " epoch INTEGER NOT NULL, file_mode INTEGER NOT NULL, made_at TEXT NOT NULL)"
    ).fetchall()
    connection.execute(
        f"INSERT INTO {own} VALUES (:run_id, :system_identifier, :database_oid, :epoch, :file_mode, :made_at)",  # noqa: S608
        fence.as_fields(),
    ).fetchall()
    return len(tables)


def stamp_fence(connection: apsw.Connection, fence: Fence) -> None:
    """Give the fence that is there another identity and epoch, in the open transaction."""
    connection.execute(
        f"UPDATE {quote_ident(FENCE_TABLE)} SET run_id = :run_id, system_identifier = :system_identifier,"  # noqa: S608
        " database_oid = :database_oid, epoch = :epoch",
        fence.as_fields(),
    ).fetchall()


def drop_fence(connection: apsw.Connection) -> None:
    """Drop the fence and every trigger of ours, in the open transaction."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?) = ?",
        (len(FENCE_TABLE), FENCE_TABLE),
    ).fetchall()
    for (name,) in names:
        connection.execute(f"DROP TRIGGER {quote_ident(str(name))}").fetchall()
    connection.execute(f"DROP TABLE {quote_ident(FENCE_TABLE)}").fetchall()


def tables_that_take_writes(connection: apsw.Connection) -> tuple[str, ...]:
    """Try to insert into every table of a fenced file; those that did not refuse. Nothing is kept.

    Raises:
        apsw.BusyError: the write lock could not be had.
        apsw.Error: SQLite failed.
    """
    taking = []
    connection.execute("BEGIN IMMEDIATE").fetchall()
    try:
        for table in fenced_tables(connection):
            try:
                _insert_anything(connection, table)
            except apsw.ConstraintError as error:
                if getattr(error, "extendedresult", None) == apsw.SQLITE_CONSTRAINT_TRIGGER and MESSAGE in str(error):
                    continue
            taking.append(table)
    finally:
        connection.execute("ROLLBACK").fetchall()
    return tuple(taking)


def _insert_anything(connection: apsw.Connection, table: str) -> None:
    """BEFORE triggers fire ahead of every constraint, so the row's content does not matter.

    SQLite prepares the CHECKs and the application's triggers first, which may call functions of the application's.
    """
    text = f"INSERT INTO {quote_ident(table)} DEFAULT VALUES"
    with_stand_ins(connection, lambda: connection.execute(text).fetchall(), nothing)
