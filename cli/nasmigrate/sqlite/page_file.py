"""The pages of one snapshot: b-trees, cells, free pages.

They are read when they are asked for; nothing of the file stays in memory but one byte for each page.
Format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
"""Page numbers, from 1."""
Pages = npt.NDArray[np.uint8]
"""Bytes of pages, one row for each."""
RowidRange = tuple[int, int]
"""Rowids from the first to the last, both included."""

TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
_INTERIOR = (TABLE_INTERIOR, INDEX_INTERIOR)
_LEAVES = (TABLE_LEAF, INDEX_LEAF)
_BIG_ENDIAN = np.array([1 << 24, 1 << 16, 1 << 8, 1], dtype=np.int64)
HEADER = 100
"""Bytes of the file's own header, at the start of page 1."""
_SMALLEST = 512
"""Bytes of a page, at least."""
_LOCK_BYTE = 0x40000000
_DEEPEST = 20
"""Levels of a b-tree, more than 2**32 pages can have."""


class Unclear(Exception):
    """The pages do not tell what changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The pages of one b-tree, the leaves in key order."""

    interior: Numbers
    leaves: Numbers


class PageFile:
    """A snapshot's pages.

    Args:
        file: the snapshot, open as long as this is used.

    Attributes:
        page_size: bytes of a page.
        usable: bytes of it that b-trees use.
        count: of pages.
        kinds: the first byte of each page's own header, known once its block was read.

    Raises:
        Unclear: it is no file of whole pages, or not in rollback journal mode.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self._header = header = os.pread(self._descriptor, HEADER, 0)
        if len(header) < HEADER or not header.startswith(b"SQLite"):
            raise Unclear
        size = int.from_bytes(header[16:18], "big")
        self.page_size = 65536 if size == 1 else size
        if self.page_size < _SMALLEST or header[18:20] != b"\x01\x01":
            raise Unclear
        self.usable = self.page_size - header[20]
        self.count, rest = divmod(os.fstat(self._descriptor).st_size, self.page_size)
        if rest:
            raise Unclear
        self.kinds = np.zeros(self.count, dtype=np.uint8)

    def page(self, number: int) -> bytes:
        """The bytes of one page."""
        if not 1 <= number <= self.count:
            raise Unclear
        return self._read(number, 1)

    def block(self, first: int, count: int) -> Pages:
        """Up to `count` pages from `first` on; their kinds are known afterwards."""
        count = max(0, min(count, self.count - first + 1))
        pages = np.frombuffer(self._read(first, count), dtype=np.uint8).reshape(count, self.page_size)
        self.kinds[first - 1 : first - 1 + count] = pages[:, 0]
        if first == 1 and count:
            self.kinds[0] = pages[0, HEADER]
        return pages

    def _read(self, first: int, count: int) -> bytes:
        data = os.pread(self._descriptor, count * self.page_size, (first - 1) * self.page_size)
        if len(data) != count * self.page_size:
            raise Unclear
        return data

    @property
    def is_auto_vacuum(self) -> bool:
        """Whether the file has pointer map pages."""
        return self._word(52) != 0

    def free(self) -> Iterator[int]:
        """Pages of the freelist, trunks and leaves."""
        trunk = self._word(32)
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

    def _word(self, offset: int) -> int:
        return int.from_bytes(self._header[offset : offset + 4], "big")

    # -- trees ---------------------------------------------------------------------------------------------------

    def tree(self, root: int) -> Tree:
        """The pages of a b-tree, level by level from the root; all blocks must have been read."""
        level = np.array([root], dtype=np.int64)
        interior: list[Numbers] = []
        for _ in range(_DEEPEST):
            # Page 1 is a root and nothing else.
            if level.min() < (2 if interior else 1) or level.max() > self.count:
                raise Unclear
            kinds = self.kinds[level - 1]
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
        page = np.frombuffer(self.page(number), dtype=np.uint8)
        start = HEADER if number == 1 else 0
        offsets = self._cells(page, start, 12)
        left = page[offsets[:, None] + np.arange(4)]
        right = page[start + 8 : start + 12][None, :]
        children: Numbers = np.concatenate([left, right]).astype(np.int64) @ _BIG_ENDIAN
        return children

    def _cells(self, page: Pages, start: int, header: int) -> Numbers:
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
        start = HEADER if leaf == 1 else 0
        page = self.page(leaf)
        offsets = self._cells(np.frombuffer(page, dtype=np.uint8), start, 8)
        if not len(offsets):
            return None
        first, last = (_varint(page, _varint(page, int(offsets[end]))[1])[0] for end in (0, -1))
        return _signed(first), _signed(last)

    def payload(self, number: int) -> tuple[int, list[int]]:
        """Bytes of payload of the cells on a page of a tree, and their overflow pages."""
        start = HEADER if number == 1 else 0
        page = self.page(number)
        kind = page[start]
        if kind == TABLE_INTERIOR:
            return 0, []
        offsets = self._cells(np.frombuffer(page, dtype=np.uint8), start, 12 if kind == INDEX_INTERIOR else 8)
        most = self.usable - 35 if kind == TABLE_LEAF else (self.usable - 12) * 64 // 255 - 23
        total, overflow = 0, []
        for offset in offsets.tolist():
            position = offset + 4 if kind == INDEX_INTERIOR else offset
            size, position = _varint(page, position)
            total += size
            if size <= most:
                continue
            if kind == TABLE_LEAF:
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
