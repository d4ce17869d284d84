"""The side table of rows without a parent: every value in its exact form, so that the way back restores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import psycopg

from nasmigrate.schema.codecs import SqliteValue, exact_bytes, from_exact, storage_class
from nasmigrate.schema.model import StorageClass
from nasmigrate.schema.plan import PlanTable


def store_rows(connection: psycopg.Connection, table: PlanTable, rows: Iterable[Sequence[SqliteValue]]) -> int:
    """Write the rows of a table that are set aside, in the place of those that were; how many there are."""
    names = [column.name for column in table.columns if column.generated is None]
    connection.execute("DELETE FROM nasmigrate.quarantine WHERE table_name = %s", (table.name,))
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY nasmigrate.quarantine (table_name, ordinal, position, column_name, storage_class, value)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.set_types(("text", "int8", "int4", "text", "text", "bytea"))
        for row in rows:
            count += 1
            for position, (name, value) in enumerate(zip(names, row, strict=True)):
                copy.write_row((table.name, count, position, name, str(storage_class(value)), exact_bytes(value)))
    return count


def stored_rows(connection: psycopg.Connection, table: PlanTable) -> Iterator[tuple[SqliteValue, ...]]:
    """The rows of a table that were set aside, in the order in which they were written."""
    row: list[SqliteValue] = []
    for position, storage, value in connection.execute(
        "SELECT position, storage_class, value FROM nasmigrate.quarantine WHERE table_name = %s"
        " ORDER BY ordinal, position",
        (table.name,),
    ).fetchall():
        if position == 0 and row:
            yield tuple(row)
            row = []
        row.append(from_exact(StorageClass(storage), value))
    if row:
        yield tuple(row)
