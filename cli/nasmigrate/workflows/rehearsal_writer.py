"""Synthetic writes for a rehearsed cutover: `python -m nasmigrate.workflows.rehearsal_writer FILE STATEMENTS`.

An application of its own process writes to a copy of the source, table after table, until it is refused or killed. A
write exchanges the values of two rows in one column, so that a snapshot of any moment holds the values that the plan
was made of, and leads to the same plan; columns of keys, constraints and checks are left alone, and so are values of
more than `LARGEST` bytes, of which SQLite holds half a dozen at a time. It writes down nothing: the comparison
afterwards is of all rows.

The statements come as JSON: to read a plan, a process loads far more than it takes to write.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from nasmigrate.sqlite.fence import MESSAGE
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.stand_ins import nothing, with_stand_ins

if TYPE_CHECKING:
    from nasmigrate.schema.plan import Plan, PlanTable

PAUSE: Final = 0.02
LARGEST: Final = 1024 * 1024
_BUSY: Final = 10_000


def writable_columns(table: PlanTable) -> tuple[str, ...]:
    """Columns that may take any value another row has there: in no key or index, not generated; names as in SQLite.

    Tables with checks have none: a check may compare two columns.
    """
    if table.checks:
        return ()
    taken = {*table.key, *table.primary_key}
    for index in table.indexes:
        taken |= {term.column for term in index.terms if term.column is not None}
        if any(term.expression is not None for term in index.terms) or index.where is not None:
            return ()
    for key in table.foreign_keys:
        taken |= set(key.columns)
    return tuple(
        column.name
        for column in table.columns
        if column.name not in taken and not column.identity and column.generated is None
    )


def statements(plan: Plan) -> Iterator[str]:
    """One UPDATE per column that may be written; `?1` and `?2` say how far down the two rows are."""
    for table in plan.tables:
        if not table.without_rowid and any(column.name.lower() == "rowid" for column in table.columns):
            continue
        key = [quote_ident(column) for column in (table.primary_key if table.without_rowid else ("rowid",))]
        for column in writable_columns(table):
            yield _exchange(quote_ident(table.name), key, quote_ident(column))


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


def write(path: Path, every: Sequence[str]) -> None:
    """Run the statements in turn until the file refuses, or whoever started this is gone."""
    parent = os.getppid()
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(_BUSY)
        # Opens the -wal, also where there is no column to write to.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        for number in count():
            if os.getppid() != parent:
                return
            for statement in every:
                try:
                    _run(connection, statement, (number % 97, number % 89))
                except apsw.BusyError:
                    continue
                except apsw.Error as error:
                    if MESSAGE in str(error):
                        return
                time.sleep(PAUSE)
            if not every:
                time.sleep(1.0)


def _run(connection: apsw.Connection, statement: str, places: tuple[int, int]) -> None:
    """Without the application's own functions: what its CHECKs and triggers come to then does for a copy."""
    with_stand_ins(connection, lambda: connection.execute(statement, places).fetchall(), nothing)


def main() -> None:
    """Write to the file named by the first argument what the second holds."""
    write(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes()))


if __name__ == "__main__":
    main()
