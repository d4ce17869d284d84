"""Values on their way from Postgres to SQLite: decoded, and only those that come back as themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nasmigrate.core.redaction import mask_value
from nasmigrate.schema.codecs import Codec, SqliteValue, from_exact
from nasmigrate.schema.home import Outside
from nasmigrate.schema.model import StorageClass
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, encoded, key_of_fields
from nasmigrate.verify.decode_many import column_decoder

Raw = bytes | None
Kept = Mapping[tuple[bytes, str], SqliteValue]
"""Originals by (key bytes, column)."""


class Homeward:
    """Decodes the rows of one table.

    Args:
        table: its columns are those that go home.
        originals: the value that stood there at the copy, where its codec's inverse is not exact.
    """

    def __init__(self, table: PlanTable, originals: Kept) -> None:
        self._table = table
        self._codecs = table.codecs()
        self._decoders = [column_decoder(codec) for codec in self._codecs]
        self._originals = originals
        self.outside: list[Outside] = []

    def rows(self, rows: Sequence[Fields]) -> list[tuple[SqliteValue, ...]]:
        """Whole rows as SQLite shall store them; what can't be is added to `outside`."""
        if not rows:
            return []
        columns = [self.column(index, [row[index] for row in rows], rows) for index in range(len(self._table.columns))]
        return list(zip(*columns, strict=True))

    def column(self, index: int, raws: Sequence[Raw], rows: Sequence[Fields]) -> list[SqliteValue]:
        """Values of one column, one for each of `rows`."""
        codec = self._codecs[index]
        values = self._decoders[index](raws)
        self._put_back(index, raws, rows, values)
        for position in _not_back(codec, raws, values):
            self.outside.append(
                Outside(
                    table=self._table.name,
                    column=self._table.columns[index].name,
                    key=key_words(self._table, self._codecs, rows[position]),
                    value=_masked(codec, raws[position]),
                )
            )
        return values

    def keys(self, rows: Iterable[Fields]) -> list[tuple[SqliteValue, ...]]:
        """The keys of rows that came from SQLite, as it stores them."""
        taken = list(rows)
        if not taken:
            return []
        places = self._table.key_indices
        columns = [self._decoders[place]([row[place] for row in taken]) for place in places]
        return list(zip(*columns, strict=True))

    def _put_back(self, index: int, raws: Sequence[Raw], rows: Sequence[Fields], values: list[SqliteValue]) -> None:
        """An original takes the place of a value if it is what Postgres holds there now."""
        if not self._originals:
            return
        name, codec = self._table.columns[index].name, self._codecs[index]
        for position, row in enumerate(rows):
            named = key_of_fields(self._table, self._codecs, row), name
            if named not in self._originals:
                continue
            original = self._originals[named]
            if encoded(codec, [original]) == [raws[position]]:
                values[position] = original


def kept_originals(rows: Iterable[tuple[bytes, int, str, str, bytes]]) -> Kept:
    """Originals as the ledger gives them, for look-up; of tables with a range key."""
    return {(key, column): from_exact(StorageClass(storage), raw) for key, _, column, storage, raw in rows}


def key_words(table: PlanTable, codecs: Sequence[Codec], row: Fields) -> str:
    """A row's key in words; without a key, that it has none."""
    if not table.key:
        return "a row without key"
    parts = []
    for index in table.key_indices:
        raw = row[index]
        try:
            value = None if raw is None else codecs[index].decode_one(raw)
        except ValueError:
            value = None
        parts.append(f"{table.columns[index].name}={value if isinstance(value, str) else repr(value)}")
    return ", ".join(parts)


def _not_back(codec: Codec, raws: Sequence[Raw], values: Sequence[SqliteValue]) -> list[int]:
    """Positions of the values that do not come back: encode(decode(v)) is not v."""
    back = encoded(codec, values)
    if back is not None:
        return [position for position, raw in enumerate(raws) if raw != back[position]]
    return [position for position, raw in enumerate(raws) if encoded(codec, [values[position]]) != [raw]]


def _masked(codec: Codec, raw: Raw) -> str:
    if raw is None:
        return "null"
    try:
        return mask_value(codec.decode_one(raw))
    except (ValueError, OverflowError, IndexError):
        return f"outside {codec.pg_type}'s codec ({len(raw)} bytes)"
