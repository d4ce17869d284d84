"""The profile: what every column really holds, from one scan per table.

Nothing is decided here. The evidence is complete (each value was seen) and small (counts, ranges, up to five
row keys per storage class), and becomes part of plan.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
import numpy as np

from nasmigrate.schema.codecs import Misfit, RawText, SqliteValue
from nasmigrate.schema.codecs.temporal import codec_of_shape, shape_of
from nasmigrate.schema.evidence import ColumnProfile, TableProfile
from nasmigrate.schema.model import Column, Table
from nasmigrate.sqlite.read import Row, Selection, read

KEYS_KEPT = 5


def profile_table(
    connection: apsw.Connection,
    table: Table,
    *,
    encoding: str,
    wants_shape: Callable[[Column], bool],
    progress: Callable[[int], None] | None = None,
) -> TableProfile:
    """Read the whole table once and say what is in it.

    Args:
        connection: a snapshot.
        table: as inspected.
        encoding: the file's text encoding, as `PRAGMA encoding` gives it.
        wants_shape: which columns' text is to be tested for a date/time shape.
        progress: called with the rows seen so far.
    """
    names = tuple(column.name for column in table.columns)
    raw_text: frozenset[str] = frozenset()
    while True:
        scan = _Scan(table, wants_shape)
        selection = Selection(
            table=table.name,
            columns=names,
            key=table.primary_key if table.rowid_alias else (),
            raw_text=raw_text,
            encoding=encoding,
        )
        try:
            for batch in read(connection, selection):
                scan.add(batch)
                if progress is not None:
                    progress(scan.rows)
        except UnicodeDecodeError:
            if raw_text:
                raise
            # Some text is not UTF-8: read the text of this table as bytes. That is slower and rare.
            raw_text = frozenset(names)
            continue
        return scan.result()


class _Scan:
    """The state of one scan."""

    def __init__(self, table: Table, wants_shape: Callable[[Column], bool]) -> None:
        self.rows = 0
        self._table = table
        self._columns = [ColumnProfile(name=column.name) for column in table.columns]
        self._wants_shape = [wants_shape(column) for column in table.columns]
        self._shape_codecs: list[Any] = [None] * len(table.columns)
        names = [column.name for column in table.columns]
        self._key = [names.index(name) for name in table.primary_key]
        self._max_row_bytes = 0

    def add(self, batch: list[Row]) -> None:
        row_bytes = 0
        for index, values in enumerate(zip(*batch, strict=True)):
            row_bytes += self._add_column(index, values, batch)
        self._max_row_bytes = max(self._max_row_bytes, row_bytes)
        self.rows += len(batch)

    def _add_column(self, index: int, values: Sequence[SqliteValue], batch: list[Row]) -> int:
        """Take in one column of a batch; returns an upper bound of its bytes in one row."""
        column = self._columns[index]
        types = set(map(type, values))
        if len(types) > 1:
            return self._add_mixed(index, values, types, batch)
        (kind,) = types
        if kind is not type(None):
            self._remember(column, _CLASS_OF[kind], range(len(values)), values, batch)
        return self._add_uniform(index, kind, values, None, batch)

    def _add_mixed(self, index: int, values: Sequence[SqliteValue], types: set[type], batch: list[Row]) -> int:
        widest = 0
        for kind in types:
            rows = [i for i, value in enumerate(values) if type(value) is kind]
            if kind is not type(None):
                self._remember(self._columns[index], _CLASS_OF[kind], rows, values, batch)
            present = [values[i] for i in rows]
            widest = max(widest, self._add_uniform(index, kind, present, rows, batch))
        return widest

    def _add_uniform(
        self, index: int, kind: type, values: Sequence[Any], rows: Sequence[int] | None, batch: list[Row]
    ) -> int:
        """Values that are all of one class; `rows` are their places in the batch (None = all)."""
        column = self._columns[index]
        count = len(values)
        if kind is type(None):
            column.nulls += count
            return 4
        if kind is int:
            low, high = min(values), max(values)
            if not column.integers:
                column.integer_min, column.integer_max = low, high
            column.integer_min, column.integer_max = min(low, column.integer_min), max(high, column.integer_max)
            column.integers += count
            column.total_bytes += 8 * count
            return 12
        if kind is float:
            array = np.fromiter(values, dtype=np.float64, count=count)
            column.reals += count
            column.total_bytes += 8 * count
            finite = np.isfinite(array)
            column.infinities += count - int(finite.sum())
            column.integral_reals += int((array[finite] == np.floor(array[finite])).sum())
            column.negative_zeros += int(((array == 0) & np.signbit(array)).sum())
            return 12
        return self._add_bytes(index, kind, values, rows, batch)

    def _add_bytes(
        self, index: int, kind: type, values: Sequence[Any], rows: Sequence[int] | None, batch: list[Row]
    ) -> int:
        column = self._columns[index]
        if kind is str:
            column.texts += len(values)
            joined = "".join(values)
            total = len(joined) if joined.isascii() else len(joined.encode())
            longest = max(map(len, values)) if joined.isascii() else max(len(v.encode()) for v in values)
            if "\x00" in joined:
                for place, value in enumerate(values):
                    if "\x00" in value:
                        column.nul_texts += 1
                        self._remember_one(column, "nul", rows[place] if rows else place, value, batch)
            if self._wants_shape[index]:
                self._add_shapes(index, values, rows, batch)
        else:
            if kind is RawText:
                column.texts += len(values)
                column.raw_texts += len(values)
                for place, value in enumerate(values):
                    self._remember_one(column, "raw", rows[place] if rows else place, value, batch)
            else:
                column.blobs += len(values)
            total, longest = sum(map(len, values)), max(map(len, values))
        column.max_bytes = max(column.max_bytes, longest)
        column.total_bytes += total
        return longest + 4

    def _add_shapes(self, index: int, values: Sequence[str], rows: Sequence[int] | None, batch: list[Row]) -> None:
        """Test text against the shape of the first value; count the shapes where it does not hold."""
        column = self._columns[index]
        codec = self._shape_codecs[index]
        if codec is None and not column.shapes:
            shape = shape_of(values[0])
            codec = self._shape_codecs[index] = codec_of_shape(shape)(shape) if shape else None
        if codec is not None:
            try:
                codec.encode_native(values)
            except Misfit:
                pass
            else:
                column.shapes[codec.shape] += len(values)
                return
        for place, value in enumerate(values):
            shape = _exact_shape(value)
            if not column.shapes or shape not in column.shapes or codec is None or shape != codec.shape:
                self._remember_one(column, "shape", rows[place] if rows else place, value, batch)
            column.shapes[shape] += 1

    def _remember(
        self,
        column: ColumnProfile,
        what: str,
        rows: Sequence[int],
        values: Sequence[SqliteValue],
        batch: list[Row],
    ) -> None:
        if len(column.keys.get(what, ())) < KEYS_KEPT:
            for row in rows[:KEYS_KEPT]:
                self._remember_one(column, what, row, values[row], batch)

    def _remember_one(self, column: ColumnProfile, what: str, row: int, value: SqliteValue, batch: list[Row]) -> None:
        keys = column.keys.setdefault(what, [])
        if len(keys) < KEYS_KEPT:
            keys.append(self._key_text(batch[row], self.rows + row))
            column.samples.setdefault(what, []).append(value)

    def _key_text(self, row: Row, ordinal: int) -> str:
        """The row's key as a reader finds it again; without a key, its place in the scan."""
        if not self._key:
            return f"row {ordinal + 1}"
        parts = []
        for index in self._key:
            value = row[index]
            parts.append(f"{self._columns[index].name}={value if isinstance(value, str) else repr(value)}")
        return ", ".join(parts)

    def result(self) -> TableProfile:
        for column in self._columns:
            if len(column.shapes) == 1:
                (shape,) = column.shapes
                column.shape = shape if shape != _NO_SHAPE else None
        return TableProfile(
            name=self._table.name,
            rows=self.rows,
            columns={column.name: column for column in self._columns},
            max_row_bytes=self._max_row_bytes + 2,
            total_bytes=sum(column.total_bytes for column in self._columns),
        )


_NO_SHAPE = "other"
_CLASS_OF: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob", RawText: "text"}


def _exact_shape(text: str) -> str:
    """The shape of one value whose fields are in range too, or 'other'."""
    shape = shape_of(text)
    if shape is None:
        return _NO_SHAPE
    try:
        codec_of_shape(shape)(shape).encode_native([text])
    except Misfit:
        return _NO_SHAPE
    return shape
