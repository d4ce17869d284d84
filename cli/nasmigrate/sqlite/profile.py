"""The profile: what every column really holds, from one scan per table.

Nothing is decided here. The evidence is complete (each value was seen) and small (counts, ranges, up to five
row keys per storage class), and becomes part of plan.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from nasmigrate.schema.evidence import ColumnAsk, TableProfile
from nasmigrate.schema.model import Table
from nasmigrate.sqlite.open import mapped_errors, open_snapshot
from nasmigrate.sqlite.quoting import quote_ident
from nasmigrate.sqlite.read import BATCH_BYTES, BATCH_ROWS, KeyRange, Selection, read
from nasmigrate.sqlite.scan import Scan


def profile_part(
    connection: apsw.Connection,
    table: Table,
    *,
    encoding: str,
    asks: Mapping[str, ColumnAsk],
    bounds: KeyRange | None = None,
) -> TableProfile:
    """Read a table once, or a part of its key space, and say what is in it.

    Args:
        connection: a snapshot.
        table: as inspected.
        encoding: the file's text encoding, as `PRAGMA encoding` gives it.
        asks: what is asked of single columns, by name, beside what is asked of all.
        bounds: the part, for a table with a rowid alias; None = all of it.
    """
    names = tuple(column.name for column in table.columns)
    # SQLite's way from UTF-16 to UTF-8 makes some other character of half a surrogate pair, without an error.
    raw_text = frozenset() if encoding == "UTF-8" else frozenset(names)
    max_row_bytes = SMALL_ROW
    while True:
        scan = Scan(table, asks)
        selection = Selection(
            table=table.name,
            columns=names,
            key=table.primary_key if table.rowid_alias else (),
            raw_text=raw_text,
            encoding=encoding,
        )
        try:
            with _values_up_to(connection, _largest_small_value(len(names)) if max_row_bytes else None):
                for batch in read(connection, selection, bounds=bounds, max_row_bytes=max_row_bytes):
                    scan.add(batch)
        except UnicodeDecodeError:
            if raw_text:
                raise
            # Some text is not valid: read the text of this table as bytes. That is slower and rare.
            raw_text = frozenset(names)
        except apsw.TooBigError:
            if not max_row_bytes:
                raise
            # Some value is large: read in small helpings, so that a batch stays bounded in bytes.
            max_row_bytes = 0
        else:
            return scan.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTask:
    """A table, or a part of the key space of a large one; see `profile_part`."""

    table: Table
    encoding: str
    asks: Mapping[str, ColumnAsk]
    bounds: KeyRange


@contextmanager
def open_profiler(snapshot: Path) -> Iterator[apsw.Connection]:
    """What a process that runs tasks needs: its own reader of the snapshot."""
    with closing(open_snapshot(snapshot)) as connection, mapped_errors(snapshot):
        yield connection


def run_profile(connection: apsw.Connection, task: ProfileTask) -> TableProfile:
    """Do one task."""
    return profile_part(connection, task.table, encoding=task.encoding, asks=task.asks, bounds=task.bounds)


def key_bounds(connection: apsw.Connection, table: Table) -> tuple[int, int] | None:
    """Smallest and largest rowid of a table whose rowid has a name, None when empty or unnamed."""
    if table.rowid_alias is None:
        return None
    name = quote_ident(table.rowid_alias)
    # Two lookups, since SQLite optimises a lone min() or max() only.
    low, high = (
        connection.execute(f"SELECT {which}({name}) FROM main.{quote_ident(table.name)}").fetchone()  # noqa: S608
        for which in ("min", "max")
    )
    if not low or not high or low[0] is None:
        return None
    return int(low[0]), int(high[0])


SMALL_ROW = 1
"""What `read` is told of a table whose values are all small: whole batches at once."""


def _largest_small_value(columns: int) -> int:
    """Bytes up to which a value is small: a batch of such rows takes at most some 64 MiB, or 8 KiB a value."""
    return max(8192, 8 * BATCH_BYTES // BATCH_ROWS // max(1, columns))


@contextmanager
def _values_up_to(connection: apsw.Connection, size: int | None) -> Iterator[None]:
    """Make SQLite refuse (TooBigError) to hand out a value larger than `size` bytes; None = leave its limit."""
    if size is None:
        yield
        return
    before = connection.limit(apsw.SQLITE_LIMIT_LENGTH)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, size)
    try:
        yield
    finally:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, before)
