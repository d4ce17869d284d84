"""From a chunk that Postgres refuses to the row that it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import psycopg
from psycopg import sql

from nasmigrate.schema.chunks import EncodedBatch
from nasmigrate.schema.copy_format import HEADER, TRAILER, assemble_rows
from nasmigrate.schema.plan import PlanTable

_CONTEXT_COLUMN = re.compile(r"^COPY .*, line \d+, column (?P<column>.*?)(: .*)?$", re.MULTILINE)
"""The server's context of an error in a value: "COPY t, line 3, column v"; it is in English or not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """The first row that is refused, counted from 0 within the chunk, and why."""

    place: int
    error: psycopg.Error

    @property
    def column(self) -> str | None:
        """The column, where the server names one."""
        if self.error.diag.column_name:
            return self.error.diag.column_name
        match = _CONTEXT_COLUMN.search(self.error.diag.context or "")
        return match["column"] if match else None

    @property
    def reason(self) -> str:
        """What the server says, without the values that its detail quotes."""
        constraint = self.error.diag.constraint_name
        text = self.error.diag.message_primary or type(self.error).__name__
        return f"{text} ({constraint})" if constraint and constraint not in text else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How the beginning of a chunk is tried.

    Attributes:
        connection: ready for the chunk.
        statement: its COPY.
        table: whose chunk it is.
        batches: gives its rows, each time from the beginning.
        undo: takes back what a try did, so that nothing of it is kept.
    """

    connection: psycopg.Connection
    statement: sql.Composed
    table: PlanTable
    batches: Callable[[], Iterator[EncodedBatch]]
    undo: Callable[[], None]

    def refusal(self, rows: int) -> psycopg.Error | None:
        """What Postgres says to the first rows of the chunk; None when it takes them."""
        try:
            with self.connection.cursor() as cursor, cursor.copy(self.statement) as copy:
                copy.write(HEADER)
                for row in islice(_rows(self.table, self.batches()), rows):
                    copy.write(row)
                copy.write(TRAILER)
        except psycopg.Error as error:
            return error
        finally:
            self.undo()
        return None


def find_bad_row(tries: Tries, most: int) -> BadRow | None:
    """Bisect the rows of a refused chunk: the shortest beginning of it that is refused ends with the bad row.

    So a row may be bad for the ones before it too (a unique index).

    Args:
        tries: of the chunk.
        most: rows of the chunk at most.

    Returns:
        None when no beginning of the chunk is refused: it was not the rows.
    """
    low, high = 0, most
    error = tries.refusal(high)
    if error is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        refusal = tries.refusal(middle)
        if refusal is None:
            low = middle
        else:
            high, error = middle, refusal
    return BadRow(place=high - 1, error=error)


def _rows(table: PlanTable, batches: Iterator[EncodedBatch]) -> Iterator[bytes]:
    written = table.written
    return chain.from_iterable(assemble_rows([batch.columns[place] for place in written]) for batch in batches)
