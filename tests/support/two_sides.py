"""A SQLite file and the Postgres database it was copied into, for tests that change one and make the other equal."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from support.judge import judge
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.config_model import ColumnSection
from nasmigrate.core.pool import Pool
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import latest_run
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows.catch_up import CaughtUp, Pass, catch_up


def no_guard(_: psycopg.Connection) -> None:
    """Nobody else is there."""


@dataclass(slots=True, kw_only=True)
class TwoSides:
    """The live file, the target, the plan between them and the ledger as of the last pass."""

    pipeline: Pipeline
    live: Path
    plan: Plan
    run_id: str
    ledger: dict[str, list[ChunkRow]]
    limits: Limits
    passes: int = field(default=0)

    def sqlite(self, script: str) -> None:
        """Change the live file as an application does."""
        with closing(sqlite3.connect(self.live)) as connection:
            connection.executescript(script)

    def postgres(self, script: str) -> None:
        """Change the target as an application does."""
        with psycopg.connect(self.pipeline.conninfo) as connection:
            connection.execute(script)

    def snapshot(self) -> Path:
        """The live file as it is now."""
        self.passes += 1
        path = self.pipeline.base / f"pass-{self.passes}.db"
        path.unlink(missing_ok=True)
        return take_snapshot(self.live, path).path

    def catch_up(self, conninfo: str = "") -> CaughtUp:
        """One pass on a fresh snapshot, committed."""
        snapshot = self.snapshot()
        with connected(conninfo or self.pipeline.conninfo) as connection, Pool() as pool:
            these = Pass(plan=self.plan, run_id=self.run_id, pool=pool, limits=self.limits, workdir=self.pipeline.base)
            done = catch_up(connection, these, SourceFile(path=snapshot), self.ledger, no_guard)
            connection.commit()
            assert read_chunks(connection, self.run_id) == done.ledger
        self.ledger = done.ledger
        return done

    def assert_equal(self) -> None:
        """By every gate of `verify`, by the round trip, and by a judge that shares no code with the package."""
        result = self.pipeline.verify(self.live, round_trip=True)
        failed = failed_gates(result)
        if not any(table.rows_source for table in result.tables):
            failed = [gate for gate in failed if not gate.startswith("round-trip: inconclusive")]
        assert failed == [], (failed, result.differences)
        assert judge(self.live, self.pipeline.conninfo).differences == []


def two_sides(
    pipeline: Pipeline,
    live: Path,
    *,
    chunk_rows: int = 50_000,
    columns: Mapping[str, ColumnSection] | None = None,
    accept: Sequence[str] = (),
) -> TwoSides:
    """Copy `live` into the emptied target."""
    result, plan = pipeline.copy(live, chunk_rows=chunk_rows, columns=columns, accept=accept)
    assert failed_gates(result, ("counts", "digests", "originals", "objects")) == []
    with connected(pipeline.conninfo) as connection:
        run = latest_run(connection)
        assert run is not None
        ledger = read_chunks(connection, run.run_id)
    return TwoSides(
        pipeline=pipeline,
        live=live,
        plan=plan,
        run_id=run.run_id,
        ledger=ledger,
        limits=Limits(chunk_rows=chunk_rows),
    )


def copy_of(live: Path, where: Path) -> Path:
    """The file as it is now, by plain copy: nobody has it open."""
    shutil.copyfile(live, where)
    return where
