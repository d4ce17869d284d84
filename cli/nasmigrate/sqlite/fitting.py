"""Values that the narrow type of an existing column does not hold: found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from nasmigrate.schema.codecs import Misfit, SqliteValue
from nasmigrate.schema.plan import PlanColumn, PlanTable
from nasmigrate.sqlite.read import Selection, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfitting:
    """The first value of a column that does not fit, with its row's key in words ('' without a key)."""

    column: PlanColumn
    value: SqliteValue
    key: str


def find_misfits(
    connection: apsw.Connection, table: PlanTable, columns: Sequence[str], *, encoding: str, max_row_bytes: int = 0
) -> list[Misfitting]:
    """Encode columns of a table as the copy would, and name the first value of each that is refused.

    Args:
        connection: a snapshot.
        table: of the plan.
        columns: those to look at.
        encoding: of the file.
        max_row_bytes: of the table's largest row, which bounds a batch.
    """
    looked_at = [column for column in table.columns if column.name in columns]
    selection = Selection(
        table=table.name,
        columns=(*table.key, *(column.name for column in looked_at)),
        raw_text=frozenset(column.name for column in table.columns if column.raw_text),
        encoding=encoding,
    )
    waiting = {len(table.key) + number: (column, column.build_codec()) for number, column in enumerate(looked_at)}
    found = []
    for rows in read(connection, selection, max_row_bytes=max_row_bytes):
        for position in tuple(waiting):
            column, codec = waiting[position]
            try:
                codec.encode([row[position] for row in rows])
            except Misfit as misfit:
                row = rows[misfit.index]
                key = ", ".join(f"{name}={value!r}" for name, value in zip(table.key, row, strict=False))
                found.append(Misfitting(column=column, value=row[position], key=key))
                del waiting[position]
        if not waiting:
            break
    return found
