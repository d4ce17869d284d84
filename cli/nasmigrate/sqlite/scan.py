"""What a scan of a table sees, batch by batch: whole columns at once where their values are alike."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.codecs import TESTS, RawText, SqliteValue, TextTest
from nasmigrate.schema.evidence import KEYS_KEPT, ColumnAsk, ColumnProfile, TableProfile, label_key
from nasmigrate.schema.model import Table
from nasmigrate.schema.oddities import watch_of
from nasmigrate.schema.rules.scan import RuleScan
from nasmigrate.sqlite.read import Row


class _Rows:
    """Where in a batch the values of one class are; found only when something is to be said of them."""

    def __init__(self, values: Sequence[SqliteValue], kind: type) -> None:
        self._values = values
        self._kind = kind

    def places(self) -> list[int]:
        """Row indices, ascending."""
        return [i for i, value in enumerate(self._values) if type(value) is self._kind]


class Scan:
    """One table, or a part of it, as its batches come in.

    Args:
        table: as inspected.
        asks: what is asked of single columns, by name.
    """

    def __init__(self, table: Table, asks: Mapping[str, ColumnAsk]) -> None:
        self.rows = 0
        self._table = table
        self._columns = [ColumnProfile(name=column.name) for column in table.columns]
        asked = [asks.get(column.name, ColumnAsk()) for column in table.columns]
        self._tests: list[list[TextTest]] = [[TESTS[name]() for name in ask.tests] for ask in asked]
        self._watches = [watch_of(column) for column in table.columns]
        self._ruled = [RuleScan(ask.rules) if ask.rules else None for ask in asked]
        self._before: list[type | None] = [None] * len(table.columns)
        names = [column.name for column in table.columns]
        self._key = [names.index(name) for name in table.primary_key]
        self._max_row_bytes = 0

    def add(self, batch: list[Row]) -> None:
        """Take in a batch; batches come in the order of the scan."""
        row_bytes = 0
        for index, values in enumerate(zip(*batch, strict=True)):
            row_bytes += self._add_column(index, values, batch)
        self._max_row_bytes = max(self._max_row_bytes, row_bytes)
        self.rows += len(batch)

    def _add_column(self, index: int, values: Sequence[SqliteValue], batch: list[Row]) -> int:
        """Take in one column of a batch; returns an upper bound of its bytes in one row."""
        ruled = self._ruled[index]
        if ruled is None:
            return self._add_values(index, values, batch)
        scanned = ruled.add(self._columns[index], values)
        for what, row in scanned.marks:
            self._remember(self._columns[index], what, row, values[row], batch)
        if scanned.values is None:
            return scanned.widest
        return max(scanned.widest, self._add_values(index, scanned.values, batch))

    def _add_values(self, index: int, values: Sequence[SqliteValue], batch: list[Row]) -> int:
        known = self._add_as_before(index, values, batch)
        if known is not None:
            return known
        column = self._columns[index]
        types = set(map(type, values))
        present = values
        if type(None) in types:
            present = [value for value in values if value is not None]
            column.nulls += len(values) - len(present)
            types.discard(type(None))
        for storage_class in {_CLASS_OF[kind] for kind in types}:
            if len(column.keys.get(storage_class, ())) < KEYS_KEPT:
                of_class = (row for row, value in enumerate(values) if _CLASS_OF.get(type(value)) == storage_class)
                for row in islice(of_class, KEYS_KEPT):
                    self._remember(column, storage_class, row, values[row], batch)
        widest = 4
        for kind in types:
            these = present if len(types) == 1 else [value for value in present if type(value) is kind]
            rows = _Rows(values, kind)
            widest = max(widest, self._add_uniform(index, kind, these, rows, batch))
            settled = len(types) == 1 and len(column.keys[_CLASS_OF[kind]]) >= KEYS_KEPT
            self._before[index] = kind if settled else None
        return widest

    def _add_as_before(self, index: int, values: Sequence[Any], batch: list[Row]) -> int | None:
        """A batch with values of the same one class as the batch before it, NULLs aside; None when it is not.

        Spares a look at each value's type, by operations that raise for a value of any other type.
        """
        kind = self._before[index]
        if kind is not int and kind is not str:
            return None
        column = self._columns[index]
        present = [value for value in values if value is not None] if column.nulls else values
        if not present:
            return None
        try:
            if kind is int:
                array = np.frombuffer(struct.pack(f"{len(present)}q", *present), dtype=np.int64)
                widest = self._add_integers(index, array, present, _Rows(values, int), batch)
            else:
                joined = "".join(present)
                widest = self._add_text(index, present, joined, _Rows(values, str), batch)
        except (struct.error, TypeError):
            return None
        column.nulls += len(values) - len(present)
        return widest

    def _add_integers(
        self, index: int, array: npt.NDArray[np.int64], values: Sequence[int], rows: _Rows, batch: list[Row]
    ) -> int:
        column = self._columns[index]
        low, high = int(array.min()), int(array.max())
        if not column.integers:
            column.integer_min, column.integer_max = low, high
        column.integer_min, column.integer_max = min(low, column.integer_min), max(high, column.integer_max)
        column.integers += len(values)
        column.total_bytes += 8 * len(values)
        for what, least, most in self._watches[index].integers(low, high):
            self._odd(column, what, np.flatnonzero((array < least) | (array > most)).tolist(), values, rows, batch)
        return 12

    def _add_uniform(self, index: int, kind: type, values: Sequence[Any], rows: _Rows, batch: list[Row]) -> int:
        """Values that are all of one class; `rows` knows their places in the batch."""
        column = self._columns[index]
        count = len(values)
        if kind is int:
            return self._add_integers(index, np.fromiter(values, dtype=np.int64, count=count), values, rows, batch)
        if kind is float:
            array = np.fromiter(values, dtype=np.float64, count=count)
            column.reals += count
            column.total_bytes += 8 * count
            finite = np.isfinite(array)
            column.infinities += count - int(finite.sum())
            column.integral_reals += int((array[finite] == np.floor(array[finite])).sum())
            column.negative_zeros += int(((array == 0) & np.signbit(array)).sum())
            for what, where in self._watches[index].reals(array):
                self._odd(column, what, np.flatnonzero(where).tolist(), values, rows, batch)
            return 12
        if kind is str:
            return self._add_text(index, values, "".join(values), rows, batch)
        return self._add_bytes(index, kind, values, rows, batch)

    def _add_bytes(self, index: int, kind: type, values: Sequence[Any], rows: _Rows, batch: list[Row]) -> int:
        """Blobs, and text with invalid bytes."""
        column = self._columns[index]
        if kind is RawText:
            column.texts += len(values)
            column.raw_texts += len(values)
            self._keep(column, "raw", range(len(values)), values, rows, batch)
        else:
            column.blobs += len(values)
        longest = max(map(len, values))
        column.max_bytes = max(column.max_bytes, longest)
        column.total_bytes += sum(map(len, values))
        return longest + 4

    def _add_text(self, index: int, values: Sequence[str], joined: str, rows: _Rows, batch: list[Row]) -> int:
        """Text that is valid; `joined` is all of it."""
        column = self._columns[index]
        one_length = False
        for test in self._tests[index]:
            one_length |= self._add_labels(column, test, values, rows, batch) and test.one_length
        if one_length:
            longest = len(values[0])
            total = longest * len(values)
        elif joined.isascii():
            longest, total = max(map(len, values)), len(joined)
        else:
            longest, total = max(map(len, map(str.encode, values))), len(joined.encode())
        if "\x00" in joined:
            places = [place for place, value in enumerate(values) if "\x00" in value]
            column.nul_texts += len(places)
            self._keep(column, "nul", places, values, rows, batch)
        for what, places in self._watches[index].texts(values, joined, longest):
            self._odd(column, what, places, values, rows, batch)
        column.texts += len(values)
        column.max_bytes = max(column.max_bytes, longest)
        column.total_bytes += total
        return longest + 4

    def _add_labels(
        self, column: ColumnProfile, test: TextTest, values: Sequence[str], rows: _Rows, batch: list[Row]
    ) -> bool:
        """Run a test over text, value by value where it finds no label for all at once; whether it did."""
        labels = column.labels.setdefault(test.name, Counter())
        common = test.all_of(values)
        if common is not None:
            self._keep(column, label_key(test.name, common), range(len(values)), values, rows, batch)
            labels[common] += len(values)
            return True
        for place, value in enumerate(values):
            label = test.one(value)
            key = label_key(test.name, label)
            if len(column.keys.get(key, ())) < KEYS_KEPT:
                self._remember(column, key, rows.places()[place], value, batch)
            labels[label] += 1
        return False

    def _odd(
        self,
        column: ColumnProfile,
        what: str,
        places: Sequence[int],
        values: Sequence[Any],
        rows: _Rows,
        batch: list[Row],
    ) -> None:
        """Count an oddity; `places` are indices of `values`."""
        column.odd[what] += len(places)
        self._keep(column, what, places, values, rows, batch)

    def _keep(
        self,
        column: ColumnProfile,
        what: str,
        places: Sequence[int],
        values: Sequence[Any],
        rows: _Rows,
        batch: list[Row],
    ) -> None:
        """Remember the first few of some values, as long as there is room."""
        if len(column.keys.get(what, ())) < KEYS_KEPT:
            in_batch = rows.places()
            for place in places[:KEYS_KEPT]:
                self._remember(column, what, in_batch[place], values[place], batch)

    def _remember(self, column: ColumnProfile, what: str, row: int, value: SqliteValue, batch: list[Row]) -> None:
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
            # The plan is kept in Postgres, whose text and JSON hold no NUL.
            text = value.replace("\0", "\\x00") if isinstance(value, str) else repr(value)
            parts.append(f"{self._columns[index].name}={text}")
        return ", ".join(parts)

    def result(self) -> TableProfile:
        """What was seen so far."""
        return TableProfile(
            name=self._table.name,
            rows=self.rows,
            columns={column.name: column for column in self._columns},
            max_row_bytes=self._max_row_bytes + 2,
            total_bytes=sum(column.total_bytes for column in self._columns),
        )


_CLASS_OF: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob", RawText: "text"}
