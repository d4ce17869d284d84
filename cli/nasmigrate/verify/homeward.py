"""Values on their way from Postgres to SQLite: decoded, and only those that come back as themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nasmigrate.core.redaction import mask_value
from nasmigrate.schema.codecs import Codec, RawText, SqliteValue, from_exact, storage_class
from nasmigrate.schema.home import Outside
from nasmigrate.schema.model import StorageClass
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, encoded, key_of_fields
from nasmigrate.verify.decode_many import column_decoder, decode
from nasmigrate.verify.same_rows import Mark, Settled

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

    def rows(self, rows: Sequence[Fields], settled: Sequence[Settled] = ()) -> list[tuple[SqliteValue, ...]]:
        """Whole rows as SQLite shall store them; what can't be is added to `outside`.

        Args:
            rows: of Postgres.
            settled: what is known of each as a row that went before, or nothing.
        """
        if not rows:
            return []
        indices = range(len(self._table.columns))
        columns = [self.column(index, [row[index] for row in rows], rows, settled) for index in indices]
        return list(zip(*columns, strict=True))

    def column(
        self, index: int, raws: Sequence[Raw], rows: Sequence[Fields], settled: Sequence[Settled] = ()
    ) -> list[SqliteValue]:
        """Values of one column, one for each of `rows`."""
        codec = self._codecs[index]
        values = self._decoders[index](raws)
        own = self._put_back(index, raws, rows, values)
        for position, known in enumerate(settled):
            if position in own:
                continue
            if index in known.kept:
                values[position] = known.kept[index]
            if index in known.doubts:
                self.doubt(index, rows[position], known.doubts[index])
        # Only of some columns is text with invalid bytes read: in another one it would not be found again.
        unreadable = [] if self._table.columns[index].raw_text else _raw_texts(values)
        for position in sorted({*_not_back(codec, raws, values), *unreadable}):
            self.outside.append(
                Outside(
                    table=self._table.name,
                    column=self._table.columns[index].name,
                    key=key_words(self._table, self._codecs, rows[position]),
                    value=_masked(codec, raws[position]),
                )
            )
        return values

    def doubt(self, index: int, row: Fields, marks: Iterable[Mark]) -> None:
        """Add a value to `outside` that SQLite held in several ways, none of which can be told from the others."""
        codec, raw = self._codecs[index], row[index]
        usual = None if raw is None else decode(codec, raw)
        classes = sorted({str(storage_class(usual) if mark is None else mark[0]) for mark in marks})
        self.outside.append(
            Outside(
                table=self._table.name,
                column=self._table.columns[index].name,
                key=key_words(self._table, self._codecs, row),
                value=f"{_masked(codec, raw)}, of which cannot be told how SQLite held it ({' or '.join(classes)})",
            )
        )

    def keys(self, rows: Iterable[Fields]) -> list[tuple[SqliteValue, ...]]:
        """The keys of rows that came from SQLite, as it stores them."""
        taken = list(rows)
        if not taken:
            return []
        places = self._table.key_indices
        columns = [self._decoders[place]([row[place] for row in taken]) for place in places]
        return list(zip(*columns, strict=True))

    def _put_back(self, index: int, raws: Sequence[Raw], rows: Sequence[Fields], values: list[SqliteValue]) -> set[int]:
        """An original takes the place of a value if it is what Postgres holds there now; the positions where it did."""
        done: set[int] = set()
        if not self._originals:
            return done
        name, codec = self._table.columns[index].name, self._codecs[index]
        for position, row in enumerate(rows):
            named = key_of_fields(self._table, self._codecs, row), name
            if named not in self._originals:
                continue
            original = self._originals[named]
            if encoded(codec, [original]) == [raws[position]]:
                values[position] = original
                done.add(position)
        return done


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


def _raw_texts(values: Sequence[SqliteValue]) -> list[int]:
    return [position for position, value in enumerate(values) if isinstance(value, RawText)]


def _masked(codec: Codec, raw: Raw) -> str:
    if raw is None:
        return "null"
    try:
        return mask_value(codec.decode_one(raw))
    except (ValueError, OverflowError, IndexError):
        return f"outside {codec.pg_type}'s codec ({len(raw)} bytes)"
