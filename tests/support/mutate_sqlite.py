"""Makes damaged SQLite files: seeded, aware of pages, and of whatever a file may be made of.

A mutation is one or a few changes of a sound base file: fields of the header, kinds of pages, cell pointers, varints,
the free list, overflow chains, the text of the schema, bits, cuts, pages twice or in each other's place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Final

_GENERAL = """
CREATE TABLE people(id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, name TEXT, born DATE,
  active BOOLEAN DEFAULT 1, balance REAL, photo BLOB, CHECK (length(email) > 3));
CREATE TABLE orders(id INTEGER PRIMARY KEY, person INTEGER REFERENCES people(id) ON DELETE CASCADE, total DECIMAL(10,2),
  placed DATETIME DEFAULT CURRENT_TIMESTAMP, note TEXT COLLATE NOCASE);
CREATE INDEX by_person ON orders(person, placed DESC);
CREATE INDEX by_note ON orders(note) WHERE note IS NOT NULL;
CREATE TABLE bare(a, b);
"""
_ROWIDLESS = """
CREATE TABLE kv(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE pairs(a INTEGER, b TEXT, c REAL, PRIMARY KEY (b, a)) WITHOUT ROWID;
CREATE TABLE strict_one(id INTEGER PRIMARY KEY, n INT NOT NULL, t TEXT, x ANY) STRICT;
"""
_OBJECTS = """
CREATE TABLE items(id INTEGER PRIMARY KEY, price INTEGER, amount INTEGER, label TEXT,
  total AS (price * amount), upper_label TEXT AS (upper(label)) STORED);
CREATE INDEX by_total ON items(price * amount);
CREATE INDEX by_label ON items(lower(label)) WHERE price > 10;
CREATE VIEW dear AS SELECT id, total FROM items WHERE total > 100;
CREATE TABLE log(at TEXT, what TEXT);
CREATE TRIGGER kept AFTER DELETE ON items BEGIN INSERT INTO log VALUES (datetime('now'), old.label); END;
CREATE TABLE tree(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree(id) DEFERRABLE INITIALLY DEFERRED);
"""
_SEARCH = """
CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT);
CREATE VIRTUAL TABLE notes_fts USING fts5(body, content='notes', content_rowid='id');
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, y0, y1);
"""
BASES: Final = ("general", "rowidless", "vacuumed", "utf16le", "utf16be", "objects", "search", "wal", "large pages")


def base_file(name: str, path: Path) -> Path:
    """Write the base file called `name`; the same bytes for the same SQLite."""
    random = Random(name)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        page_size = {"large pages": 16384, "general": 1024, "objects": 1024}.get(name, 512)
        db.execute(f"PRAGMA page_size = {page_size}")
        if name == "vacuumed":
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if name.startswith("utf16"):
            db.execute(f"PRAGMA encoding = 'UTF-16{name[-2:]}'")
        db.execute("BEGIN")
        if name == "rowidless":
            _script(db, _ROWIDLESS)
            _fill(db, "kv", lambda n: (f"key {n}", _any(random, n)), 60)
            _fill(db, "pairs", lambda n: (n, _word(random), random.random()), 60)
            _fill(db, "strict_one", lambda n: (n, n * 7, _word(random), _any(random, n)), 30)
        elif name == "objects":
            _script(db, _OBJECTS)
            for n in range(60):
                row = (n, random.randrange(100), random.randrange(9), _word(random))
                db.execute("INSERT INTO items(id, price, amount, label) VALUES (?, ?, ?, ?)", row)
            _fill(db, "tree", lambda n: (n, n // 2 or None), 30)
        elif name == "search":
            _script(db, _SEARCH)
            _fill(db, "notes", lambda n: (n, " ".join(_word(random) for _ in range(8))), 40)
            db.execute("INSERT INTO notes_fts(notes_fts) VALUES ('rebuild')")
            _fill(db, "places", lambda n: (n, n, n + 1, -n, n), 30)
        else:
            _script(db, _GENERAL)
            _fill(db, "people", lambda n: _person(random, n), 50)
            _fill(db, "orders", lambda n: _order(random, n), 80)
            _fill(db, "bare", lambda n: (_any(random, n), _any(random, n + 1)), 40)
            if name == "vacuumed":
                db.execute("DELETE FROM orders WHERE id % 3 = 0")
        db.execute("COMMIT")
        if name == "wal":
            db.execute("PRAGMA journal_mode = WAL")
    return path


def _script(db: sqlite3.Connection, sql: str) -> None:
    statement = ""
    for line in sql.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


def _fill(db: sqlite3.Connection, table: str, row: Callable[[int], tuple[object, ...]], count: int) -> None:
    for n in range(1, count + 1):
        values = row(n)
        db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _word(random: Random) -> str:
    return "".join(random.choice("abcdefghij éß日🙂") for _ in range(random.randrange(3, 12)))


def _any(random: Random, n: int) -> object:
    return (None, n, -(2**40) - n, n / 7, _word(random), bytes(range(n % 40)), "", "x" * (n * 40))[n % 8]


def _person(random: Random, n: int) -> tuple[object, ...]:
    photo = random.randbytes(1500) if n % 9 == 0 else None
    born = f"19{n % 90 + 10}-0{n % 9 + 1}-1{n % 9}"
    return (n, f"user{n}@example.org", _word(random), born, n % 2, random.random() * 1000, photo)


def _order(random: Random, n: int) -> tuple[object, ...]:
    placed = f"2024-0{n % 9 + 1}-0{n % 8 + 1} 0{n % 9}:00:00"
    return (n, n % 50 + 1, f"{n}.{n % 90 + 10}", placed, _word(random) * (n % 5) or None)


# -- changes -----------------------------------------------------------------------------------------------------

_ODD_BYTES: Final = (0, 1, 2, 5, 10, 13, 0x7F, 0x80, 0xFF)


class DamagedFile:
    """A file's bytes with its pages."""

    def __init__(self, content: bytes) -> None:
        self.bytes = bytearray(content)
        size = int.from_bytes(content[16:18], "big")
        self.page_size = 65536 if size == 1 else size or 512
        self.pages = len(content) // self.page_size

    def start(self, page: int) -> int:
        """Offset of the b-tree header of a page (from 0)."""
        return page * self.page_size + (100 if page == 0 else 0)

    def number(self, offset: int, size: int) -> int:
        return int.from_bytes(self.bytes[offset : offset + size], "big")

    def put(self, offset: int, value: int, size: int) -> None:
        if offset >= 0 and offset + size <= len(self.bytes):
            self.bytes[offset : offset + size] = (value % (1 << (8 * size))).to_bytes(size, "big")

    def tree_page(self, random: Random) -> int:
        """A b-tree page, most of the time."""
        trees = [page for page in range(self.pages) if self.bytes[self.start(page)] in (2, 5, 10, 13)]
        return random.choice(trees or [0])

    def cell(self, random: Random) -> tuple[int, int, int]:
        """(page, offset of a cell pointer, offset of its cell)."""
        page = self.tree_page(random)
        start = self.start(page)
        header = 12 if self.bytes[start] in (2, 5) else 8
        count = max(1, self.number(start + 3, 2))
        pointer = start + header + 2 * random.randrange(min(count, self.page_size // 4))
        return page, pointer, page * self.page_size + self.number(pointer, 2)


def _odd_number(random: Random, file: DamagedFile, size: int) -> int:
    most = (1 << (8 * size)) - 1
    return random.choice((0, 1, 2, file.pages, file.pages + 1, most, most >> 1, random.randrange(most + 1)))


def _header(file: DamagedFile, random: Random) -> None:
    offset, size = random.choice(
        [(16, 2), *((at, 1) for at in range(18, 24)), *((at, 4) for at in (*range(24, 76, 4), 92, 96))]
    )
    file.put(offset, _odd_number(random, file, size), size)


def _page_kind(file: DamagedFile, random: Random) -> None:
    file.put(file.start(file.tree_page(random)), random.choice((0, 2, 5, 10, 13, 255)), 1)


def _page_header(file: DamagedFile, random: Random) -> None:
    start = file.start(file.tree_page(random))
    offset, size = random.choice(((1, 2), (3, 2), (5, 2), (7, 1), (8, 4)))
    value = file.number(start + offset, size) + random.choice((-2, -1, 1, 2, 100))
    file.put(start + offset, random.choice((value, _odd_number(random, file, size))), size)


def _cell_pointer(file: DamagedFile, random: Random) -> None:
    _, pointer, _ = file.cell(random)
    _, other, _ = file.cell(random)
    value = random.choice((file.number(other, 2), random.randrange(file.page_size), file.number(pointer, 2) + 1))
    file.put(pointer, value, 2)


def _cell_start(file: DamagedFile, random: Random) -> None:
    """Payload size, rowid, header size, serial types: all are varints at a cell's beginning."""
    _, _, cell = file.cell(random)
    for _ in range(random.randrange(1, 4)):
        file.put(cell + random.randrange(12), random.choice((*_ODD_BYTES, random.randrange(256))), 1)


def _child(file: DamagedFile, random: Random) -> None:
    inner = [page for page in range(file.pages) if file.bytes[file.start(page)] in (2, 5)]
    if not inner:
        return _cell_start(file, random)
    start = file.start(random.choice(inner))
    count = max(1, file.number(start + 3, 2))
    cell = start - start % file.page_size + file.number(start + 12 + 2 * random.randrange(count), 2)
    file.put(random.choice((cell, start + 8)), random.randrange(1, file.pages + 2), 4)
    return None


def _free_list(file: DamagedFile, random: Random) -> None:
    trunk = file.number(32, 4)
    if not 0 < trunk <= file.pages:
        file.put(32, random.randrange(file.pages + 2), 4)
        file.put(36, random.randrange(file.pages + 2), 4)
        return
    start = (trunk - 1) * file.page_size
    file.put(start + 4 * random.randrange(6), random.choice((trunk, 0, 1, random.randrange(file.pages + 2))), 4)


def _overflow(file: DamagedFile, random: Random) -> None:
    """The last four bytes of a cell's local payload, or the first of any page, may be the next page of a chain."""
    page = random.randrange(file.pages)
    file.put(page * file.page_size, random.choice((page + 1, random.randrange(file.pages + 2))), 4)


def _schema_text(file: DamagedFile, random: Random) -> None:
    content = bytes(file.bytes)
    places = [at for at in (content.find(word, random.randrange(len(content))) for word in _WORDS) if at >= 0]
    if not places:
        return _flip(file, random)
    at = random.choice(places) + random.randrange(24)
    for _ in range(random.randrange(1, 4)):
        file.put(at + random.randrange(4), random.choice(b"abcTI(),'\"; 019_\x00\xff-*"), 1)
    return None


_WORDS: Final = (b"CREATE", b"TABLE", b"INTEGER", b"PRIMARY", b"KEY", b"INDEX", b"CHECK", b"TEXT", b"ON ", b"AS (")


def _flip(file: DamagedFile, random: Random) -> None:
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        at = random.randrange(len(file.bytes))
        file.bytes[at] ^= 1 << random.randrange(8)


def _value(file: DamagedFile, random: Random) -> None:
    """A byte of a cell's content."""
    _, _, cell = file.cell(random)
    file.put(cell + random.randrange(4, 60), random.randrange(256), 1)


def _cut(file: DamagedFile, random: Random) -> None:
    at = random.choice((random.randrange(len(file.bytes)), random.randrange(file.pages) * file.page_size))
    del file.bytes[at:]


def _grow(file: DamagedFile, random: Random) -> None:
    file.bytes += random.choice((bytes(file.page_size), random.randbytes(file.page_size), b"x" * 100))


def _pages_swapped(file: DamagedFile, random: Random) -> None:
    one, other = (random.randrange(file.pages) * file.page_size for _ in range(2))
    size = file.page_size
    first, second = file.bytes[one : one + size], file.bytes[other : other + size]
    file.bytes[one : one + size] = second
    if random.random() < 0.5:
        file.bytes[other : other + size] = first


def _page_blank(file: DamagedFile, random: Random) -> None:
    start = random.randrange(file.pages) * file.page_size
    size = random.choice((file.page_size, 64, 512))
    filler = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
    file.bytes[start : start + size] = filler[: len(file.bytes) - start]


def _block_moved(file: DamagedFile, random: Random) -> None:
    size = random.randrange(1, 200)
    source, target = random.randrange(len(file.bytes)), random.randrange(len(file.bytes))
    block = file.bytes[source : source + size]
    file.bytes[target : target + len(block)] = block[: len(file.bytes) - target]


MUTATIONS: Final[dict[str, Callable[[DamagedFile, Random], None]]] = {
    "header field": _header,
    "kind of page": _page_kind,
    "page header": _page_header,
    "cell pointer": _cell_pointer,
    "varints of a cell": _cell_start,
    "child pointer": _child,
    "free list": _free_list,
    "overflow chain": _overflow,
    "schema text": _schema_text,
    "bits": _flip,
    "value": _value,
    "cut": _cut,
    "grown": _grow,
    "pages swapped or doubled": _pages_swapped,
    "page overwritten": _page_blank,
    "block moved": _block_moved,
}


def mutate(content: bytes, random: Random) -> tuple[str, bytes]:
    """One kind of damage, now and then with a second one; (its name, the damaged file)."""
    name = random.choice(tuple(MUTATIONS))
    file = DamagedFile(content)
    MUTATIONS[name](file, random)
    if random.random() < 0.2 and len(file.bytes) > file.page_size:
        again = DamagedFile(bytes(file.bytes)) if file.bytes[:16] == content[:16] else file
        again.page_size, again.pages = file.page_size, len(file.bytes) // file.page_size
        random.choice(tuple(MUTATIONS.values()))(again, random)
        file = again
    return name, bytes(file.bytes)
