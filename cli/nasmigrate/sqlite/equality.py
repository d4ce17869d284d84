"""Compares two SQLite files of one schema, value by value, by SQL inside SQLite.

Nothing of the codecs is used here: this is the half of the round trip that must not share their mistakes. Equal
means the same storage class and the same bytes, which `IS` alone does not say: it follows a column's collation,
calls 1 and 1.0 equal, and 0.0 and -0.0 too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

import apsw

from nasmigrate.core.redaction import mask_value, printable
from nasmigrate.core.result import Difference
from nasmigrate.schema.model import Table
from nasmigrate.sqlite.bind import TEXT_CODEC
from nasmigrate.sqlite.equality_sql import NEGATIVE_ZERO, GroupedSql, KeyedSql, usable_key
from nasmigrate.sqlite.open import check_file, mapped_errors

NAMED_DIFFERENCES = 20
"""Differences named over all tables; beyond that they are only counted."""
NAMED_PER_COLUMN = 5
"""Differences named per column, so that one bad column leaves room for the others."""
SHOWN_CHARACTERS = 200

_FOUND_BY = "round trip"

_Stored = tuple[str, int | float | bytes | None]
"""(storage class, value); text as its bytes in the file's encoding, since it may not be valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualityOutcome:
    """What the comparison found.

    `rows` are the snapshot's rows in the tables compared. `total` counts every differing value, missing row and
    extra row; `differences` names the first of them.
    """

    tables: int
    rows: int
    differences: tuple[Difference, ...]
    total: int


def open_pair(snapshot: Path, rebuilt: Path) -> apsw.Connection:
    """A read-only connection whose `main` is the rebuilt file and whose `snapshot` is the snapshot.

    Raises:
        SourceError: one of them is missing, no database, or their text encodings differ.
    """
    snapshot, rebuilt = check_file(snapshot), check_file(rebuilt)
    with mapped_errors(rebuilt, "open"):
        connection = apsw.Connection(_uri(rebuilt, "mode=ro"), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        with mapped_errors(snapshot, "open"):
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            # The snapshot is ours and nobody writes it, so it can be read without locks.
            connection.execute("ATTACH ? AS snapshot", (_uri(snapshot, "immutable=1&mode=ro"),))
            connection.create_scalar_function(NEGATIVE_ZERO, _is_negative, 1, deterministic=True)
    except BaseException:
        connection.close()
        raise
    return connection


def compare_files(
    snapshot: Path,
    rebuilt: Path,
    tables: Sequence[Table],
    *,
    show_values: bool = False,
    named: int = NAMED_DIFFERENCES,
) -> EqualityOutcome:
    """Compare `tables` of both files, generated columns included.

    Args:
        snapshot: what the tables must hold.
        rebuilt: what was decoded from Postgres.
        tables: as read from the snapshot's schema; both files have them.
        show_values: put values into the differences instead of their class and size.
        named: how many differences to name at most.

    Raises:
        SourceError: a file cannot be read.
    """
    connection = open_pair(snapshot, rebuilt)
    try:
        with mapped_errors(snapshot, "compare the rebuilt file with"):
            encoding = str(_one(connection, "PRAGMA main.encoding")[0])
            comparison = _Comparison(connection, TEXT_CODEC[encoding], show_values, named)
            for table in tables:
                comparison.compare(table)
    finally:
        connection.close()
    return EqualityOutcome(
        tables=len(tables),
        rows=comparison.rows,
        differences=tuple(comparison.differences),
        total=comparison.total,
    )


class _Comparison:
    """Goes through the tables and collects."""

    def __init__(self, connection: apsw.Connection, text_codec: str, show_values: bool, named: int) -> None:
        self._connection = connection
        self._text_codec = text_codec
        self._show_values = show_values
        self._named = named
        self.rows = 0
        self.total = 0
        self.differences: list[Difference] = []

    def compare(self, table: Table) -> None:
        sql = KeyedSql(table) if usable_key(table) else None
        counts_of = sql or GroupedSql(table)
        in_snapshot, in_rebuilt = _one(self._connection, counts_of.counts())
        self.rows += in_snapshot
        if sql is None or not self._keyed(sql, in_snapshot, in_rebuilt):
            self._grouped(table)

    def _keyed(self, sql: KeyedSql, in_snapshot: int, in_rebuilt: int) -> bool:
        """Compare by key; False when the key does not identify rows after all.

        A key column may hold NULL (SQLite allows it in a PRIMARY KEY), and NULL joins nothing.
        """
        results = [_one(self._connection, query) for query in sql.changed_rows()]
        joined = results[0][0]
        missing, extra = in_snapshot - joined, in_rebuilt - joined
        if not missing and not extra and not any(changed for _, changed in results):
            return True
        if missing < 0 or extra < 0 or any(_one(self._connection, query)[0] for query in sql.null_keys()):
            return False
        self.total += missing + extra
        if missing:
            self._name_rows(sql, "missing row")
        if extra:
            self._name_rows(sql, "extra row")
        for (_, changed), columns in zip(results, sql.column_groups, strict=True):
            if not changed:
                continue
            per_column = _one(self._connection, sql.changed_values(columns))
            for column, count in zip(columns, per_column, strict=True):
                self.total += count
                if count:
                    self._name_values(sql, column)
        return True

    def _name_rows(self, sql: KeyedSql, kind: str) -> None:
        query = sql.missing_keys() if kind == "missing row" else sql.extra_keys()
        for row in self._connection.execute(query, (self._room(),)):
            key = self._key(sql, row)
            if kind == "missing row":
                self._add(Difference(kind="missing row", table=sql.table.name, key=key, found_by=_FOUND_BY))
            else:
                self._add(Difference(kind="extra row", table=sql.table.name, key=key, found_by=_FOUND_BY))

    def _name_values(self, sql: KeyedSql, column: str) -> None:
        for row in self._connection.execute(sql.values(column), (self._room(),)):
            source, target = _pairs(row[:4])
            self._add(
                Difference(
                    kind="changed row",
                    table=sql.table.name,
                    key=self._key(sql, row[4:]),
                    column=column,
                    source=self._shown(source),
                    target=self._shown(target),
                    first_differing_byte=_first_differing_byte(source, target),
                    found_by=_FOUND_BY,
                )
            )

    def _grouped(self, table: Table) -> None:
        """Compare as multisets of rows."""
        sql = GroupedSql(table)
        signed = [
            column
            for columns in sql.column_groups
            for column, holds in zip(columns, _one(self._connection, sql.zero_reals(columns)), strict=True)
            if holds
        ]
        missing, extra = _one(self._connection, sql.totals(signed))
        if not missing and not extra:
            return
        self.total += missing + extra
        for surplus, *values in self._connection.execute(sql.groups(signed), (self._room(),)):
            shown = ", ".join(
                f"{printable(column)}={self._shown(value)}"
                for column, value in zip(sql.shown_columns, _pairs(values), strict=True)
            )
            times = f" ({abs(surplus)} times)" if abs(surplus) > 1 else ""
            if surplus > 0:
                self._add(Difference(kind="missing row", table=table.name, source=shown + times, found_by=_FOUND_BY))
            else:
                self._add(Difference(kind="extra row", table=table.name, target=shown + times, found_by=_FOUND_BY))

    def _room(self) -> int:
        return max(0, min(NAMED_PER_COLUMN, self._named - len(self.differences)))

    def _add(self, difference: Difference) -> None:
        self.differences.append(difference)

    def _key(self, sql: KeyedSql, row: Sequence[object]) -> str:
        return ", ".join(
            f"{printable(column)}={self._text(value)}" for column, value in zip(sql.key, _pairs(row), strict=True)
        )

    def _shown(self, value: _Stored) -> str:
        return self._text(value) if self._show_values else mask_value(self._python(value))

    def _python(self, value: _Stored) -> object:
        storage, raw = value
        if storage == "text" and isinstance(raw, bytes):
            return raw.decode(self._text_codec, errors="replace")
        return raw

    def _text(self, value: _Stored) -> str:
        storage, raw = value
        if storage == "text" and isinstance(raw, bytes):
            text = printable(raw.decode(self._text_codec, errors="backslashreplace"))
        elif isinstance(raw, bytes):
            text = f"x'{raw[:SHOWN_CHARACTERS].hex()}'"
        else:
            text = "NULL" if raw is None else repr(raw)
        return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _pairs(row: Sequence[object]) -> list[_Stored]:
    return list(zip(row[::2], row[1::2], strict=True))  # type: ignore[arg-type]


def _first_differing_byte(source: _Stored, target: _Stored) -> int | None:
    """0-based offset within text or a blob; None for other classes, or when the classes differ."""
    if source[0] != target[0] or not isinstance(source[1], bytes) or not isinstance(target[1], bytes):
        return None
    source_bytes, target_bytes = source[1], target[1]
    block = 65536
    start = 0
    while start < len(source_bytes) and source_bytes[start : start + block] == target_bytes[start : start + block]:
        start += block
    for offset, (one, other) in enumerate(zip(source_bytes[start:], target_bytes[start:], strict=False), start):
        if one != other:
            return offset
    return min(len(source_bytes), len(target_bytes))


def _is_negative(*values: apsw.SQLiteValue) -> int:
    (value,) = values
    return int(isinstance(value, float) and math.copysign(1.0, value) < 0)


def _one(connection: apsw.Connection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - aggregates always have a row
    return tuple(row)


def _uri(path: Path, query: str) -> str:
    return f"file://{quote_from_bytes(os.fsencode(path))}?{query}"
