"""The mutation table: what is done to a finished copy, and which checks must see it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

CHECKS = ("counts", "digests", "originals", "objects", "sequences", "round-trip")
VALUE = frozenset({"digests", "round-trip"})
ROW = frozenset({"counts", "digests", "round-trip"})
OBJECT = frozenset({"objects"})

SOURCE = """
CREATE TABLE owner (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE,
    note TEXT,
    made DATETIME,
    price REAL,
    pic BLOB,
    qty INTEGER NOT NULL DEFAULT 1 CHECK (qty > 0),
    owner INTEGER REFERENCES owner (id)
);
CREATE INDEX item_owner ON item (owner);
CREATE UNIQUE INDEX item_name ON item (name);
CREATE TABLE tag (label TEXT NOT NULL PRIMARY KEY, weight REAL) WITHOUT ROWID;
CREATE TABLE log (line TEXT, n INTEGER);
INSERT INTO owner VALUES (1, 'a'), (2, 'b');
INSERT INTO item (id, name, note, made, price, pic, qty, owner) VALUES
    (1, 'Anna', 'first', '2024-01-02T03:04:05.678Z', 0.1, x'00ff10', 1, 1),
    (2, 'Berta', '', '2024-03-31T02:30:00.000Z', 0.0, x'', 2, 2),
    (3, 'Cäsar', NULL, '1999-12-31T23:59:59.999Z', 1e300, NULL, 3, NULL),
    (4, 'Dora', 'last', NULL, NULL, 'hello', 4, 1);
DELETE FROM item WHERE id > 90;
INSERT INTO tag VALUES ('x', 1.5), ('y', NULL), ('z', 2.5);
INSERT INTO log VALUES ('same', 1), ('same', 1), ('other', 2), (NULL, 3);
"""


def make_source(path: Path) -> None:
    """Write the small database that every mutation starts from."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """SQL run on the target, the checks that fail, and what the result must name (table, key, column)."""

    name: str
    sql: str
    seen_by: frozenset[str]
    inconclusive: frozenset[str] = frozenset()
    names: tuple[str, str | None, str | None] | None = None


def _value(name: str, sql: str, column: str, key: str = "id=1") -> Mutation:
    return Mutation(name=name, sql=sql, seen_by=VALUE, names=("item", key, column))


MUTATIONS: tuple[Mutation, ...] = (
    _value("a changed bit in a blob", r"UPDATE item SET pic = '\x00fe10' WHERE id = 1", "pic"),
    _value("a changed byte of text", "UPDATE item SET note = 'firsT' WHERE id = 1", "note"),
    _value("two columns swapped in a row", "UPDATE item SET name = note, note = name WHERE id = 1", "name"),
    _value("NULL instead of ''", "UPDATE item SET note = NULL WHERE id = 2", "note", "id=2"),
    _value("'' instead of NULL", "UPDATE item SET note = '' WHERE id = 3", "note", "id=3"),
    _value(
        "two values exchanged between rows",
        "UPDATE item SET qty = 3 - qty WHERE id IN (1, 2)",
        "qty",
    ),
    _value("text cut by a byte", "UPDATE item SET note = 'firs' WHERE id = 1", "note"),
    _value("a trailing blank", "UPDATE item SET note = 'first ' WHERE id = 1", "note"),
    _value("case changed in a NOCASE column", "UPDATE item SET name = 'anna' WHERE id = 1", "name"),
    _value("a time off by a millisecond", "UPDATE item SET made = made + interval '1 ms' WHERE id = 1", "made"),
    _value("a time off by a zone", "UPDATE item SET made = made + interval '1 hour' WHERE id = 1", "made"),
    Mutation(
        name="a time off by a microsecond, the type widened for it",
        sql="ALTER TABLE item ALTER made TYPE timestamptz(6); "
        "UPDATE item SET made = made + interval '1 us' WHERE id = 1",
        seen_by=VALUE | OBJECT,
        names=("item", "id=1", "made"),
    ),
    _value(
        "a double off by one ulp", "UPDATE item SET price = 0.1::float8 + 1.3877787807814457e-17 WHERE id = 1", "price"
    ),
    Mutation(
        name="-0.0 instead of 0.0",
        sql="UPDATE item SET price = '-0'::float8 WHERE id = 2",
        # A REAL column of SQLite stores -0.0 as 0.0, so there is nothing to see once it came back.
        seen_by=frozenset({"digests"}),
        names=("item", "id=2", "price"),
    ),
    Mutation(name="a lost row", sql="DELETE FROM item WHERE id = 3", seen_by=ROW, names=("item", "id=3", None)),
    Mutation(
        name="an extra row",
        sql="INSERT INTO item (id, name) OVERRIDING SYSTEM VALUE VALUES (50, 'Extra')",
        # 50 is above everything the sequence gave out, so the sequence is behind as well.
        seen_by=ROW | {"sequences"},
        names=("item", "id=50", None),
    ),
    Mutation(
        name="a row doubled in a table without a key",
        sql="INSERT INTO log VALUES ('same', 1)",
        seen_by=ROW,
        names=("log", None, None),
    ),
    Mutation(
        name="a row lost from doubled ones",
        sql="DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE line = 'same')",
        seen_by=ROW,
        names=("log", None, None),
    ),
    Mutation(
        name="a changed row in a table without a key",
        sql="UPDATE log SET n = 4 WHERE line IS NULL",
        seen_by=VALUE,
        names=("log", None, None),
    ),
    Mutation(
        name="a changed value under a text key",
        sql="UPDATE tag SET weight = NULL WHERE label = 'z'",
        seen_by=VALUE,
        names=("tag", "label=z", "weight"),
    ),
    Mutation(
        name="a lost original",
        sql="DELETE FROM nasmigrate.originals",
        seen_by=frozenset({"originals", "round-trip"}),
        names=("item", None, "pic"),
    ),
    Mutation(
        name="an altered original",
        sql=r"UPDATE nasmigrate.originals SET value = '\x68656c6c78'",
        seen_by=frozenset({"originals", "round-trip"}),
        names=("item", None, "pic"),
    ),
    Mutation(name="a lost index", sql="DROP INDEX item_owner", seen_by=OBJECT, names=("item", None, None)),
    Mutation(
        name="a lost primary key",
        sql="ALTER TABLE tag DROP CONSTRAINT tag_pkey",
        seen_by=OBJECT,
        names=("tag", None, None),
    ),
    Mutation(
        name="a lost foreign key",
        sql="ALTER TABLE item DROP CONSTRAINT item_owner_fkey",
        seen_by=OBJECT,
        names=("item", None, None),
    ),
    Mutation(
        name="a lost check",
        sql="ALTER TABLE item DROP CONSTRAINT item_check1",
        seen_by=OBJECT,
        names=("item", None, None),
    ),
    Mutation(
        name="a lost UNIQUE",
        sql="ALTER TABLE owner DROP CONSTRAINT owner_code_key",
        seen_by=OBJECT,
        names=("owner", None, None),
    ),
    Mutation(
        name="NOT NULL dropped",
        sql="ALTER TABLE item ALTER qty DROP NOT NULL",
        seen_by=OBJECT,
        names=("item", None, None),
    ),
    Mutation(
        name="a default lost", sql="ALTER TABLE item ALTER qty DROP DEFAULT", seen_by=OBJECT, names=("item", None, None)
    ),
    Mutation(
        name="an extra column", sql="ALTER TABLE item ADD more integer", seen_by=OBJECT, names=("item", None, None)
    ),
    Mutation(
        name="text become varchar",
        sql="ALTER TABLE item ALTER note TYPE varchar",
        seen_by=OBJECT,
        names=("item", None, None),
    ),
    Mutation(
        name="a lost column",
        sql="ALTER TABLE item DROP note",
        seen_by=OBJECT,
        inconclusive=frozenset({"digests", "originals", "round-trip"}),
        names=("item", None, None),
    ),
    Mutation(
        name="a sequence behind",
        sql="SELECT setval(pg_get_serial_sequence('item', 'id'), 1)",
        seen_by=frozenset({"sequences"}),
        names=("item", None, "id"),
    ),
)


def limits_page() -> str:
    """docs/verification-limits.md."""
    lines = [
        "<!-- Generated by `make docs` from tests/support/mutations.py; do not edit. -->",
        "# What each check sees",
        "",
        "Each line is done to a finished copy, then every check runs alone. `x`: the check fails; `?`: it cannot run"
        " on that target and says so; empty: it passes, and the tests assert that too. Every line ends in exit 3.",
        "",
        "| mutation of the target | " + " | ".join(CHECKS) + " |",
        "|--|" + "--|" * len(CHECKS),
    ]
    for mutation in MUTATIONS:
        cells = [
            "x" if check in mutation.seen_by else "?" if check in mutation.inconclusive else "" for check in CHECKS
        ]
        lines.append(f"| {mutation.name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "So: counts see no changed value. Digests see no object, no sequence, and no change of an original. The"
        " catalogue sees no row. The round trip sees values and originals, but no index, constraint or sequence; a"
        " value that has an original comes back from the original, whatever stands in the column, and a REAL column of"
        " SQLite stores -0.0 as 0.0. No check replaces another.",
        "",
    ]
    return "\n".join(lines)
