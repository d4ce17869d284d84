"""One reading of the whole source, in several processes, that names the chunks which changed since the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from nasmigrate.core.pool import Pool
from nasmigrate.schema.ledger import ChunkRow, is_pending, same_content
from nasmigrate.schema.parts import SPREAD_ROWS
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.verify.source_side import digest_buckets, digest_range

_TASK_ROWS = 25_000
"""Rows of a task, about: many enough to be worth handing over, few enough that processes end together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a scan found: table -> chunks whose rows or originals are no longer those of the ledger.

    The chunks are the ledger's, for tables without a range key those of the source. `rows` were read.
    """

    changed: Mapping[str, tuple[ChunkRow, ...]]
    rows: int

    @property
    def chunks(self) -> int:
        """How many chunks changed."""
        return sum(map(len, self.changed.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Chunks of one table that one process digests; for a table without a range key all of them."""

    table: str
    chunks: tuple[ChunkRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a task found, and how many rows it read."""

    changed: tuple[ChunkRow, ...] = ()
    rows: int = field(default=0)


def scan_source(
    pool: Pool,
    source: SourceFile,
    plan: Plan,
    ledger: Mapping[str, list[ChunkRow]],
    workdir: Path,
    tables: Collection[str],
) -> Scan:
    """Digest some tables of the source by the ledger's bounds.

    Nothing of Postgres is read. Every process opens `source` for itself: nobody may write to it meanwhile, so it is
    a snapshot, or the live file while its write lock is held.

    Raises:
        TransferError: a value no longer fits its codec; table, column and key are named.
        SourceError: the file cannot be read.
    """
    tasks = [task for name in tables for task in _tasks(plan, name, ledger.get(name, []))]
    spread = sum(chunk.rows for name in tables for chunk in ledger.get(name, [])) >= SPREAD_ROWS
    changed: dict[str, list[ChunkRow]] = {}
    rows = 0
    for index, found in pool.run(_scanning, (source, plan, workdir), _Scanner.run, tasks, spread=spread):
        rows += found.rows
        if found.changed:
            changed.setdefault(tasks[index].table, []).extend(found.changed)
    return Scan(changed={name: tuple(chunks) for name, chunks in changed.items()}, rows=rows)


def _tasks(plan: Plan, table: str, chunks: list[ChunkRow]) -> Iterator[_Task]:
    if plan.table(table).mode == "multiset":
        yield _Task(table=table, chunks=tuple(chunks))
        return
    group: list[ChunkRow] = []
    rows = 0
    for chunk in chunks:
        group.append(chunk)
        rows += chunk.rows
        if rows >= _TASK_ROWS:
            yield _Task(table=table, chunks=tuple(group))
            group, rows = [], 0
    if group:
        yield _Task(table=table, chunks=tuple(group))


@contextmanager
def _scanning(source: SourceFile, plan: Plan, workdir: Path) -> Iterator[_Scanner]:
    with closing(source.open()) as connection:
        yield _Scanner(connection, plan, workdir)


class _Scanner:
    """Digests tasks on one connection."""

    def __init__(self, connection: apsw.Connection, plan: Plan, workdir: Path) -> None:
        self._connection = connection
        self._plan = plan
        self._workdir = workdir
        self._tables = {table.name: (table, table.codecs()) for table in plan.tables}

    def run(self, task: _Task) -> _Found:
        """The chunks of a task that changed."""
        table, codecs = self._tables[task.table]
        if table.mode == "multiset":
            return self._buckets(task)
        changed = []
        rows = 0
        for known in task.chunks:
            bounds = KeyRange(after=known.after, last=known.last)
            now = digest_range(self._connection, self._plan, table, codecs, number=known.chunk, bounds=bounds)
            rows += now.rows
            if not same_content(known, now):
                changed.append(known)
        return _Found(changed=tuple(changed), rows=rows)

    def _buckets(self, task: _Task) -> _Found:
        table, _ = self._tables[task.table]
        now = {
            chunk.chunk: chunk
            for chunk in digest_buckets(self._connection, self._plan, table, task.chunks, self._workdir)
        }
        known = {chunk.chunk: chunk for chunk in task.chunks}
        numbers = sorted(now.keys() | known.keys())
        changed = [
            known.get(number) or now[number] for number in numbers if not _alike(known.get(number), now.get(number))
        ]
        return _Found(changed=tuple(changed), rows=sum(chunk.rows for chunk in now.values()))


def _alike(known: ChunkRow | None, now: ChunkRow | None) -> bool:
    """Whether a bucket is what it was; one without rows may be left out."""
    if known is not None and now is not None:
        return same_content(known, now)
    alone = known or now
    return alone is not None and alone.rows == 0 and not is_pending(alone)
