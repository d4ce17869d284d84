"""The difference of two sides of a table, row by row: what makes `present` equal to `wanted`.

It has no direction. For a catch-up `wanted` is SQLite and `present` Postgres; on the way home it is the other way
round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nasmigrate.schema.changes import TableChanges
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import HEADER, TRAILER, parse
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, key_of_fields, row_of_fields


def diff_range(
    table: PlanTable,
    codecs: Sequence[Codec],
    present: Iterable[bytes],
    wanted: Iterable[bytes],
    changes: TableChanges,
    ignored: frozenset[int] = frozenset(),
) -> None:
    """Compare one part of a key space and add what differs to `changes`.

    Most rows are equal, and to see that of one costs a look-up of its bytes; only the others are taken apart.

    Args:
        table: with a range key.
        codecs: one per column.
        present: raw rows as they are on the side to be changed; the key is unique among them.
        wanted: raw rows as they shall be, each exactly one row.
        changes: of this table.
        ignored: positions of columns that are not compared.
    """
    missing = dict.fromkeys(wanted)
    extra: dict[bytes, Fields] = {}
    for raw in present:
        if raw in missing:
            del missing[raw]
            continue
        # Pieces that are no single row are rows again here.
        for fields in parse((HEADER, raw, TRAILER)):
            row = row_of_fields(fields)
            if row in missing:
                del missing[row]
            else:
                extra[key_of_fields(table, codecs, fields)] = fields
    for raw in missing:
        (fields,) = parse((HEADER, raw, TRAILER))
        before = extra.pop(key_of_fields(table, codecs, fields), None)
        if before is None:
            changes.inserted.add(raw)
        elif not _same(before, fields, ignored):
            changes.updated.add(raw)
    for fields in extra.values():
        changes.deleted.add(row_of_fields(fields))


def _same(before: Fields, after: Fields, ignored: frozenset[int]) -> bool:
    if not ignored:
        return before == after
    return all(before[i] == after[i] for i in range(len(before)) if i not in ignored)
