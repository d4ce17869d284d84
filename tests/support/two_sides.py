"""A SQLite file and the Postgres database it was copied into, for tests that change one and make the other equal."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw
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
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.apply import prepare
from nasmigrate.sqlite.full_text import FullText
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows.bring_home import BroughtHome, Homecoming, Survey, bring_home, settle, survey
from nasmigrate.workflows.catch_up import CaughtUp, Pass, catch_up, record_pending


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
    equal_to: Path
    passes: int = field(default=0)
    full_text: FullText = field(default_factory=FullText)

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

    def catch_up(self, conninfo: str = "", *, by_pages: bool = False) -> CaughtUp:
        """One pass on a fresh snapshot, committed; `by_pages`: since the snapshot of the pass before."""
        snapshot = self.snapshot()
        since = self.equal_to if by_pages else None
        with connected(conninfo or self.pipeline.conninfo) as connection, Pool() as pool:
            done = catch_up(connection, self.these(pool), SourceFile(path=snapshot), self.ledger, no_guard, since=since)
            connection.commit()
            assert read_chunks(connection, self.run_id) == done.ledger
        self.ledger, self.equal_to = done.ledger, snapshot
        return done

    def record_pending(self) -> None:
        """Make the digests that passes by pages left out."""
        with connected(self.pipeline.conninfo) as connection, Pool() as pool:
            self.ledger = record_pending(
                connection, self.these(pool), SourceFile(path=self.equal_to), self.ledger, no_guard
            )
            connection.commit()
            assert read_chunks(connection, self.run_id) == self.ledger

    def these(self, pool: Pool) -> Pass:
        return Pass(plan=self.plan, run_id=self.run_id, pool=pool, limits=self.limits, workdir=self.pipeline.base)

    def bring_home(self) -> BroughtHome:
        """One pass and what follows it, in one committed transaction."""
        schema = self.schema()
        with connected(self.pipeline.conninfo) as connection, closing(self.writer()) as live:
            these = self.homecoming(schema)
            done = bring_home(connection, live, these, self.ledger)
            self.full_text = settle(connection, live, these, list(done.counts))
            live.execute("COMMIT")
        self.ledger = done.ledger
        return done

    def survey(self) -> Survey:
        """What there is to bring home."""
        with connected(self.pipeline.conninfo) as connection, closing(SourceFile(path=self.snapshot()).open()) as file:
            return survey(connection, file, self.homecoming(self.schema()), self.ledger)

    def writer(self) -> apsw.Connection:
        """The live file as the tool has it while rows come home: prepared, in a transaction."""
        live = apsw.Connection(str(self.live))
        prepare(live)
        live.execute("BEGIN IMMEDIATE")
        return live

    def homecoming(self, schema: SourceSchema) -> Homecoming:
        return Homecoming(plan=self.plan, schema=schema, limits=self.limits, workdir=self.pipeline.base)

    def schema(self) -> SourceSchema:
        with closing(SourceFile(path=self.snapshot()).open()) as file:
            return inspect(file)

    def stored(self, table: str) -> dict[object, tuple[object, ...]]:
        """Each row of the live file by its rowid: class and bytes of every value, from the standard library."""
        with closing(sqlite3.connect(self.live)) as connection:
            connection.text_factory = bytes
            columns = [row[1].decode() for row in connection.execute(f"PRAGMA table_xinfo('{table}')")]
            terms = ", ".join(f'typeof("{name}"), "{name}"' for name in columns)
            rows = connection.execute(f'SELECT rowid, {terms} FROM "{table}"').fetchall()
        return {row[0]: row[1:] for row in rows}

    def recorded(self) -> dict[str, list[ChunkRow]]:
        """The ledger as it stands in the target."""
        with connected(self.pipeline.conninfo) as connection:
            return read_chunks(connection, self.run_id)

    def assert_home(self) -> None:
        """A pass the other way finds no row to write, and every proof of a copy holds then.

        That pass starts from the ledger of the copy, so it compares all that changed since, and records originals anew.
        """
        home, self.ledger = self.ledger, self.recorded()
        assert self.catch_up().changed_rows == 0
        self.assert_equal()
        self.ledger = home
        with closing(sqlite3.connect(self.live)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []

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
    snapshot = pipeline.base / "copied.db"
    snapshot.unlink(missing_ok=True)
    return TwoSides(
        equal_to=take_snapshot(live, snapshot).path,
        pipeline=pipeline,
        live=live,
        plan=plan,
        run_id=run.run_id,
        ledger=ledger,
        limits=Limits(chunk_rows=chunk_rows),
    )


def two_sides_of(pipeline: Pipeline, folder: Path, script: str, *, chunk_rows: int) -> TwoSides:
    """Write a file by an SQL script, and copy it into the emptied target."""
    live = folder / "live.db"
    with closing(sqlite3.connect(live)) as connection:
        connection.executescript(script)
    return two_sides(pipeline, live, chunk_rows=chunk_rows)
