"""The exact reader: rows of a table in key order, the storage class of every value seen.

apsw yields int, float, str, bytes or None for each value as it is stored, so the class of a value is its Python
type. (Readers that type a column by its first rows or its declaration lose values.) TEXT that is not
valid in UTF-8 cannot become a str: columns that hold such text are read as bytes and come back as RawText.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import apsw

from nasmigrate.schema.codecs import RawText, SqliteValue
from nasmigrate.sqlite.bind import TEXT_CODEC
from nasmigrate.sqlite.quoting import quote_ident

Row = tuple[SqliteValue, ...]

BATCH_ROWS = 2048
"""Rows per batch at most; larger batches fall out of the processor's cache and are slower."""
BATCH_BYTES = 8 * 1024 * 1024
"""Bytes of text and blobs per batch at which it ends early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """Rows with `after < key <= last`; None is open on that side."""

    after: Row | None = None
    last: Row | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowidRanges:
    """Rows whose rowid is in one of these ranges, both ends included; `word` is what the table calls its rowid."""

    ranges: tuple[tuple[int, int], ...]
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The rows that have one of these keys, none of which is text with invalid bytes."""

    keys: Sequence[Row]


Bounds = KeyRange | RowidRanges | Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to read of one table. `raw_text` names columns that hold text with invalid bytes.

    `ordered` asks for key order; without a key the order is the file's own. `rowid` is the word for the rowid, if that
    is among the columns. `expressions` are SQL out of the file, each a value that comes after those of the columns.
    `condition` is SQL over the table's columns that the rows satisfy.
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    raw_text: frozenset[str] = frozenset()
    encoding: str = "UTF-8"
    ordered: bool = True
    rowid: str | None = None
    expressions: tuple[str, ...] = ()
    condition: str = ""

    def rows(self, connection: apsw.Connection, bounds: Bounds) -> Iterator[Row]:
        """The rows as SQLite gives them: (bytes, class) of a raw text. Those of keys or ranges come in their order."""
        if isinstance(bounds, Keys):
            located = " AND ".join(f"{quote_ident(column)} = ?" for column in self.key)
            condition = f"{located} AND {self.condition}" if self.condition else located
            return connection.executemany(f"{self._select()} WHERE {condition}", bounds.keys)
        sql, bindings = self._sql(bounds)
        return connection.execute(sql, bindings)

    def count(self, connection: apsw.Connection, bounds: KeyRange) -> int:
        """How many rows there are in a part of the key space."""
        sql, bindings = self._sql(bounds)
        row = connection.execute(f"SELECT count(*) FROM ({sql})", bindings).fetchone()  # noqa: S608 - as above
        return int(row[0]) if row else 0

    def _sql(self, bounds: KeyRange | RowidRanges) -> tuple[str, list[SqliteValue]]:
        sql = self._select()
        if isinstance(bounds, RowidRanges):
            return self._of_ranges(sql, bounds)
        bindings: list[SqliteValue] = []
        conditions = [self.condition] if self.condition else []
        if self.key:
            key = ", ".join(f"{quote_ident(column)} COLLATE BINARY" for column in self.key)
            plain = ", ".join(quote_ident(column) for column in self.key)
            for operator, bound in ((">", bounds.after), ("<=", bounds.last)):
                if bound is not None:
                    conditions.append(f"({plain}) {operator} ({', '.join('?' * len(bound))})")
                    bindings.extend(bound)
        if conditions:
            sql += " WHERE " + " AND ".join(conditions)
        if self.key and self.ordered:
            sql += f" ORDER BY {plain if not self.raw_text & set(self.key) else key}"
        return sql, bindings

    def _of_ranges(self, select: str, bounds: RowidRanges) -> tuple[str, list[SqliteValue]]:
        # The names of the ranges' ends are none that a column of the table has.
        low, high = (quote_ident(fresh) for fresh in _fresh(self.columns, 2))
        ends = f"json_extract(value, '$[0]') AS {low}, json_extract(value, '$[1]') AS {high}"
        table = f"main.{quote_ident(self.table)}"
        joined = f"(SELECT {ends} FROM json_each(?)) r CROSS JOIN {table} t"  # noqa: S608 - quoted names only
        condition = f"t.{bounds.word} BETWEEN r.{low} AND r.{high}"
        return f"{select.removesuffix(table)}{joined} WHERE {condition}", [json.dumps(bounds.ranges)]

    def _select(self) -> str:
        terms = []
        for column in self.columns:
            name = column if column == self.rowid else quote_ident(column)
            if column in self.raw_text:
                terms.append(
                    f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END, typeof({name})"
                )
            else:
                terms.append(name)
        # The line break ends a comment that the text may end with.
        terms += [f"({expression}\n)" for expression in self.expressions]
        return f"SELECT {', '.join(terms)} FROM main.{quote_ident(self.table)}"  # noqa: S608 - quoted names only

    def one(self, connection: apsw.Connection, condition: str, bindings: Sequence[SqliteValue]) -> Row | None:
        """The row for which a condition holds, None when there is none."""
        row = connection.execute(f"{self._select()} WHERE {condition}", bindings).fetchone()
        return row if row is None or not self.raw_text else _Unpacker(self)(row)


def read(
    connection: apsw.Connection,
    selection: Selection,
    *,
    bounds: Bounds | None = None,
    max_row_bytes: int = 0,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[list[Row]]:
    """Yield batches of rows.

    Args:
        connection: a snapshot; nothing else is read here.
        selection: table, columns and order.
        bounds: the part of the key space to read, all of it when None.
        max_row_bytes: the largest row the profile saw; batches shrink so that memory stays bounded.
            0 = unknown: every row is measured before the next one is read.
        batch_rows: rows of a batch at most.
    """
    cursor = selection.rows(connection, bounds or KeyRange())
    unpack = _Unpacker(selection) if selection.raw_text else None
    small_rows = 0 < max_row_bytes <= BATCH_BYTES // batch_rows
    while True:
        rows = list(islice(cursor, batch_rows)) if small_rows else _up_to(cursor, batch_rows)
        if not rows:
            return
        yield rows if unpack is None else [unpack(row) for row in rows]


def _up_to(cursor: Iterator[Row], batch_rows: int) -> list[Row]:
    """The next rows, until they have enough bytes: beyond that at most one row, however large it is, is in memory."""
    rows, size = [], 0
    for row in cursor:
        rows.append(row)
        for value in row:
            if isinstance(value, str | bytes):
                size += len(value)
        if size >= BATCH_BYTES or len(rows) >= batch_rows:
            break
    return rows


def _fresh(taken: Sequence[str], count: int) -> list[str]:
    """Names that are none of those, however they are written."""
    longest = max(map(len, taken))
    return ["x" * (longest + number) for number in range(1, count + 1)]


class _Unpacker:
    """Folds the (bytes, typeof) pairs of raw text columns back into one value each."""

    def __init__(self, selection: Selection) -> None:
        self._raw = [column in selection.raw_text for column in selection.columns]
        self._raw += [False] * len(selection.expressions)
        self._encoding = selection.encoding

    def __call__(self, row: Row) -> Row:
        values: list[SqliteValue] = []
        position = 0
        for raw in self._raw:
            value = row[position]
            position += 1
            if raw:
                if row[position] == "text" and isinstance(value, bytes):
                    value = decode_text(value, self._encoding)
                position += 1
            values.append(value)
        return tuple(values)


def decode_text(raw: bytes, encoding: str) -> str | RawText:
    """Text as str when its bytes are valid in the file's encoding, else as RawText."""
    try:
        return raw.decode(TEXT_CODEC[encoding])
    except UnicodeDecodeError:
        return RawText(raw)
