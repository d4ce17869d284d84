"""The difference of two sides of a part of a key space, row by row: what makes `present` equal to `wanted`.

It has no direction. For a catch-up `wanted` is SQLite and `present` Postgres; on the way home it is the other way
round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.copy_format import parse_rows
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, key_of_fields, row_of_fields


@dataclass(slots=True, kw_only=True)
class RowDifference:
    """Rows to insert, pairs (as it is, as it shall be) of rows to update, rows to delete."""

    inserted: list[Fields] = field(default_factory=list)
    updated: list[tuple[Fields, Fields]] = field(default_factory=list)
    deleted: list[Fields] = field(default_factory=list)


def diff_rows(
    table: PlanTable, codecs: Sequence[Codec], present: Iterable[bytes], wanted: Iterable[bytes]
) -> RowDifference:
    """Compare rows of a table with a range key.

    Most rows are equal, and to see that of one costs a look-up of its bytes; only the others are taken apart.

    Args:
        table: names the key.
        codecs: one per column.
        present: raw rows (as binary COPY writes them) on the side to be changed; the key is unique among them.
        wanted: raw rows as they shall be.

    A piece of either may hold more than one row; that only costs time.
    """
    missing = dict.fromkeys(wanted)
    extra: dict[bytes, Fields] = {}
    for raw in present:
        if raw in missing:
            del missing[raw]
            continue
        for fields in parse_rows(raw):
            row = row_of_fields(fields)
            if row in missing:
                del missing[row]
            else:
                extra[key_of_fields(table, codecs, fields)] = fields
    found = RowDifference()
    for raw in missing:
        for fields in parse_rows(raw):
            before = extra.pop(key_of_fields(table, codecs, fields), None)
            if before is None:
                found.inserted.append(fields)
            elif before != fields:
                found.updated.append((before, fields))
    found.deleted.extend(extra.values())
    return found
