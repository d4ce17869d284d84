"""Which rows can have changed between two snapshots of one file, told by their pages without reading the rows.

A leaf of a table's b-tree that has the same number and the same bytes in both files, and hangs in the tree in both,
holds the same rows in both, provided the overflow pages of its cells are the same too. So the rows that differ are on
the other leaves, of either file, and their rowids bound the ranges to compare. A changed page that is no page of a
tree must be known to be free, or an overflow page of a cell on a changed page; where one remains, it may belong to a
cell that looks unchanged, and nothing is claimed at all.

Nothing is claimed either of tables WITHOUT ROWID that changed, nor where most of a table did: those are to be read.
Format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
"""Page numbers, from 1."""
RowidRange = tuple[int, int]
"""Rowids from the first to the last, both included."""

_TABLE_LEAF, _TABLE_INTERIOR, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
_INTERIOR = (_TABLE_INTERIOR, _INDEX_INTERIOR)
_LEAVES = (_TABLE_LEAF, _INDEX_LEAF)
_BIG_ENDIAN = np.array([1 << 24, 1 << 16, 1 << 8, 1], dtype=np.int64)
_HEADER = 100
_LOCK_BYTE = 0x40000000
_DEEPEST = 20
"""Levels of a b-tree, more than 2**32 pages can have."""
MOST_BYTES = 64 * 1024 * 1024
"""Payload on changed leaves beyond which a table is read as a whole."""


class Unclear(Exception):
    """The pages do not tell what changed."""


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


class PageFile:
    """A snapshot's pages. `usable` are the bytes of a page that b-trees use."""

    def __init__(self, path: Path) -> None:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        if len(raw) < _HEADER or bytes(raw[:6]) != b"SQLite":
            raise Unclear
        size = int.from_bytes(bytes(raw[16:18]), "big")
        self.page_size = 65536 if size == 1 else size
        self.usable = self.page_size - int(raw[20])
        self.count = len(raw) // self.page_size
        if self.count * self.page_size != len(raw) or bytes(raw[18:20]) != b"\x01\x01":
            raise Unclear
        self.pages = raw.reshape(self.count, self.page_size)

    def page(self, number: int) -> bytes:
        """The bytes of one page."""
        if not 1 <= number <= self.count:
            raise Unclear
        return bytes(self.pages[number - 1])

    @property
    def is_auto_vacuum(self) -> bool:
        """Whether the file has pointer map pages."""
        return self._header(52) != 0

    def free(self) -> Iterator[int]:
        """Pages of the freelist, trunks and leaves."""
        trunk = self._header(32)
        for _ in range(self.count):
            if not trunk:
                return
            page = self.page(trunk)
            yield trunk
            trunk, count = struct.unpack_from(">II", page)
            if count > self.page_size // 4 - 2:
                raise Unclear
            yield from struct.unpack_from(f">{count}I", page, 8)
        raise Unclear

    def maps(self) -> Iterator[int]:
        """Pointer map pages, and the page that locks are taken on (ptrmapPageno in btree.c)."""
        lock = _LOCK_BYTE // self.page_size + 1
        yield lock
        if self.is_auto_vacuum:
            for number in range(2, self.count + 1, self.usable // 5 + 1):
                yield number + 1 if number == lock else number

    def _header(self, offset: int) -> int:
        return int.from_bytes(bytes(self.pages[0][offset : offset + 4]), "big")

    # -- trees ---------------------------------------------------------------------------------------------------

    def tree(self, root: int) -> Tree:
        """The pages of a b-tree, level by level from the root."""
        level = np.array([root], dtype=np.int64)
        interior: list[Numbers] = []
        for _ in range(_DEEPEST):
            if level.min() < 1 or level.max() > self.count:
                raise Unclear
            kinds = self.pages[level - 1, 0] if root != 1 or len(interior) else self.pages[:1, _HEADER]
            if (kinds != kinds[0]).any():
                raise Unclear
            if kinds[0] in _LEAVES:
                return Tree(interior=np.concatenate(interior) if interior else level[:0], leaves=level)
            if kinds[0] not in _INTERIOR:
                raise Unclear
            interior.append(level)
            level = np.concatenate([self._children(int(number)) for number in level])
        raise Unclear

    def _children(self, number: int) -> Numbers:
        page = self.pages[number - 1]
        start = _HEADER if number == 1 else 0
        offsets = self._cells(page, start, 12)
        left = page[offsets[:, None] + np.arange(4)]
        right = page[start + 8 : start + 12][None, :]
        children: Numbers = np.concatenate([left, right]).astype(np.int64) @ _BIG_ENDIAN
        return children

    def _cells(self, page: npt.NDArray[np.uint8], start: int, header: int) -> Numbers:
        """Offsets of a page's cells, in key order."""
        count = int(page[start + 3]) << 8 | int(page[start + 4])
        pointers = page[start + header : start + header + 2 * count]
        if len(pointers) != 2 * count:
            raise Unclear
        offsets: Numbers = pointers.reshape(count, 2).astype(np.int64) @ _BIG_ENDIAN[2:]
        if count and (offsets.min() < start + header or offsets.max() > self.usable - 4):
            raise Unclear
        return offsets

    # -- cells ---------------------------------------------------------------------------------------------------

    def rowids(self, leaf: int) -> RowidRange | None:
        """The first and the last rowid on a leaf of a table; None when it is empty."""
        start = _HEADER if leaf == 1 else 0
        page = self.page(leaf)
        offsets = self._cells(self.pages[leaf - 1], start, 8)
        if not len(offsets):
            return None
        first, last = (_varint(page, _varint(page, int(offsets[end]))[1])[0] for end in (0, -1))
        return _signed(first), _signed(last)

    def payload(self, number: int) -> tuple[int, list[int]]:
        """Bytes of payload of the cells on a page of a tree, and their overflow pages."""
        start = _HEADER if number == 1 else 0
        page = self.page(number)
        kind = page[start]
        if kind == _TABLE_INTERIOR:
            return 0, []
        offsets = self._cells(self.pages[number - 1], start, 12 if kind == _INDEX_INTERIOR else 8)
        most = self.usable - 35 if kind == _TABLE_LEAF else (self.usable - 12) * 64 // 255 - 23
        total, overflow = 0, []
        for offset in offsets.tolist():
            position = offset + 4 if kind == _INDEX_INTERIOR else offset
            size, position = _varint(page, position)
            total += size
            if size <= most:
                continue
            if kind == _TABLE_LEAF:
                _, position = _varint(page, position)
            local = self._local(size, most)
            overflow += self._chain(int.from_bytes(page[position + local : position + local + 4], "big"), size - local)
        return total, overflow

    def _local(self, size: int, most: int) -> int:
        """How much of a payload that overflows stays on its page."""
        least = (self.usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self.usable - 4)
        return local if local <= most else least

    def _chain(self, number: int, size: int) -> list[int]:
        chain = []
        for _ in range(-(-size // (self.usable - 4))):
            chain.append(number)
            number = int.from_bytes(self.page(number)[:4], "big")
        return chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The pages of one b-tree, the leaves in key order."""

    interior: Numbers
    leaves: Numbers


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
        return _Comparison(PageFile(before), PageFile(after)).run(tables, roots_before, roots_after)
    except (Unclear, IndexError, struct.error):
        return dict.fromkeys(tables)


class _Comparison:
    """Two files and the pages of the newer one that are not as in the older."""

    def __init__(self, before: PageFile, after: PageFile) -> None:
        if (before.page_size, before.usable) != (after.page_size, after.usable):
            raise Unclear
        self._before = before
        self._after = after
        both = min(before.count, after.count)
        # As 8-byte words: a page has at least 512 bytes.
        words = (file.pages[:both].view(np.uint64) for file in (before, after))
        differs = np.ones(max(before.count, after.count) + 1, dtype=bool)
        ours, theirs = words
        differs[1 : both + 1] = (ours != theirs).any(axis=1)
        # The file's header is in page 1: change counters, and the journal mode that a snapshot leaves.
        differs[1] = bool((before.pages[0][_HEADER:] != after.pages[0][_HEADER:]).any())
        self._differs = differs

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
        if self._after.pages[int(new.leaves[0]) - 1, 0] != _TABLE_LEAF or len(came) > len(new.leaves) // 2 + 8:
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
        if self._after.pages[int(new.leaves[0]) - 1, 0] == _TABLE_LEAF:
            return True
        return np.array_equal(old.interior, new.interior) and not self._differs[new.interior].any()


def _apart(ranges: list[RowidRange]) -> tuple[RowidRange, ...]:
    """The same rowids in ranges that ascend and do not touch."""
    merged: list[RowidRange] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _varint(page: bytes, position: int) -> tuple[int, int]:
    """A variable-length integer of up to nine bytes, and where it ends."""
    value = 0
    for _ in range(8):
        byte = page[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position
    return value << 8 | page[position], position + 1


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
