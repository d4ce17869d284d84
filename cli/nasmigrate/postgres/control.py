"""The schema `nasmigrate` in the target, and its runs; `ledger.py` has its chunks and originals."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from nasmigrate.core.errors import RunLocked

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
CREATE TABLE IF NOT EXISTS nasmigrate.quarantine (
    table_name text NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    column_name text NOT NULL,
    storage_class text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (table_name, ordinal, position)
);
CREATE TABLE IF NOT EXISTS nasmigrate.loading (
    run_id uuid NOT NULL REFERENCES nasmigrate.run ON DELETE CASCADE,
    table_name text NOT NULL,
    PRIMARY KEY (run_id, table_name)
);
"""


UNFINISHED = ("copying", "copied")
"""States of a run whose copy is to be gone on with."""


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
