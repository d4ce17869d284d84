"""Synthetic writes for a rehearsed cutover: `python -m nasmigrate.workflows.rehearsal_writer FILE STATEMENTS WRITTEN`.

An application of its own process writes to a copy of the source, table after table, until it is refused or killed. A
write exchanges the values of two rows in one column, so that a snapshot of any moment holds the values that the plan
was made of, and leads to the same plan; columns of keys, constraints and checks are left alone, and so are values of
more than `LARGEST` bytes, of which SQLite holds half a dozen at a time. Where that leaves nothing of a table, a row is
written as it is, unless a trigger would do more than that. Of what it wrote it notes the tables, one a line, in the
file WRITTEN: the comparison afterwards is of all rows.

The statements come as JSON: to read a plan, a process loads far more than it takes to write.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import chain, count, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from nasmigrate.sqlite.fence import MESSAGE
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.stand_ins import nothing, with_stand_ins

if TYPE_CHECKING:
    from nasmigrate.schema.model import SourceSchema, Table
    from nasmigrate.schema.plan import Plan, PlanTable

PAUSE: Final = 0.02
LARGEST: Final = 1024 * 1024
_BUSY: Final = 10_000


def writable_columns(table: PlanTable, source: Table) -> tuple[str, ...]:
    """Columns that may take any value another row has there, on either side; names as in SQLite.

    They are not generated and in no key, index or CHECK of the source: what Postgres was not given holds in SQLite all
    the same. A row that breaks a CHECK, which is NOT VALID, cannot be written on Postgres at all.
    """
    if any(check.not_valid for check in table.checks):
        return ()
    taken = {*table.key, *table.primary_key, *source.primary_key}
    for key in source.foreign_keys:
        taken |= {source.column(name).name for name in key.columns}
    for index in source.indexes:
        taken |= {source.column(term.column).name for term in index.terms if term.column is not None}
        for sql in (index.where_sql, *(term.expression_sql for term in index.terms)):
            taken |= _read_by(sql, source) if sql is not None else set()
    for check in source.checks:
        taken |= _read_by(check.sql, source)
    for _ in source.columns:  # as often as one generated column may be computed from another
        for column in source.columns:
            inputs = _read_by(column.generated_sql, source) if column.generated_sql is not None else frozenset()
            # Of one column, it has what another row has; of several, what no row has.
            if column.name in taken or len(inputs) > 1:
                taken |= inputs
    return tuple(
        column.name
        for column in table.columns
        if column.name not in taken and not column.identity and column.generated is None
    )


def _read_by(sql: str, source: Table) -> frozenset[str]:
    """The columns that an expression reads, all where none can be told."""
    from nasmigrate.schema.expressions import columns_of

    every = frozenset(column.name for column in source.columns)
    return columns_of(sql, every) or every


def statements(plan: Plan, schema: SourceSchema) -> list[tuple[str, str]]:
    """UPDATEs with the table that each writes to; `?1` and `?2` say how far down the two rows are.

    There is one per column that may be written, and each table has its first before any has its second.
    """
    return [found for found in chain(*zip_longest(*(_of_table(table, schema) for table in plan.tables))) if found]


def _of_table(table: PlanTable, schema: SourceSchema) -> list[tuple[str, str]]:
    if not table.without_rowid and any(column.name.lower() == "rowid" for column in table.columns):
        return []
    key = [quote_ident(column) for column in (table.primary_key if table.without_rowid else ("rowid",))]
    name = quote_ident(table.name)
    columns = writable_columns(table, schema.table(table.name))
    if columns:
        return [(table.name, _exchange(name, key, quote_ident(column))) for column in columns]
    triggers = {(other.table or "").lower() for other in schema.others if other.kind == "trigger"}
    if table.name.lower() in triggers:
        return []
    column = next(column.name for column in table.columns if column.generated is None)
    return [(table.name, _as_it_is(name, key, quote_ident(column)))]


def _as_it_is(table: str, key: Sequence[str], column: str) -> str:
    """The UPDATE that changes no value but takes its locks; the names are quoted."""
    terms = ", ".join(key)
    rows = " UNION ALL ".join(
        f"SELECT * FROM (SELECT {terms} FROM {table}"  # noqa: S608
        f" WHERE coalesce(octet_length({column}), 0) <= {LARGEST} LIMIT 1 OFFSET ?{row})"
        for row in (1, 2)
    )
    return f"UPDATE {table} SET {column} = {column} WHERE ({terms}) IN ({rows})"  # noqa: S608


def _exchange(table: str, key: Sequence[str], column: str) -> str:
    """The UPDATE for one column; the names are quoted. What it writes is known before it changes the first row."""
    names = [f"key_{place}" for place in range(len(key))]
    terms = ", ".join(f"{term} AS {name}" for term, name in zip(key, names, strict=True))
    short = f"WHERE coalesce(octet_length({column}), 0) <= {LARGEST}"
    one, other = (f"(SELECT {terms}, {column} AS value FROM {table} {short} LIMIT 1 OFFSET ?{row})" for row in (1, 2))  # noqa: S608
    keys = ", ".join(f"a.{name} AS {name}" for name in names)
    rows = " UNION ALL ".join(
        f"SELECT {keys}, b.value AS value FROM {a} AS a, {b} AS b"  # noqa: S608
        for a, b in ((one, other), (other, one))
    )
    here = " AND ".join(f"written.{term} = exchanged.{name}" for term, name in zip(key, names, strict=True))
    return f"UPDATE {table} AS written SET {column} = exchanged.value FROM ({rows}) AS exchanged WHERE {here}"  # noqa: S608


def write(path: Path, every: Sequence[tuple[str, str]], written: Path) -> None:
    """Run the statements in turn until the file refuses, or whoever started this is gone.

    Args:
        path: the file.
        every: tables, and what to run.
        written: gets the name of each table that was written to, as JSON, on a line of its own.
    """
    parent = os.getppid()
    noted: set[str] = set()
    with (
        closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection,
        written.open("a", encoding="utf-8") as notes,
    ):
        connection.set_busy_timeout(_BUSY)
        # Opens the -wal, also where there is no column to write to.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        for number in count():
            if os.getppid() != parent:
                return
            for table, statement in every:
                try:
                    _run(connection, statement, (number % 97, number % 89))
                except apsw.BusyError:
                    continue
                except apsw.Error as error:
                    if MESSAGE in str(error):
                        return
                else:
                    if table not in noted and connection.changes():
                        noted.add(table)
                        notes.write(f"{json.dumps(table)}\n")
                        notes.flush()
                time.sleep(PAUSE)
            if not every:
                time.sleep(1.0)


def _run(connection: apsw.Connection, statement: str, places: tuple[int, int]) -> None:
    """Without the application's own functions: what its CHECKs and triggers come to then does for a copy."""
    with_stand_ins(connection, lambda: connection.execute(statement, places).fetchall(), nothing)


def main() -> None:
    """Write to the file named by the first argument what the second holds."""
    write(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes()), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
