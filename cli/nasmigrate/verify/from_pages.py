"""What would make Postgres equal to a newer snapshot, when it is equal to an older one: only changed pages are read.

The rows on them are read from both snapshots and compared; nothing of Postgres is read. The chunks they are in become
pending: their digests are not made, for that would take a reading of the whole chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw

from nasmigrate.schema.changes import TableChanges
from nasmigrate.schema.chunks import originals_of
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.ledger import ChunkRow, ChunksByKey, Key, OriginalRow, pending
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import key_of_bytes, key_of_fields, row_of_fields
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.page_file import RowidRange
from nasmigrate.sqlite.pages import changed_rows, read_roots
from nasmigrate.sqlite.read import RowidRanges
from nasmigrate.verify.diff import RowDifference, diff_rows
from nasmigrate.verify.source_side import source_batches

_ROWIDS = ("rowid", "_rowid_", "oid")


def compare_pages(plan: Plan, before: Path, after: Path) -> dict[str, tuple[RowidRange, ...] | None]:
    """For each table of the plan the rowids outside which two snapshots of one file hold the same rows.

    None: read the table, the pages do not tell; or it has no range key, and so no rows that could be told apart.
    """
    with closing(open_snapshot(before)) as older, closing(open_snapshot(after)) as newer:
        found = changed_rows(before, after, read_roots(older), read_roots(newer))
    told = {}
    for table in plan.tables:
        ranges = found.get(table.name)
        told[table.name] = None if ranges and (table.mode == "multiset" or not _word(table)) else ranges
    return told


def changes_of_pages(
    plan: Plan,
    before: apsw.Connection,
    after: apsw.Connection,
    ranges: Mapping[str, tuple[RowidRange, ...]],
    ledger: Mapping[str, Sequence[ChunkRow]],
) -> list[TableChanges]:
    """The changes within ranges of rowids; tables without any are left out.

    Args:
        plan: tables and codecs.
        before: the snapshot that Postgres is equal to.
        after: the newer one.
        ranges: of tables with a range key, as `compare_pages` told them.
        ledger: all chunks of these tables.

    Raises:
        TransferError: a value does not fit its codec.
    """
    found = []
    for name, these in ranges.items():
        if not these:
            continue
        table = plan.table(name)
        codecs = table.codecs()
        bounds = RowidRanges(ranges=these, word=_word(table) or "rowid")
        present, old = _read(before, plan, table, codecs, bounds)
        wanted, new = _read(after, plan, table, codecs, bounds)
        change = TableChanges(table=name, partial=True)
        _fill(change, table, codecs, diff_rows(table, codecs, present, wanted), ChunksByKey(ledger[name]), old, new)
        if change.before:
            found.append(change)
        else:
            change.close()
    return found


def _word(table: PlanTable) -> str | None:
    """A word for the rowid that no column of the table has; None when there is none."""
    taken = {column.name.lower() for column in table.columns}
    return next((word for word in _ROWIDS if word not in taken), None)


def _read(
    connection: apsw.Connection, plan: Plan, table: PlanTable, codecs: list[Codec], bounds: RowidRanges
) -> tuple[list[bytes], dict[tuple[bytes, str], OriginalRow]]:
    rows: list[bytes] = []
    originals: dict[tuple[bytes, str], OriginalRow] = {}
    for batch in source_batches(connection, plan, table, codecs, bounds):
        rows += assemble_rows(batch.columns)
        originals |= {(row.key, row.column): row for row in originals_of(table, batch, 0)}
    return rows, originals


def _fill(
    change: TableChanges,
    table: PlanTable,
    codecs: list[Codec],
    rows: RowDifference,
    chunks: ChunksByKey,
    old: Mapping[tuple[bytes, str], OriginalRow],
    new: Mapping[tuple[bytes, str], OriginalRow],
) -> None:
    """Rows and originals that differ, and the chunks they are in."""
    more: Counter[int] = Counter()
    touched: dict[int, ChunkRow] = {}

    def chunk_of(key: Key) -> int:
        chunk = chunks[key]
        touched[chunk.chunk] = chunk
        return chunk.chunk

    for fields in rows.deleted:
        change.deleted.add(row_of_fields(fields))
        more[chunk_of(key_of_bytes(table, codecs, key_of_fields(table, codecs, fields)))] -= 1
    for _, fields in rows.updated:
        change.updated.add(row_of_fields(fields))
        chunk_of(key_of_bytes(table, codecs, key_of_fields(table, codecs, fields)))
    for fields in rows.inserted:
        change.inserted.add(row_of_fields(fields))
        more[chunk_of(key_of_bytes(table, codecs, key_of_fields(table, codecs, fields)))] += 1

    def filed(row: OriginalRow) -> OriginalRow:
        return replace(row, chunk=chunk_of(key_of_bytes(table, codecs, row.key)))

    change.originals_gone = [filed(row) for name, row in old.items() if new.get(name) != row]
    change.originals = [filed(row) for name, row in new.items() if old.get(name) != row]
    change.before = tuple(touched.values())
    change.after = tuple(pending(chunk, chunk.rows + more[number]) for number, chunk in touched.items())
