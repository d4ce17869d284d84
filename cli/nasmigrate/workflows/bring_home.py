"""Brings home what the application wrote to Postgres: compare with the ledger, write the rows to SQLite, verify.

A pass commits nothing on either side. Several passes go into one open SQLite transaction, each with what the one
before returned, so that the last one, under lock, has little left to do. The first compares all of Postgres by
digests; those after it read the row versions that came since, and fall back to the digests where these do not tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import psycopg

from nasmigrate.core.errors import TransferError
from nasmigrate.postgres.finish import sequence_values
from nasmigrate.postgres.row_versions import Moment, see_moment
from nasmigrate.schema.changes import Counts
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.home import Outside
from nasmigrate.schema.ledger import ChunkRow, in_key_order
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.apply import apply_home
from nasmigrate.sqlite.full_text import FullText, rebuild_full_text
from nasmigrate.sqlite.orphans import new_orphans
from nasmigrate.sqlite.sequences import raise_sequences
from nasmigrate.verify.from_target import FromTarget
from nasmigrate.verify.from_versions import FromVersions, NotTold, is_as_told
from nasmigrate.verify.source_side import digest_buckets
from nasmigrate.verify.table_home import TableHome, going_home

_NAMED = 200
"""Values outside their codec that an error names."""
Ledger = Mapping[str, list[ChunkRow]]


class ValuesOutsideCodec(TransferError):
    """Values in Postgres that would not come back as themselves; `details["values"]` names table, column and key."""

    code = "NM0907"


@dataclass(frozen=True, slots=True, kw_only=True)
class Homecoming:
    """What a pass needs that does not change from one to the next. `workdir` is private and has room to spill."""

    plan: Plan
    schema: SourceSchema
    limits: Limits
    workdir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSeconds:
    """Where the time of a pass went; `compare` includes the digests of Postgres."""

    compare: float = 0.0
    apply: float = 0.0
    verify: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.compare + self.apply + self.verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to bring home: rows of each changed table, and values that cannot come."""

    counts: dict[str, Counts]
    outside: tuple[Outside, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtHome:
    """What a pass came to: `ledger` is what both sides hold now, at the moment `seen` of Postgres."""

    ledger: dict[str, list[ChunkRow]]
    seen: Moment
    counts: dict[str, Counts] = field(default_factory=dict)
    seconds: HomeSeconds = HomeSeconds()

    @property
    def changed_rows(self) -> int:
        """Rows written or deleted."""
        return sum(counts.total for counts in self.counts.values())


def survey(target: psycopg.Connection, source: apsw.Connection, these: Homecoming, ledger: Ledger) -> Survey:
    """Say what would come home, and write nothing.

    Args:
        target: in a transaction that sees one moment (REPEATABLE READ, or under lock).
        source: the file as it was when both sides were equal; read only will do.
        these: the plan, the file's schema, and where to work.
        ledger: what Postgres held then (`read_chunks` as recorded at the opening).

    Raises:
        SourceError: the file cannot be read.
    """
    with _compared(target, source, these, ledger) as tables:
        return Survey(
            counts={home.changes.table: home.changes.counts for home in tables if home.changes.counts.total},
            outside=tuple(value for home in tables for value in home.outside),
        )


def bring_home(
    target: psycopg.Connection,
    source: apsw.Connection,
    these: Homecoming,
    ledger: Ledger,
    since: Moment | None = None,
) -> BroughtHome:
    """Make the file equal to Postgres, in one SQLite transaction that the caller began and commits.

    After an error the caller rolls back. Postgres is only read.

    Args:
        target: as for `survey`.
        source: prepared by `sqlite.apply.prepare`, then BEGIN IMMEDIATE.
        these: as for `survey`.
        ledger: as for `survey`, or the `ledger` of the pass before in this very transaction.
        since: `seen` of that pass; None compares everything by digests.

    Raises:
        ValuesOutsideCodec: values that would not come back as themselves (NM0907); nothing was written.
        RowRefused: a constraint of the file refuses a row (NM0710).
        TransferError: SQLite counted other changes than planned (NM0904), a row has no parent (NM0905), or what was
            written is not equal (NM0906).
        StateError: foreign keys or triggers are on, or there is no transaction.
    """
    started = time.perf_counter()
    seen = see_moment(target, these.plan)
    told = None if since is None else FromVersions(target, source, these.plan, these.schema, since=since, now=seen)
    with _compared(target, source, these, ledger, told) as tables:
        _refuse_outside([value for home in tables for value in home.outside])
        compared = time.perf_counter()
        apply_home(source, these.schema, these.plan, [home.changes for home in tables])
        touched = [home.changes.table for home in tables if home.changes.counts.total]
        orphans = new_orphans(source, these.schema, these.plan, touched)
        if orphans:
            raise TransferError(
                f"rows would have no parent in SQLite: {orphans[0]}",
                hint="mend these rows in Postgres, or their parents",
                details={"orphans": orphans},
                code="NM0905",
            )
        applied = time.perf_counter()
        after = {name: list(chunks) for name, chunks in ledger.items()}
        for home in tables:
            name = home.changes.table
            gone = {chunk.chunk for chunk in home.before}
            kept = [chunk for chunk in after.get(name, []) if chunk.chunk not in gone]
            after[name] = in_key_order([*kept, *_verified(target, source, these, home, after.get(name, []))])
        counts = {home.changes.table: home.changes.counts for home in tables if home.changes.counts.total}
    return BroughtHome(
        ledger=after,
        seen=seen,
        counts=counts,
        seconds=HomeSeconds(compare=compared - started, apply=applied - compared, verify=time.perf_counter() - applied),
    )


def settle(target: psycopg.Connection, source: apsw.Connection, these: Homecoming, touched: Sequence[str]) -> FullText:
    """What follows each pass, in the same transaction: `sqlite_sequence` and the full-text indexes.

    Args:
        target: its sequences are read.
        source: as for `bring_home`.
        these: as for `survey`.
        touched: the tables that the pass wrote to.
    """
    last = sequence_values(target, these.plan)
    with_sequence = {table.name for table in these.schema.tables if table.autoincrement}
    raise_sequences(source, {name: value for name, value in last.items() if name in with_sequence and value > 0})
    return rebuild_full_text(source, these.schema, touched)


@contextmanager
def _compared(
    target: psycopg.Connection,
    source: apsw.Connection,
    these: Homecoming,
    ledger: Ledger,
    told: FromVersions | None = None,
) -> Iterator[list[TableHome]]:
    reader = FromTarget(target, source, these.plan, these.schema, these.limits, these.workdir)
    tables: list[TableHome] = []

    def compared(name: str) -> TableHome | None:
        if told is not None:
            with suppress(NotTold):
                return told.table(name, ledger[name])
        return reader.table(name, ledger[name])

    try:
        for table in these.plan.tables:
            home = compared(table.name)
            if home is not None:
                tables.append(home)
        yield tables
    finally:
        for home in tables:
            home.close()


def _refuse_outside(values: Sequence[Outside]) -> None:
    if not values:
        return
    first = values[0]
    raise ValuesOutsideCodec(
        f"{len(values)} values in Postgres cannot come home as they are: {first.table}.{first.column} at {first.key}"
        f" ({first.value})",
        hint="change these values in Postgres to such as the source's column could hold; where it cannot be told how"
        " SQLite held one, to one that no row of that column had",
        details={
            "count": len(values),
            "values": [
                {"table": value.table, "column": value.column, "key": value.key, "value": value.value}
                for value in values[:_NAMED]
            ],
        },
    )


def _verified(
    target: psycopg.Connection, source: apsw.Connection, these: Homecoming, home: TableHome, known: list[ChunkRow]
) -> list[ChunkRow]:
    """The ledger rows of what was written, which was read from the file again and is equal to what Postgres holds.

    Of a table with a range key the rows that were written are read, and all rows are counted. It is enough: the others
    were compared in this transaction, or are old by their versions, and SQLite's own counts say that none was moved.
    Their chunks have no digests then, which would take a reading of each.

    Raises:
        TransferError: one is not.
    """
    name = home.changes.table
    table = going_home(these.plan.table(name))
    different: list[str] = []
    chunks: list[ChunkRow] = []
    if home.told is not None:
        if not is_as_told(source, these.plan, table, home.told):
            different.append(str(home.before[0].chunk))
        chunks += home.after
    if home.buckets:
        found = {chunk.chunk: chunk for chunk in digest_buckets(source, these.plan, table, known, these.workdir)}
        for bucket, digest in home.buckets.items():
            mine = found.get(bucket)
            if digest.rows != (mine.rows if mine else 0) or (mine and mine.rows and mine.digests != digest.digests):
                different.append(str(bucket))
            elif mine:
                chunks.append(mine)
    if different:
        raise TransferError(
            f"{name}: chunk {different[0]} of the file is not equal to Postgres after it was written",
            hint="SQLite stores a value otherwise than Postgres holds it, by a column's affinity for example",
            details={"table": name, "chunks": different},
            code="NM0906",
        )
    return chunks
