"""What would make SQLite equal to Postgres: target counts and digests against the ledger, then the chunks that differ.

These are compared row by row.

Columns that SQLite computes are neither compared nor written: it computes them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path

import apsw
import psycopg

from nasmigrate.postgres.copy_out import read_raw_rows
from nasmigrate.postgres.digests import (
    bucket_condition,
    bucket_digests,
    bucket_rows,
    count_rows,
    range_digest,
    where_range,
)
from nasmigrate.postgres.ledger import read_originals
from nasmigrate.schema.chunks import Buckets, Limits, bucket_of
from nasmigrate.schema.codecs import Codec, SqliteValue, from_exact
from nasmigrate.schema.copy_format import assemble_rows, parse_rows
from nasmigrate.schema.digest import ChunkDigest, row_digest
from nasmigrate.schema.home import HomeChanges
from nasmigrate.schema.ledger import ChunkRow, Key, bits_of, is_pending, pending
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import Fields, digest_of_fields, key_of_fields, row_of_fields
from nasmigrate.sqlite.read import KeyRange, Selection, read
from nasmigrate.verify.diff import diff_rows
from nasmigrate.verify.homeward import Homeward, kept_originals
from nasmigrate.verify.same_rows import SameRows, Stored, mark
from nasmigrate.verify.source_side import source_batches
from nasmigrate.verify.table_home import (
    Present,
    TableHome,
    Told,
    add_difference,
    add_inserts,
    add_same_rows,
    add_updates,
    going_home,
    homeward_of,
    same_rows,
    table_home,
)


class FromTarget:
    """Reads both sides on one connection each.

    Args:
        target: in a transaction that sees one moment; busy while a table is compared.
        source: the file, with what was brought home before.
        plan: tables and codecs.
        schema: of the file.
        limits: beyond which a chunk is split.
        workdir: where row digests may spill.
    """

    def __init__(
        self,
        target: psycopg.Connection,
        source: apsw.Connection,
        plan: Plan,
        schema: SourceSchema,
        limits: Limits,
        workdir: Path,
    ) -> None:
        self._target = target
        self._source = source
        self._plan = plan
        self._schema = schema
        self._limits = limits
        self._workdir = workdir

    def table(self, name: str, ledger: Sequence[ChunkRow]) -> TableHome | None:
        """What makes one table of SQLite equal to Postgres; None when nothing differs from the ledger.

        Args:
            name: of the table.
            ledger: its chunks as they were when both sides were equal; at least one.
        """
        whole = self._plan.table(name)
        table = going_home(whole)
        home = table_home(self._schema, table)
        with same_rows(self._target, table) as same:
            if table.mode == "multiset":
                found = self._buckets(table, ledger, home, same, comparable=table is whole)
            else:
                found = self._ranges(whole, table, ledger, home, same)
        return home if found else None

    # -- tables with a range key -----------------------------------------------------------------------------

    def _ranges(
        self, whole: PlanTable, table: PlanTable, ledger: Sequence[ChunkRow], home: TableHome, same: SameRows | None
    ) -> bool:
        codecs = table.codecs()
        changed = [chunk for chunk in ledger if self._differs(whole, table, codecs, chunk)]
        if not changed:
            return False
        home.before = tuple(changed)
        home.told = Told(count=count_rows(self._target, table))
        numbers = count(max(chunk.chunk for chunk in ledger) + 1)
        for chunk in changed:
            self._range(table, codecs, chunk, numbers, home, home.told, same)
        if same is not None:
            home.outside += add_same_rows(
                table, same, home.changes, lambda rows: homeward_of(self._target, table, codecs, rows)
            )
        return True

    def _differs(self, whole: PlanTable, table: PlanTable, codecs: list[Codec], chunk: ChunkRow) -> bool:
        """Whether Postgres holds something else in a chunk than the ledger says, or may: its rows are compared then.

        To count them takes a fraction of the time of a digest.
        """
        if is_pending(chunk):
            return True
        where = where_range(table, codecs, chunk.after, chunk.last)
        if count_rows(self._target, table, where) != chunk.rows:
            return True
        known = ChunkDigest(rows=chunk.rows, digests=home_digests(whole, table, chunk))
        return known != range_digest(self._target, table, codecs, chunk.after, chunk.last)

    def _range(
        self,
        table: PlanTable,
        codecs: list[Codec],
        chunk: ChunkRow,
        numbers: Iterator[int],
        home: TableHome,
        told: Told,
        same: SameRows | None,
    ) -> None:
        """Compare one chunk, in pieces where it outgrew its size in Postgres."""
        homeward = Homeward(table, kept_originals(read_originals(self._target, table.name, chunk.chunk)))
        rows = read_raw_rows(self._target, table, where=where_range(table, codecs, chunk.after, chunk.last))
        number, after = chunk.chunk, chunk.after
        with closing(rows):
            for wanted, ended in self._pieces(rows):
                last = chunk.last if ended else _last_key(table, codecs, wanted)
                batches = source_batches(self._source, self._plan, table, codecs, KeyRange(after=after, last=last))
                present = Present(table, batches)
                found = diff_rows(table, codecs, present, wanted)
                add_difference(table, homeward, found, home.changes, same, present)
                for fields in (*found.inserted, *(fields for _, fields in found.updated)):
                    told.rows.add(row_of_fields(fields))
                piece = replace(chunk, chunk=number, after=after, last=last)
                home.after.append(pending(piece, len(wanted)))
                if not ended:
                    number, after = next(numbers), last
        home.outside += homeward.outside

    def _pieces(self, rows: Iterator[bytes]) -> Iterator[tuple[list[bytes], bool]]:
        """Rows in chunks of the usual size, and whether it is the last one, which may be empty."""
        piece: list[bytes] = []
        size = 0
        for row in rows:
            if len(piece) >= self._limits.chunk_rows or size >= self._limits.chunk_bytes:
                yield piece, False
                piece, size = [], 0
            piece.append(row)
            size += len(row)
        yield piece, True

    # -- tables without one ----------------------------------------------------------------------------------

    def _buckets(
        self,
        table: PlanTable,
        ledger: Sequence[ChunkRow],
        home: TableHome,
        same: SameRows | None,
        *,
        comparable: bool,
    ) -> bool:
        """Compare buckets by their row digests; only rows that differ are read whole.

        `comparable` says that the ledger's digests are over the columns that go home.
        """
        codecs = table.codecs()
        bits = bits_of(ledger)
        now = bucket_digests(self._target, table, codecs, bits)
        known = {chunk.chunk: chunk for chunk in ledger}
        if comparable and not _changed_buckets(known, now):
            return False
        missing: Counter[bytes] = Counter()
        extra: Counter[bytes] = Counter()
        with Buckets(table, bits, self._workdir) as buckets:
            for batch in source_batches(self._source, self._plan, table, codecs):
                buckets.add(batch)
            known = {chunk.chunk: chunk for chunk in buckets.finish()[0]}
            changed = _changed_buckets(known, now)
            if not changed:
                return False
            rows = bucket_rows(self._target, table, codecs, bits, changed)
            theirs = {b: Counter(digests) for b, digests in groupby(rows, lambda digest: bucket_of(digest, bits))}
            for bucket in changed:
                ours = Counter(buckets.row_digests(bucket))
                missing += theirs.get(bucket, Counter()) - ours
                extra += ours - theirs.get(bucket, Counter())
        home.before = tuple(chunk for chunk in ledger if chunk.chunk in set(changed))
        home.buckets = {bucket: now.get(bucket, ChunkDigest(rows=0, digests=())) for bucket in changed}
        self._move(table, codecs, extra, self._wanted(table, codecs, bits, changed, missing), home, same)
        return True

    def _wanted(
        self, table: PlanTable, codecs: list[Codec], bits: int, buckets: Sequence[int], missing: Counter[bytes]
    ) -> list[Fields]:
        """The rows that Postgres has and SQLite has not."""
        found = []
        condition = bucket_condition(table, codecs, bits, buckets)
        for raw in read_raw_rows(self._target, table, where=condition):
            for fields in parse_rows(raw):
                digest = digest_of_fields(fields)
                if missing.get(digest):
                    missing[digest] -= 1
                    found.append(fields)
        return found

    def _move(
        self,
        table: PlanTable,
        codecs: list[Codec],
        extra: Counter[bytes],
        wanted: list[Fields],
        home: TableHome,
        same: SameRows | None,
    ) -> None:
        """Delete rows of SQLite that Postgres has not, and insert the others; rows of one key are updated."""
        homeward = Homeward(table, {})
        changes = home.changes
        by_key = {key_of_fields(table, codecs, fields): fields for fields in wanted} if table.key else {}
        pairs: list[tuple[Key, Fields, Fields]] = []
        gone = Counter(extra)
        alike: dict[bytes, tuple[Fields, list[Stored]]] = {}
        for place, row, stored in self._placed(table, codecs, changes):
            digest = row_digest(row)
            if digest not in gone:
                continue
            if same is not None and not table.key:
                alike.setdefault(digest, (_fields(row), []))[1].append(stored)
            if not extra[digest]:
                continue
            extra[digest] -= 1
            fields = _fields(row)
            after = by_key.pop(key_of_fields(table, codecs, fields), None) if table.key else None
            if after is None:
                changes.deleted.add(place)
                if same is not None:
                    same.went(fields, stored)
            elif same is None or not same.may_be_another(place, fields, stored, after):
                pairs.append((place, fields, after))
        for digest, (fields, held) in alike.items():
            if gone[digest] < len(held):
                _doubt_which(homeward, fields, held)
        add_updates(table, homeward, pairs, changes)
        inserted = list(by_key.values()) if table.key else wanted
        if same is None:
            add_inserts(table, homeward, inserted, changes)
        else:
            for fields in inserted:
                same.came(fields)
            home.outside += add_same_rows(table, same, changes, lambda _: Homeward(table, {}))
        home.outside += homeward.outside

    def _placed(
        self, table: PlanTable, codecs: list[Codec], changes: HomeChanges
    ) -> Iterator[tuple[Key, bytes, Stored]]:
        """Each row of SQLite, raw, with the values that locate it, and what it holds as originals."""
        names = tuple(column.name for column in table.columns)
        width = len(changes.place)
        selection = Selection(
            table=table.name,
            columns=(*changes.place, *names),
            raw_text=frozenset(column.name for column in table.columns if column.raw_text),
            encoding=self._plan.encoding,
            rowid=changes.rowid,
        )
        for batch in read(self._source, selection):
            columns = list(zip(*batch, strict=True))
            encoded = [codec.encode(column) for codec, column in zip(codecs, columns[width:], strict=True)]
            stored: dict[int, dict[int, SqliteValue]] = {}
            for index, column in enumerate(encoded):
                for original in column.originals:
                    stored.setdefault(original.row, {})[index] = from_exact(original.storage_class, original.value)
            for number, (row, raw) in enumerate(zip(batch, assemble_rows(encoded), strict=True)):
                yield row[:width], raw, stored.get(number, {})


def _fields(row: bytes) -> Fields:
    (fields,) = parse_rows(row)
    return fields


def _doubt_which(homeward: Homeward, fields: Fields, held: Sequence[Stored]) -> None:
    """Of rows that are one to Postgres some went: if SQLite tells them apart, nobody knows which."""
    for column in {column for stored in held for column in stored}:
        marks = {mark(stored, column) for stored in held}
        if len(marks) > 1:
            homeward.doubt(column, fields, marks)


def home_digests(whole: PlanTable, table: PlanTable, chunk: ChunkRow) -> tuple[bytes, ...]:
    """The digests of the columns that go home; a bucket recorded on the way home has no others."""
    if len(chunk.digests) == len(table.columns):
        return chunk.digests
    kept = {column.name for column in table.columns}
    return tuple(digest for column, digest in zip(whole.columns, chunk.digests, strict=True) if column.name in kept)


def _changed_buckets(known: Mapping[int, ChunkRow], now: Mapping[int, ChunkDigest]) -> list[int]:
    """Buckets whose rows are not the same; one without rows may be left out."""
    changed = []
    for bucket in sorted(known.keys() | now.keys()):
        ours = (known[bucket].rows, known[bucket].digests) if bucket in known else (0, ())
        theirs = (now[bucket].rows, now[bucket].digests) if bucket in now else (0, ())
        if ours != theirs and (ours[0] or theirs[0]):
            changed.append(bucket)
    return changed


def _last_key(table: PlanTable, codecs: Sequence[Codec], rows: Sequence[bytes]) -> Key:
    *_, fields = parse_rows(rows[-1])
    raws = ((codecs[index], fields[index]) for index in table.key_indices)
    return tuple(None if raw is None else codec.decode_one(raw) for codec, raw in raws)
