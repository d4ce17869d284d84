"""From a chunk that differs to the rows, columns and bytes that do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import apsw
import psycopg

from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Difference
from nasmigrate.postgres.copy_out import read_rows
from nasmigrate.postgres.digests import where_range
from nasmigrate.postgres.ledger import read_originals
from nasmigrate.schema.chunks import EncodedBatch, KeylessOriginals, RangeChunk, bucket_of
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.ledger import ChunkRow, bits_of
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import Fields, digest_of_fields, fields_of, key_of_fields
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.verify.digests import Mismatch, TableOutcome

LIMIT = 100
"""Differences named per table; the rest is counted."""


class Localiser:
    """Reads differing chunks from both sides and names what differs."""

    def __init__(
        self, source: apsw.Connection, target: psycopg.Connection, plan: Plan, *, show_values: bool = False
    ) -> None:
        self._source = source
        self._target = target
        self._plan = plan
        self._show_values = show_values

    def table(self, outcome: TableOutcome) -> tuple[list[Difference], int]:
        """The differences of one table, at most `LIMIT` of them, and how many there are in all."""
        table = self._plan.table(outcome.table)
        codecs = table.codecs()
        found: list[Difference] = []
        if table.mode == "range":
            for mismatch in outcome.mismatches:
                here = list(self._range(table, codecs, mismatch))
                found += here or [self._chunk(table, mismatch)]
        elif outcome.mismatches:
            found += list(self._buckets(table, codecs, outcome.mismatches))
            found = found or [self._chunk(table, mismatch) for mismatch in outcome.mismatches]
        return found[:LIMIT], len(found)

    def _chunk(self, table: PlanTable, mismatch: Mismatch) -> Difference:
        """Digests differ, the rows read again do not: say so rather than nothing."""
        return Difference(
            kind="chunk",
            table=table.name,
            key=f"chunk {mismatch.chunk.chunk}",
            column=", ".join(mismatch.columns or ()) or None,
            source=f"{mismatch.chunk.rows} rows",
            target=f"{mismatch.target_rows} rows",
            found_by="digests",
        )

    # -- chunks of a key range -------------------------------------------------------------------------------

    def _batches(self, table: PlanTable, codecs: list[Codec], bounds: KeyRange | None) -> Iterator[EncodedBatch]:
        return encoded_batches(self._source, table, codecs, encoding=self._plan.encoding, bounds=bounds)

    def _range(self, table: PlanTable, codecs: list[Codec], mismatch: Mismatch) -> Iterator[Difference]:
        chunk = mismatch.chunk
        making = RangeChunk(table, codecs, chunk.chunk)
        ours: dict[bytes, Fields] = {}
        for batch in self._batches(table, codecs, KeyRange(after=chunk.after, last=chunk.last)):
            making.add(batch)
            ours.update((key_of_fields(table, codecs, fields), fields) for fields in fields_of(batch))
        where = where_range(table, codecs, chunk.after, chunk.last)
        theirs: dict[bytes, Fields] = {}
        doubled: Counter[bytes] = Counter()
        for fields in read_rows(self._target, table, where=where):
            key = key_of_fields(table, codecs, fields)
            if key in theirs:
                doubled[key] += 1
            theirs[key] = fields
        for key, fields in ours.items():
            other = theirs.get(key)
            if other is None:
                yield self._row("missing row", table, codecs, fields)
            elif other != fields:
                yield from self._columns(table, codecs, fields, other)
        for key, fields in theirs.items():
            if key not in ours:
                yield self._row("extra row", table, codecs, fields)
            for _ in range(doubled[key]):
                yield self._row("extra row", table, codecs, fields)
        if mismatch.originals:
            yield from self._originals(table, chunk, {row.content for row in making.originals})

    def _row(self, kind: str, table: PlanTable, codecs: Sequence[Codec], fields: Fields) -> Difference:
        return Difference(
            kind="missing row" if kind == "missing row" else "extra row",
            table=table.name,
            key=key_text(table, codecs, fields),
        )

    def _columns(self, table: PlanTable, codecs: Sequence[Codec], ours: Fields, theirs: Fields) -> Iterator[Difference]:
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            if left != right:
                yield Difference(
                    kind="changed row",
                    table=table.name,
                    key=key_text(table, codecs, ours),
                    column=table.columns[index].name,
                    source=self._value(codecs[index], left),
                    target=self._value(codecs[index], right),
                    first_differing_byte=first_difference(left, right),
                )

    def _value(self, codec: Codec, raw: bytes | None) -> str:
        if raw is None:
            return "NULL"
        try:
            value = codec.decode_one(raw)
        except ValueError:
            return f"outside the codec ({len(raw)} bytes)" if not self._show_values else f"0x{raw.hex()}"
        return repr(value) if self._show_values else mask_value(value)

    def _originals(
        self, table: PlanTable, chunk: ChunkRow, ours: set[tuple[bytes, int, str, str, bytes]]
    ) -> Iterator[Difference]:
        theirs = set(read_originals(self._target, table.name, chunk.chunk))
        for key, _, column, storage, _ in sorted(ours ^ theirs):
            kept = (key, column) in {(other[0], other[2]) for other in theirs}
            yield Difference(
                kind="originals",
                table=table.name,
                key=key.hex(),
                column=column,
                source=f"{storage} original",
                target="another original" if kept else "no original",
                found_by="originals",
            )

    # -- tables without a range key --------------------------------------------------------------------------

    def _buckets(self, table: PlanTable, codecs: list[Codec], mismatches: Sequence[Mismatch]) -> Iterator[Difference]:
        """Rows by digest: only in the source, only in the target; paired by key where there is one."""
        bits = bits_of([mismatch.chunk for mismatch in mismatches])
        buckets = {mismatch.chunk.chunk for mismatch in mismatches}
        ours: Counter[bytes] = Counter()
        rows: dict[bytes, Fields] = {}
        kept = KeylessOriginals(table, bits)
        for batch in self._batches(table, codecs, None):
            taken_apart = list(fields_of(batch))
            digests = list(map(digest_of_fields, taken_apart))
            kept.add(batch, digests)
            for digest, fields in zip(digests, taken_apart, strict=True):
                if bucket_of(digest, bits) in buckets:
                    ours[digest] += 1
                    rows[digest] = fields
        theirs: Counter[bytes] = Counter()
        for fields in read_rows(self._target, table):
            digest = digest_of_fields(fields)
            if bucket_of(digest, bits) in buckets:
                theirs[digest] += 1
                rows.setdefault(digest, fields)
        missing = [rows[digest] for digest in (ours - theirs).elements()]
        extra = [rows[digest] for digest in (theirs - ours).elements()]
        if table.key:
            by_key = {key_of_fields(table, codecs, fields): fields for fields in extra}
            for fields in list(missing):
                other = by_key.pop(key_of_fields(table, codecs, fields), None)
                if other is not None:
                    missing.remove(fields)
                    extra.remove(other)
                    yield from self._columns(table, codecs, fields, other)
        for fields in missing:
            yield self._row("missing row", table, codecs, fields)
        for fields in extra:
            yield self._row("extra row", table, codecs, fields)
        for mismatch in mismatches:
            if mismatch.originals:
                mine = {row.content for row in kept.rows if row.chunk == mismatch.chunk.chunk}
                yield from self._originals(table, mismatch.chunk, mine)


def key_text(table: PlanTable, codecs: Sequence[Codec], fields: Fields) -> str:
    """A row's key in words; without a key, the beginning of its digest."""
    if not table.key:
        return f"row digest {digest_of_fields(fields).hex()[:16]}"
    parts = []
    for index in table.key_indices:
        field = fields[index]
        value = None if field is None else codecs[index].decode_one(field)
        parts.append(f"{table.columns[index].name}={value if isinstance(value, str) else repr(value)}")
    return ", ".join(parts)


def first_difference(left: bytes | None, right: bytes | None) -> int | None:
    """Index of the first byte that differs; None when one side is NULL."""
    if left is None or right is None:
        return None
    for index, (ours, theirs) in enumerate(zip(left, right, strict=False)):
        if ours != theirs:
            return index
    return min(len(left), len(right))


__all__ = ["LIMIT", "Localiser", "first_difference", "key_text"]
