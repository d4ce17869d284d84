"""Which rows can have changed between two snapshots of one file, told by their pages without reading the rows.

A leaf of a table's b-tree that has the same number and the same bytes in both files, and hangs in the tree in both,
holds the same rows in both, provided the overflow pages of its cells are the same too. So the rows that differ are on
the other leaves, of either file, and their rowids bound the ranges to compare. A changed page that is no page of a
tree must be known to be free, or an overflow page of a cell on a changed page; where one remains, it may belong to a
cell that looks unchanged, and nothing is claimed at all.

Nothing is claimed either of tables WITHOUT ROWID that changed, nor where most of a table did: those are to be read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt

from nasmigrate.sqlite.page_file import HEADER, TABLE_LEAF, PageFile, RowidRange, Tree, Unclear

_BLOCK_BYTES = 1024 * 1024
"""Bytes of either file that are compared at once."""
MOST_BYTES = 64 * 1024 * 1024
"""Payload on changed leaves beyond which a table is read as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The b-tree of a table or an index."""

    name: str
    is_table: bool
    page: int


def read_roots(connection: apsw.Connection) -> dict[str, Root]:
    """The b-trees of a file by the names of their tables and indexes, `sqlite_schema` included."""
    rows = connection.execute("SELECT name, type, rootpage FROM sqlite_schema WHERE rootpage > 0")
    roots = {str(name): Root(name=str(name), is_table=kind == "table", page=int(page)) for name, kind, page in rows}
    return roots | {"sqlite_schema": Root(name="sqlite_schema", is_table=False, page=1)}


def changed_rows(
    before: Path, after: Path, roots_before: Mapping[str, Root], roots_after: Mapping[str, Root]
) -> dict[str, tuple[RowidRange, ...] | None]:
    """The rows that can differ between two snapshots of one file.

    Args:
        before: the older snapshot, self-contained (no WAL).
        after: the newer one.
        roots_before: the b-trees of all tables and indexes by name, `sqlite_schema` itself included.
        roots_after: the same of the newer file.

    Returns:
        Table -> ranges of rowids outside which its rows are the same in both, ascending and apart; () when the table
        is the same. None: read it. All tables are None when the pages do not tell.
    """
    tables = [name for name, root in roots_after.items() if root.is_table]
    try:
        with before.open("rb") as older, after.open("rb") as newer:
            return _Comparison(PageFile(older), PageFile(newer)).run(tables, roots_before, roots_after)
    except (Unclear, IndexError, struct.error):
        return dict.fromkeys(tables)


class _Comparison:
    """Two files and the pages of the newer one that are not as in the older."""

    def __init__(self, before: PageFile, after: PageFile) -> None:
        if (before.page_size, before.usable) != (after.page_size, after.usable):
            raise Unclear
        self._before = before
        self._after = after
        self._differs = _differences(before, after)

    def run(
        self, tables: list[str], roots_before: Mapping[str, Root], roots_after: Mapping[str, Root]
    ) -> dict[str, tuple[RowidRange, ...] | None]:
        old = {name: self._before.tree(root.page) for name, root in roots_before.items()}
        new = {name: self._after.tree(root.page) for name, root in roots_after.items()}
        self._account(new)
        return {name: self._table(old.get(name), new[name]) for name in tables}

    def _account(self, trees: Mapping[str, Tree]) -> None:
        """Make sure that every changed page is a tree's, free, a map, or hangs on a changed page of a tree.

        Raises:
            Unclear: one is not.
        """
        unknown = self._differs[: self._after.count + 1].copy()
        unknown[0] = False
        for tree in trees.values():
            unknown[tree.interior] = False
            unknown[tree.leaves] = False
        for number in (*self._after.free(), *self._after.maps()):
            if number <= self._after.count:
                unknown[number] = False
        if not unknown.any():
            return
        for tree in trees.values():
            for number in np.concatenate([tree.interior, tree.leaves]):
                if self._differs[number]:
                    unknown[self._after.payload(int(number))[1]] = False
        if unknown.any():
            raise Unclear

    def _table(self, old: Tree | None, new: Tree) -> tuple[RowidRange, ...] | None:
        if old is None:
            return None
        same = np.intersect1d(old.leaves, new.leaves)
        same = same[~self._differs[same]]
        gone, came = np.setdiff1d(old.leaves, same), np.setdiff1d(new.leaves, same)
        if not len(gone) + len(came):
            return () if self._same_inside(old, new) else None
        if self._after.kinds[new.leaves[0] - 1] != TABLE_LEAF or len(came) > len(new.leaves) // 2 + 8:
            return None
        ranges = []
        size = 0
        for file, leaves in ((self._before, gone), (self._after, came)):
            for leaf in leaves.tolist():
                size += file.payload(leaf)[0]
                found = file.rowids(leaf)
                if found is not None:
                    ranges.append(found)
        return _apart(ranges) if size <= MOST_BYTES else None

    def _same_inside(self, old: Tree, new: Tree) -> bool:
        """Whether no row is on a changed interior page; tables with a rowid have rows on leaves only."""
        if self._after.kinds[new.leaves[0] - 1] == TABLE_LEAF:
            return True
        return np.array_equal(old.interior, new.interior) and not self._differs[new.interior].any()


def _differences(before: PageFile, after: PageFile) -> npt.NDArray[np.bool_]:
    """Whether a page is not the same in both files, by its number; reads both from end to end."""
    last = max(before.count, after.count)
    differs = np.ones(last + 1, dtype=bool)
    step = max(1, _BLOCK_BYTES // before.page_size)
    for first in range(1, last + 1, step):
        ours, theirs = before.block(first, step), after.block(first, step)
        both = min(len(ours), len(theirs))
        # As 8-byte words: the bytes of a page are a power of two, at least 512.
        changed = ours[:both].view(np.uint64) != theirs[:both].view(np.uint64)
        differs[first : first + both] = changed.any(axis=1)
        if first == 1:
            # The file's header is in page 1: change counters, and the journal mode that a snapshot leaves.
            differs[1] = bool((ours[0, HEADER:] != theirs[0, HEADER:]).any())
    return differs


def _apart(ranges: list[RowidRange]) -> tuple[RowidRange, ...]:
    """The same rowids in ranges that ascend and do not touch."""
    merged: list[RowidRange] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)
