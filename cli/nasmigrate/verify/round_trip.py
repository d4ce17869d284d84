"""The round trip: Postgres decoded into a new SQLite file, and that file compared with the snapshot.

The digests trust the reader and the encoders of the source side. This proof does not: it goes the other way, through
the codecs' inverses and the originals, and compares by SQL inside SQLite. What it cannot see: an original
stands for its value whatever Postgres holds there, and generated columns are computed anew by SQLite instead of
being read from Postgres; the digests cover both.
"""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import psycopg

from nasmigrate.core.result import Difference, Gate
from nasmigrate.postgres.copy_out import read_rows
from nasmigrate.schema.codecs import SqliteValue, from_exact
from nasmigrate.schema.digest import row_digest
from nasmigrate.schema.model import SourceSchema, StorageClass, Table
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import encoded
from nasmigrate.sqlite.equality import NAMED_DIFFERENCES, EqualityOutcome, compare_files
from nasmigrate.sqlite.write_back import RowRefused, SqliteWriter
from nasmigrate.verify.decode_many import Raw, column_decoder

GATE = "round-trip"
BATCH_ROWS = 2000
BATCH_BYTES = 8 * 1024 * 1024
_MEASURED = 16

StoredOriginal = tuple[int, StorageClass, bytes]
"""(ordinal, storage class, exact bytes). The ordinal is 0 in tables with a key."""

Originals = Mapping[tuple[bytes, str], Sequence[StoredOriginal]]
"""Originals of one table by (row, column name).

The row is named by its key bytes (`schema.digest.key_of`), one original per entry. In a multiset table it is named by
its row digest (`schema.digest.row_digest`), and equal rows are told apart by the ordinal: what has the same
ordinal belongs to the same row, and rows take the ordinals in ascending order. Which of several equal rows takes
which does not matter, since nothing else tells them apart.
"""

RowsAside = Callable[[PlanTable], Iterable[Sequence[SqliteValue]]]
OriginalsOf = Callable[[PlanTable], Originals]
Progress = Callable[[str, int], None]
"""Called with a table's name and the rows of it done so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTripOutcome:
    """What the round trip found. `rows` are the snapshot's rows compared; `total` counts all differences."""

    gate: Gate
    differences: tuple[Difference, ...]
    total: int
    rows: int
    seconds: float


def round_trip(
    connection: psycopg.Connection,
    plan: Plan,
    schema: SourceSchema,
    snapshot: Path,
    workdir: Path,
    *,
    originals: OriginalsOf,
    aside: RowsAside = lambda table: (),
    written_since: bool = False,
    show_values: bool = False,
    progress: Progress | None = None,
) -> RoundTripOutcome:
    """Rebuild every table of the plan from Postgres and compare it with the snapshot.

    The rebuilt file needs as much space in `workdir` as the snapshot has, and is removed at the end.

    Args:
        connection: whose transaction decides what is seen; REPEATABLE READ for one moment over all tables.
        plan: tables, columns and codecs.
        schema: of the snapshot.
        snapshot: the file the tables were read from.
        workdir: private directory for the rebuilt file.
        originals: the originals of a table; see `Originals`.
        written_since: the application has written to Postgres since the originals were made, so one of them counts only
            where Postgres still holds its encoding, as on the way home.
        aside: the rows of a table that were set aside, without the values of generated columns.
        show_values: put values into the differences instead of their class and size.
        progress: called after each batch.

    Raises:
        psycopg.Error: Postgres failed.
        SourceError: SQLite failed.
    """
    started = time.perf_counter()
    rebuilt = workdir / "round-trip.db"
    _remove(rebuilt)
    found: list[Difference] = []
    comparable: list[Table] = []
    unnamed = 0
    try:
        with SqliteWriter(rebuilt, encoding=schema.encoding, schema=schema) as writer:
            for table in plan.tables:
                evidence = plan.evidence.get(table.name)
                restoring = _Restoring(table, originals(table), written_since=written_since)
                with closing(read_rows(connection, table)) as raws:
                    batches = _batches(raws, evidence.max_row_bytes if evidence else 0)
                    try:
                        decoded = _decoded(table, batches, restoring, progress)
                        writer.insert(table, chain(decoded, _completed(table, aside(table))))
                    except RowRefused as refused:
                        found.append(_refused(table, refused))
                        # Read to the end: breaking a COPY off cancels it, and the caller's transaction with it.
                        for _ in raws:
                            pass
                        continue
                comparable.append(schema.table(table.name))
                orphans = restoring.unused()
                unnamed += len(orphans[NAMED_DIFFERENCES:])
                found.extend(orphans[:NAMED_DIFFERENCES])
        outcome = EqualityOutcome(tables=0, rows=0, differences=(), total=0)
        if comparable:
            named = max(0, NAMED_DIFFERENCES - len(found))
            outcome = compare_files(snapshot, rebuilt, comparable, show_values=show_values, named=named)
    finally:
        _remove(rebuilt)
    seconds = time.perf_counter() - started
    total = outcome.total + len(found) + unnamed
    return RoundTripOutcome(
        gate=_gate(len(comparable), outcome.rows, total, seconds),
        differences=(*found, *outcome.differences)[:NAMED_DIFFERENCES],
        total=total,
        rows=outcome.rows,
        seconds=seconds,
    )


def _gate(tables: int, rows: int, differences: int, seconds: float) -> Gate:
    """Nothing compared proves nothing: 0 tables or 0 rows are inconclusive, unless something differs."""
    if differences:
        detail = f"{differences} differences in {rows} rows of {tables} tables"
        return Gate(name=GATE, status="fail", detail=detail, checked=rows, seconds=seconds)
    if not rows:
        detail = f"nothing to compare: {tables} tables, 0 rows"
        return Gate(name=GATE, status="inconclusive", detail=detail, checked=0, seconds=seconds)
    detail = f"{rows:,} rows of {tables} tables came back exactly"
    return Gate(name=GATE, status="pass", detail=detail, checked=rows, seconds=seconds)


def _refused(table: PlanTable, refused: RowRefused) -> Difference:
    return Difference(kind="object", table=table.name, object=table.name, target=refused.message, found_by="round trip")


def _batches(rows: Iterator[list[Raw]], max_row_bytes: int) -> Iterator[list[list[Raw]]]:
    """Rows in batches bounded in number and, by the largest row known or met, in bytes.

    Only some rows of a batch are measured: measuring each would cost more than it saves.
    """
    limit = min(BATCH_ROWS, max(1, BATCH_BYTES // max_row_bytes)) if max_row_bytes else 16
    while batch := list(islice(rows, limit)):
        yield batch
        largest = max(map(_row_bytes, batch[::_MEASURED]))
        limit = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, largest)), limit * 4)


def _row_bytes(row: list[Raw]) -> int:
    return sum(map(len, filter(None, row)))


def _decoded(
    table: PlanTable,
    batches: Iterator[list[list[Raw]]],
    restoring: _Restoring,
    progress: Progress | None,
) -> Iterator[Sequence[SqliteValue]]:
    decoders = [column_decoder(codec) for codec in table.codecs()]
    done = 0
    for batch in batches:
        columns = [decode(column) for decode, column in zip(decoders, zip(*batch, strict=True), strict=True)]
        restoring.put_back(batch, columns)
        yield from zip(*columns, strict=True)
        done += len(batch)
        if progress is not None:
            progress(table.name, done)


def _completed(table: PlanTable, rows: Iterable[Sequence[SqliteValue]]) -> Iterator[Sequence[SqliteValue]]:
    """Rows with a NULL in the place of each generated column, which SQLite computes."""
    for row in rows:
        values = iter(row)
        yield [None if column.generated is not None else next(values) for column in table.columns]


class _Restoring:
    """Puts the originals of one table in the place of decoded values."""

    def __init__(self, table: PlanTable, originals: Originals, *, written_since: bool) -> None:
        self._table = table
        self._written_since = written_since
        self._codecs = table.codecs()
        self._index = {column.name: i for i, column in enumerate(table.columns)}
        self._key = [] if table.mode == "multiset" else list(table.key_indices)
        self._widths = [codec.width for codec in self._codecs]
        # By row: one dictionary of (column -> value) per ordinal, those still to be given away, in order.
        waiting: dict[bytes, dict[int, dict[str, SqliteValue]]] = defaultdict(dict)
        for (row, column), entries in originals.items():
            for ordinal, storage, value in entries:
                waiting[row].setdefault(ordinal, {})[column] = from_exact(storage, value)
        self._waiting = {
            row: [values for _, values in sorted(by_ordinal.items(), key=lambda item: item[0], reverse=True)]
            for row, by_ordinal in waiting.items()
        }

    def put_back(self, batch: Sequence[Sequence[Raw]], columns: list[list[SqliteValue]]) -> None:
        """Replace values of a decoded batch in place."""
        if not self._waiting:
            return
        for position, row in enumerate(batch):
            waiting = self._waiting.get(self._name(row))
            if waiting:
                for column, value in waiting.pop().items():
                    index = self._index[column]
                    if not self._written_since or encoded(self._codecs[index], [value]) == [row[index]]:
                        columns[index][position] = value

    def unused(self) -> list[Difference]:
        """One difference per original whose row Postgres does not hold; the application may have deleted it since."""
        if self._written_since:
            return []
        return [
            Difference(
                kind="originals",
                table=self._table.name,
                key=row.hex(),
                column=column,
                source="an original",
                target="no row it belongs to",
                found_by="round trip",
            )
            for row, waiting in self._waiting.items()
            for values in waiting
            for column in values
        ]

    def _name(self, row: Sequence[Raw]) -> bytes:
        if self._key:
            return b"".join(self._key_part(index, row[index]) for index in self._key)
        fields = (b"\xff\xff\xff\xff" if raw is None else struct.pack(">i", len(raw)) + raw for raw in row)
        return row_digest(b"".join(chain((struct.pack(">h", len(row)),), fields)))

    def _key_part(self, index: int, raw: Raw) -> bytes:
        if raw is None:
            return b""
        return raw if self._widths[index] is not None else struct.pack(">i", len(raw)) + raw


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
