"""The source's side of a chunk: rows read exactly, encoded by the plan's codecs, originals set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from nasmigrate.core.errors import TransferError
from nasmigrate.core.redaction import mask_value
from nasmigrate.schema.chunks import EncodedBatch
from nasmigrate.schema.codecs import Codec, Misfit, SqliteValue
from nasmigrate.schema.plan import PlanTable
from nasmigrate.sqlite.quarantine import kept_condition
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.read import BATCH_ROWS, Bounds, Selection, read


def encoded_batches(
    connection: apsw.Connection,
    table: PlanTable,
    codecs: list[Codec],
    *,
    encoding: str,
    bounds: Bounds | None = None,
    max_row_bytes: int = 0,
    batch_rows: int = BATCH_ROWS,
    expressions: Sequence[str] = (),
) -> Iterator[EncodedBatch]:
    """Read and encode a table, or a part of its key space, in key order.

    With `expressions`, SQL of the source, the last columns of the table are not the source's: they hold their values.

    Raises:
        TransferError: a value does not fit its codec: the file holds something the profile did not see.
    """
    ranged = table.mode == "range"
    stored = table.columns[: len(table.columns) - len(expressions)]
    selection = Selection(
        table=table.name,
        columns=tuple(column.name for column in stored),
        key=table.key if ranged else (),
        raw_text=frozenset(column.name for column in stored if column.raw_text),
        encoding=encoding,
        expressions=tuple(expressions),
        condition=kept_condition(quote_ident(table.name), table.kept),
    )
    indices = table.key_indices if ranged else ()
    for rows in read(
        connection, selection, bounds=bounds, max_row_bytes=max_row_bytes, batch_rows=min(batch_rows, BATCH_ROWS)
    ):
        columns = []
        for position, values in enumerate(zip(*rows, strict=True)):
            try:
                columns.append(codecs[position].encode(values))
            except Misfit as misfit:
                raise _misfit(table, position, misfit, rows) from None
        yield EncodedBatch(
            columns=columns,
            rows=len(rows),
            size=sum(column.size for column in columns),
            last_key=tuple(rows[-1][index] for index in indices),
        )


def _misfit(table: PlanTable, position: int, misfit: Misfit, rows: list[tuple[SqliteValue, ...]]) -> TransferError:
    column = table.columns[position]
    key = ""
    if misfit.index >= 0 and table.key:
        row = rows[misfit.index]
        key = " at " + ", ".join(f"{table.columns[i].name}={row[i]!r}" for i in table.key_indices)
    return TransferError(
        f"{table.name}.{column.name}{key}: {mask_value(misfit.value)} does not fit {column.pg_type}",
        hint="the plan was made from other data; run `nasmigrate plan` again",
        details={"table": table.name, "column": column.name, "key": key.removeprefix(" at ")},
        code="NM0903",
    )
