"""Indexes over values that are too long for one: an entry of a B-tree takes a third of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nasmigrate.schema.expressions import columns_of
from nasmigrate.schema.model import Index, Table
from nasmigrate.schema.plan import PlanIndexTerm
from nasmigrate.schema.planning.draft import Draft

ENTRY_BYTES = 2704
"""BTMaxItemSize of version 4 for pages of 8 KiB (access/nbtree.h)."""
_ENTRY_HEADER = 8
_HASHES = {"text": "md5({})", "bytea": "sha256({})"}
"""Immutable functions; sha256 of text would take a conversion that is not."""


def entry_bytes(draft: Draft, table: Table, columns: Iterable[str]) -> int:
    """The most that an entry over these columns may take, if nothing of it can be compressed."""
    total = _ENTRY_HEADER
    for name in columns:
        codec = draft.codecs[table.name, name]
        total += codec.width if codec.width is not None else draft.profile(table, name).max_bytes + 4
    return total


def is_too_wide(draft: Draft, table: Table, index: Index) -> bool:
    """Whether an entry of the index may be larger than Postgres takes."""
    return entry_bytes(draft, table, _columns(draft, table, index)) > ENTRY_BYTES


def hashed_terms(
    draft: Draft, table: Table, index: Index, terms: Sequence[PlanIndexTerm], *, name: str
) -> tuple[PlanIndexTerm, ...] | None:
    """The terms that stand for those of an index too wide, called `name`; None when it is left out. A finding says so.

    A unique index goes on refusing what it refused, by hashes of its values; one that is only there to be fast is
    of no use that way.
    """
    size = entry_bytes(draft, table, _columns(draft, table, index))
    first = next((term.column for term in index.terms if term.column), None)
    how = (
        "it is unique over hashes (md5 of text, sha256 of bytes)"
        if index.unique
        else f"it is left out: CREATE INDEX … USING hash ({first or 'the expression'}) finds equal values of any length"
    )
    draft.find(
        "INDEX_ROW_TOO_LARGE",
        "decision",
        f"an entry of the index may take {size:,} bytes, Postgres takes {ENTRY_BYTES:,}; {how}",
        table=table.name,
        object=name,
    )
    return tuple(_hashed(draft, table, term) for term in terms) if index.unique else None


def _hashed(draft: Draft, table: Table, term: PlanIndexTerm) -> PlanIndexTerm:
    if term.column is None:
        return PlanIndexTerm(expression=f"md5(({term.expression})::text)")
    function = _HASHES.get(draft.codecs[table.name, term.column].pg_type)
    if function is None:
        return term
    name = draft.column_names[table.name][term.column].replace('"', '""')
    return PlanIndexTerm(expression=function.format(f'"{name}"'))


def _columns(draft: Draft, table: Table, index: Index) -> set[str]:
    found: set[str] = set()
    for term in index.terms:
        if term.column is not None:
            found.add(table.column(term.column).name)
        elif term.expression_sql is not None:
            found |= columns_of(term.expression_sql, draft.types(table))
    return found
