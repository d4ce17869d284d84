"""Checks a snapshot before anything is believed of it: trees, indexes, and what its expressions come to.

None of them can see a flipped bit in a value that no index holds: what is stored so is copied so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import SourceCorrupt, SourceHostile
from nasmigrate.schema.model import BUILT_IN_COLLATIONS, Table
from nasmigrate.sqlite.quoting import quote_ident

_LINES: Final = 1_000_000
_KEPT: Final = 20
_EXPRESSION_BYTES: Final = 1 << 30
_EXPRESSION_FACTOR: Final = 16

# Lines about values or about an FTS index: facts for the profile, no damage to the tree.
_NOT_DAMAGE: Final = re.compile(
    r"(NULL|TEXT|NUMERIC|non-\w+) value in |CHECK constraint failed in |"
    r"(malformed|unable to validate the) inverted index for FTS"
)


def check_trees(copy: apsw.Connection, source: Path) -> tuple[str, ...]:
    """Prove that the copy's trees are whole (`quick_check`); what is said about values is returned, 20 lines at most.

    Raises:
        SourceCorrupt: they are not; `source` is the file that is named.
    """
    notes: list[str] = []
    damage: list[str] = []
    _prepare(copy)
    for number, (line,) in enumerate(copy.execute(f"PRAGMA quick_check({_LINES})"), start=1):
        if line == "ok":
            continue
        kept = notes if _NOT_DAMAGE.match(line) else damage
        if len(kept) < _KEPT:
            kept.append(line)
        if number == _LINES:
            damage.append("too many lines to be sure of the rest")
    if damage:
        raise SourceCorrupt(
            f"{source}: quick_check of the snapshot says: {damage[0]}",
            hint="restore the file from a backup; nasmigrate does not salvage",
            details={"quick_check": damage},
        )
    return tuple(notes)


def checkable_indexes(table: Table) -> bool:
    """Whether `check_indexes` has something to look at: indexes, all of whose collations SQLite itself knows."""
    terms = [term for index in table.indexes for term in index.terms]
    return bool(terms) and all(term.collation in BUILT_IN_COLLATIONS for term in terms)


def check_indexes(copy: apsw.Connection, table: Table) -> tuple[str, ...]:
    """Compare a table's indexes with its rows (`integrity_check`); what differs, line by line.

    This finds a flipped bit in a value that an index holds as well, which `quick_check` cannot.

    Raises:
        apsw.SQLError: an index calls a function that only the application has.
    """
    _prepare(copy)
    lines = (str(line) for (line,) in copy.execute(f"PRAGMA integrity_check({quote_ident(table.name)})"))
    return tuple(line for line in lines if line != "ok" and not _NOT_DAMAGE.match(line))[:_KEPT]


def check_key_order(connection: apsw.Connection, tables: Sequence[Table], source: Path) -> frozenset[str]:
    """Check the order of the tables that are their own index (WITHOUT ROWID), which `quick_check` does not.

    A part of such a table is found by its key: where the order is broken, rows would be missed.

    Returns:
        The names of the tables that were checked, with all of their indexes.

    Raises:
        SourceCorrupt: a row is not in its place.
    """
    checked = set()
    for table in tables:
        if not table.without_rowid or not checkable_indexes(table):
            continue
        try:
            lines = check_indexes(connection, table)
        except apsw.SQLError:
            # Another of its indexes calls a function of the application: then nothing of the table can be checked.
            continue
        if lines:
            raise SourceCorrupt(
                f"{source}: integrity_check of the snapshot says: {lines[0]}",
                hint="restore the file from a backup; nasmigrate does not salvage",
                details={"integrity_check": lines},
            )
        checked.add(table.name)
    return frozenset(checked)


def check_expressions(connection: apsw.Connection, tables: Sequence[Table], size: int, source: Path) -> None:
    """Compute every virtual column once: what is read later, without a limit, has been seen to be bearable.

    Args:
        connection: of the snapshot, with its limits.
        tables: as inspected.
        size: of the file, in bytes.
        source: the file to name.

    Raises:
        SourceHostile: together they are many times the file.
    """
    allowed = _EXPRESSION_BYTES + _EXPRESSION_FACTOR * size
    for table in tables:
        columns = [column.name for column in table.columns if column.generated == "virtual"]
        if not columns:
            continue
        terms = " + ".join(f"coalesce(sum(length(CAST({quote_ident(name)} AS BLOB))), 0)" for name in columns)
        sql = f"SELECT {terms} FROM main.{quote_ident(table.name)}"  # noqa: S608 - quoted names only
        row = connection.execute(sql).fetchone()
        total = int(row[0]) if row else 0
        if total > allowed:
            raise SourceHostile(
                f"{source}: the generated columns of {table.name!r} come to {total:,} bytes, in a file of {size:,}",
                hint="drop those columns from a copy of the file; Postgres can compute them itself",
            )


def _prepare(copy: apsw.Connection) -> None:
    # CHECKs are judged on the loaded rows, later; they may call functions that only the application has.
    copy.execute("PRAGMA ignore_check_constraints = 1").fetchall()
    # quick_check opens every index but compares nothing in their order, so any collation does.
    copy.collation_needed(lambda connection, name: connection.create_collation(name, _compare))


def _compare(left: str, right: str) -> int:
    return (left > right) - (left < right)
