"""Both sides' digests compared, chunk by chunk, on several connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.digests import bucket_digests, range_digest
from nasmigrate.postgres.ledger import read_originals
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.digest import ChunkDigest, originals_digest, table_digest
from nasmigrate.schema.ledger import ChunkRow, bits_of, in_key_order
from nasmigrate.schema.plan import Plan, PlanTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A chunk that differs: the columns whose digest does (None = unknown), and whether its originals do."""

    chunk: ChunkRow
    target_rows: int
    columns: tuple[str, ...] | None
    originals: bool


@dataclass(slots=True, kw_only=True)
class TableOutcome:
    """One table's comparison. `rows_target` are the rows the digests covered."""

    table: str
    chunks: int = 0
    rows_target: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    found: dict[int, ChunkDigest] = field(default_factory=dict)
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """A piece of work: one chunk of a range, or all buckets of a table at once."""

    table: PlanTable
    codecs: list[Codec]
    chunks: tuple[ChunkRow, ...]


def compare_digests(
    conninfo: str,
    plan: Plan,
    expected: Mapping[str, list[ChunkRow]],
    *,
    connections: int = 2,
    progress: Callable[[str, int], None] | None = None,
) -> list[TableOutcome]:
    """Hash every chunk in the target and compare it with `expected`.

    Args:
        conninfo: the target.
        plan: which tables, which codecs.
        expected: table -> chunks as the source side says: the ledger, or a new reading of the source.
        connections: how many to use.
        progress: called with (table, rows hashed of it).

    Returns:
        One outcome per table of the plan, in its order. A table that `expected` lacks has 0 chunks: the caller
        must call that inconclusive.
    """
    outcomes = {table.name: TableOutcome(table=table.name) for table in plan.tables}
    units = list(_units(plan, expected))
    lock = threading.Lock()
    queue = iter(units)

    def worker() -> None:
        with connected(conninfo, autocommit=True, purpose="nasmigrate verify") as connection:
            while True:
                with lock:
                    unit = next(queue, None)
                if unit is None:
                    return
                if unit.table.mode == "range":
                    (chunk,) = unit.chunks
                    found = {chunk.chunk: range_digest(connection, unit.table, unit.codecs, chunk.after, chunk.last)}
                    if not _equal(chunk, found[chunk.chunk]):
                        found = {
                            chunk.chunk: range_digest(
                                connection, unit.table, unit.codecs, chunk.after, chunk.last, careful=True
                            )
                        }
                else:
                    found = bucket_digests(connection, unit.table, unit.codecs, bits_of(unit.chunks))
                originals = {
                    chunk.chunk: originals_digest(read_originals(connection, unit.table.name, chunk.chunk))
                    for chunk in unit.chunks
                }
                with lock:
                    outcome = outcomes[unit.table.name]
                    _judge(outcome, unit, found, originals)
                    if progress is not None:
                        progress(unit.table.name, outcome.rows_target)

    with ThreadPoolExecutor(max_workers=max(1, min(connections, len(units)))) as pool:
        futures = [pool.submit(worker) for _ in range(max(1, min(connections, len(units))))]
        for future in futures:
            future.result()
    for table in plan.tables:
        outcome = outcomes[table.name]
        columns = [(column.target, column.pg_type) for column in table.columns]
        # In key order: numbers say only when a chunk was begun. Buckets the source does not know come last.
        known = [chunk.chunk for chunk in in_key_order(expected.get(table.name, []))]
        order = [*known, *sorted(outcome.found.keys() - set(known))]
        found = (outcome.found[number] for number in order if number in outcome.found)
        outcome.digest = table_digest(table.target, columns, found)
    return list(outcomes.values())


def _units(plan: Plan, expected: Mapping[str, list[ChunkRow]]) -> Iterable[_Unit]:
    for table in plan.tables:
        chunks = expected.get(table.name, [])
        if not chunks:
            continue
        codecs = table.codecs()
        if table.mode == "range":
            for chunk in chunks:
                yield _Unit(table=table, codecs=codecs, chunks=(chunk,))
        else:
            yield _Unit(table=table, codecs=codecs, chunks=tuple(chunks))


def _equal(chunk: ChunkRow, found: ChunkDigest) -> bool:
    return chunk.rows == found.rows and chunk.digests == found.digests


_EMPTY = ChunkDigest(rows=0, digests=())


def _judge(outcome: TableOutcome, unit: _Unit, found: dict[int, ChunkDigest], originals: dict[int, bytes]) -> None:
    known = {chunk.chunk: chunk for chunk in unit.chunks}
    outcome.chunks += len(known)
    outcome.found |= found
    outcome.rows_target += sum(digest.rows for digest in found.values())
    for number in sorted(known.keys() | found.keys()):
        chunk, digest = known.get(number), found.get(number, _EMPTY)
        if chunk is None:
            # Rows in a bucket that the source does not have.
            chunk = ChunkRow(
                table=unit.table.name,
                chunk=number,
                kind="bucket",
                after=unit.chunks[0].after,
                last=None,
                rows=0,
                size=0,
                digests=(),
                originals=0,
                originals_digest=originals_digest(()),
            )
        same_originals = chunk.originals_digest == originals.get(number, originals_digest(()))
        empty = chunk.rows == 0 == digest.rows
        if same_originals and (empty or _equal(chunk, digest)):
            continue
        columns = None
        if unit.table.mode == "range" and len(chunk.digests) == len(digest.digests):
            columns = tuple(
                column.name
                for column, ours, theirs in zip(unit.table.columns, chunk.digests, digest.digests, strict=True)
                if ours != theirs
            )
        outcome.mismatches.append(
            Mismatch(chunk=chunk, target_rows=digest.rows, columns=columns, originals=not same_originals)
        )
