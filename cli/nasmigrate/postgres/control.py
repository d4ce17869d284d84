"""The schema `nasmigrate` in the target: runs, the chunk ledger, originals.

A chunk's ledger row is written in the transaction that copies the chunk, so the ledger never claims a row that
is not there, nor misses one that is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from nasmigrate.core.errors import RunLocked
from nasmigrate.schema.codecs import SqliteValue, exact_bytes, from_exact, storage_class
from nasmigrate.schema.ledger import ChunkRow, OriginalRow, in_key_order
from nasmigrate.schema.model import StorageClass

_DDL = """
CREATE SCHEMA IF NOT EXISTS nasmigrate;
CREATE TABLE IF NOT EXISTS nasmigrate.run (
    run_id uuid PRIMARY KEY,
    command text NOT NULL,
    plan_hash text NOT NULL,
    plan jsonb NOT NULL,
    source text NOT NULL,
    source_sha256 text NOT NULL,
    tool_version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL CHECK (state IN ('copying', 'copied', 'finished', 'verified')),
    catalogue jsonb
);
COMMENT ON SCHEMA nasmigrate IS 'Ledger of the migration from SQLite; see nasmigrate.run. Needed for verify.';
CREATE TABLE IF NOT EXISTS nasmigrate.chunk (
    run_id uuid NOT NULL REFERENCES nasmigrate.run ON DELETE CASCADE,
    table_name text NOT NULL,
    chunk integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('range', 'bucket')),
    after_key jsonb,
    last_key jsonb,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    digests bytea[] NOT NULL,
    originals bigint NOT NULL,
    originals_digest bytea NOT NULL,
    PRIMARY KEY (run_id, table_name, chunk)
);
CREATE TABLE IF NOT EXISTS nasmigrate.originals (
    table_name text NOT NULL,
    chunk integer NOT NULL,
    key bytea NOT NULL,
    ordinal integer NOT NULL,
    column_name text NOT NULL,
    storage_class text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (table_name, key, ordinal, column_name)
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as the target remembers it. `plan` is the JSON of plan.json."""

    run_id: str
    command: str
    plan_hash: str
    plan: dict[str, Any]
    source: str
    source_sha256: str
    state: str
    catalogue: dict[str, str] | None


def create_control(connection: psycopg.Connection) -> None:
    """Create the schema where it is not there."""
    connection.execute(_DDL)


_WRITERS = 0x6E617377  # "nasw"
"""Key of the advisory lock that every process writing rows shares, and that a new run must have alone once."""


def begin_writing(connection: psycopg.Connection, run_id: str) -> None:
    """Hold the writers' lock for this session.

    Raises:
        RunLocked: another run is waiting for the writers to end, or the run is gone.
    """
    row = connection.execute(
        "SELECT pg_try_advisory_lock_shared(%s) AND EXISTS (SELECT FROM nasmigrate.run WHERE run_id = %s)",
        (_WRITERS, run_id),
    ).fetchone()
    connection.commit()
    if not (row and row[0]):
        raise RunLocked("this run may not write any more", hint="another nasmigrate has taken the target over")


def await_writers(connection: psycopg.Connection, seconds: float = 15.0) -> None:
    """Wait until no process of an earlier run writes any more; a killed tool's workers end within moments.

    Raises:
        RunLocked: they still write after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        row = connection.execute(
            "SELECT CASE WHEN pg_try_advisory_lock(%s) THEN pg_advisory_unlock(%s) ELSE false END",
            (_WRITERS, _WRITERS),
        ).fetchone()
        connection.commit()
        if row and row[0]:
            return
        if time.monotonic() > deadline:
            raise RunLocked(
                "processes of an earlier run still write to this target",
                hint="end them; pg_stat_activity shows their sessions as `nasmigrate copy`",
            )
        time.sleep(0.1)


def has_control(connection: psycopg.Connection) -> bool:
    """Whether this database has ever seen a run."""
    row = connection.execute("SELECT to_regclass('nasmigrate.run') IS NOT NULL").fetchone()
    return bool(row and row[0])


def add_run(connection: psycopg.Connection, run: RunRow, tool_version: str) -> None:
    """Record a new run in state `copying`."""
    connection.execute(
        "INSERT INTO nasmigrate.run (run_id, command, plan_hash, plan, source, source_sha256, tool_version, state)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            run.run_id,
            run.command,
            run.plan_hash,
            json.dumps(run.plan),
            run.source,
            run.source_sha256,
            tool_version,
            run.state,
        ),
    )


def latest_run(connection: psycopg.Connection) -> RunRow | None:
    """The newest run, or None."""
    row = connection.execute(
        "SELECT run_id::text, command, plan_hash, plan, source, source_sha256, state, catalogue"
        " FROM nasmigrate.run ORDER BY started_at DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    names = ("run_id", "command", "plan_hash", "plan", "source", "source_sha256", "state", "catalogue")
    return RunRow(**dict(zip(names, row, strict=True)))


def set_state(connection: psycopg.Connection, run_id: str, state: str, catalogue: dict[str, str] | None = None) -> None:
    """Move a run on; with `catalogue`, also record the target's objects as they are now."""
    connection.execute(
        "UPDATE nasmigrate.run SET state = %s, catalogue = coalesce(%s::jsonb, catalogue) WHERE run_id = %s",
        (state, json.dumps(catalogue) if catalogue is not None else None, run_id),
    )


def _key_json(key: Sequence[SqliteValue] | None) -> str | None:
    if key is None:
        return None
    return json.dumps([[str(storage_class(value)), exact_bytes(value).hex()] for value in key])


def _key_from_json(key: list[list[str]] | None) -> tuple[SqliteValue, ...] | None:
    if key is None:
        return None
    return tuple(from_exact(StorageClass(storage), bytes.fromhex(raw)) for storage, raw in key)


def add_chunks(connection: psycopg.Connection, run_id: str, chunks: Iterable[ChunkRow]) -> None:
    """Write ledger rows into the current transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO nasmigrate.chunk VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    run_id,
                    chunk.table,
                    chunk.chunk,
                    chunk.kind,
                    _key_json(chunk.after),
                    _key_json(chunk.last),
                    chunk.rows,
                    chunk.size,
                    list(chunk.digests),
                    chunk.originals,
                    chunk.originals_digest,
                )
                for chunk in chunks
            ],
        )


def read_chunks(connection: psycopg.Connection, run_id: str) -> dict[str, list[ChunkRow]]:
    """The ledger of a run: table -> chunks in the order of their keys."""
    tables: dict[str, list[ChunkRow]] = {}
    rows = connection.execute(
        "SELECT table_name, chunk, kind, after_key, last_key, rows, bytes, digests, originals, originals_digest"
        " FROM nasmigrate.chunk WHERE run_id = %s ORDER BY table_name, chunk",
        (run_id,),
    )
    for table, chunk, kind, after, last, count, size, digests, originals, originals_digest in rows:
        tables.setdefault(table, []).append(
            ChunkRow(
                table=table,
                chunk=chunk,
                kind=kind,
                after=_key_from_json(after),
                last=_key_from_json(last),
                rows=count,
                size=size,
                digests=tuple(digests),
                originals=originals,
                originals_digest=originals_digest,
            )
        )
    return {table: in_key_order(chunks) for table, chunks in tables.items()}


def add_originals(connection: psycopg.Connection, originals: Iterable[OriginalRow]) -> None:
    """Write originals into the current transaction."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY nasmigrate.originals (table_name, chunk, key, ordinal, column_name, storage_class, value)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.set_types(("text", "int4", "bytea", "int4", "text", "text", "bytea"))
        for row in originals:
            copy.write_row((row.table, row.chunk, row.key, row.ordinal, row.column, row.storage_class, row.value))


def read_originals(
    connection: psycopg.Connection, table: str, chunk: int | None = None
) -> list[tuple[bytes, int, str, str, bytes]]:
    """Originals of a table, or of one of its chunks: (key, ordinal, column, storage class, value)."""
    return connection.execute(
        "SELECT key, ordinal, column_name, storage_class, value FROM nasmigrate.originals"
        " WHERE table_name = %s AND (%s::int IS NULL OR chunk = %s) ORDER BY key, ordinal, column_name",
        (table, chunk, chunk),
    ).fetchall()
