"""The -wal beside a file that nobody has open: is it there, and does it belong?

SQLite replays whatever -wal lies beside a file, another database's as well, and says nothing when one is missing.
Where an application has the file open, its -wal is right by construction, and nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import SourceCorrupt, SourceError, WalSuspect
from nasmigrate.sqlite.check import check_trees
from nasmigrate.sqlite.inspect import count_rows
from nasmigrate.sqlite.locks import lock_of_others
from nasmigrate.sqlite.open import first_bytes, mapped_errors, open_without_wal
from nasmigrate.sqlite.schema_text import schema_text

_HEADER: Final = 20
_READ_VERSION: Final = 19
"""Offset of the byte of the header that is 2 in a file in WAL mode (https://sqlite.org/fileformat2.html, 1.3.3)."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WalState:
    """What lies beside the file before anyone opens it.

    `marked` = the header says WAL; `bytes` = size of the -wal, 0 = none; `in_use` = another process has the file open.
    """

    marked: bool
    bytes: int
    in_use: bool

    @property
    def orphaned(self) -> bool:
        """There is a -wal and nobody to whom it is known to belong."""
        return self.bytes > 0 and not self.in_use

    @property
    def absent(self) -> bool:
        """The header says WAL, and neither a -wal nor an application is there."""
        return self.marked and not self.bytes and not self.in_use


def wal_state(path: Path) -> WalState:
    """Look at the file and beside it; to be asked before this process opens the file."""
    in_use = lock_of_others(path) is not None
    _, start = first_bytes(path, _HEADER)
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.is_file() else 0
    return WalState(marked=start[_READ_VERSION:] == b"\2", bytes=size, in_use=in_use)


def without_wal(path: Path, snapshot: apsw.Connection, counts: Mapping[str, int]) -> str | None:
    """Compare the snapshot, taken with the -wal, with the file alone; a line that says what the -wal adds.

    Raises:
        WalSuspect: an object of the file alone is gone, or another one, with the -wal.
    """
    try:
        with closing(open_without_wal(path)) as alone, mapped_errors(path, "read it without its -wal"):
            before = _schema(alone)
            after = _schema(snapshot)
            lost = sorted(name for name, sql in before.items() if after.get(name) != sql)
            if lost:
                raise _suspect(
                    path,
                    f"with it {len(lost)} of {len(before)} objects of the file are gone or others,"
                    f" among them {lost[0][0]} {lost[0][1]!r}",
                )
            shown = []
            for table, count in counts.items():
                alone_count = count_rows(alone, table) if ("table", table) in before else 0
                if alone_count != count:
                    shown.append(f"{table} {count:,} rows, without it {alone_count:,}")
    except WalSuspect:
        raise
    except SourceError:
        return "it holds what makes the file whole: a crash came in the middle of a checkpoint"
    if not shown:
        return "it changes no table's number of rows"
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "with it " + "; ".join(shown[:_SHOWN]) + more


def suspect_if_whole_without(path: Path, error: SourceCorrupt) -> SourceError:
    """What to say of a file that is damaged with the -wal beside it: `error`, unless it is whole without."""
    try:
        with closing(open_without_wal(path)) as alone, mapped_errors(path, "check it without its -wal"):
            check_trees(alone, path)
    except SourceError:
        return error
    return _suspect(path, f"with it the file is damaged ({error.message.partition(': ')[2]}), without it it is whole")


def _suspect(path: Path, what: str) -> WalSuspect:
    return WalSuspect(
        f"{path}: the -wal beside it seems to be another database's: {what}",
        hint="copy the file and its -wal again, together and while nobody writes; if they do belong together, open"
        " and close the file once with its application",
    )


def _schema(connection: apsw.Connection) -> dict[tuple[str, str], str]:
    return {(kind, name): sql for kind, name, sql in schema_text(connection)}
