"""Snapshot, inspection, profile, plan: everything before the first write to a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nasmigrate.schema.decide import wants_shape
from nasmigrate.schema.model import Column, SourceSchema
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.planner import PlanInput, make_plan
from nasmigrate.schema.revisions import write_revisions
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.open import check_file, mapped_errors, open_snapshot
from nasmigrate.sqlite.orphans import find_orphans
from nasmigrate.sqlite.profile import profile_table
from nasmigrate.sqlite.read import count_rows
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows.run import Run

SNAPSHOT = "snapshot.db"
FileState = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A snapshot and what is in it. `counts` are SQLite's own `count(*)`, independent of the profile."""

    path: Path
    snapshot: Path
    sha256: str
    size: int
    schema: SourceSchema
    counts: dict[str, int]
    state: FileState


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A source with its plan. `scan_seconds` is what one reading of all rows took."""

    source: Source
    plan: Plan
    scan_seconds: float


def file_state(path: Path) -> FileState:
    """(name, size, modification time in ns) of the database and its journals, to see whether anyone wrote.

    An empty journal counts as none: reading a file in WAL mode leaves an empty -wal where there was no file.
    """
    state = []
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")):
        try:
            facts = name.stat()
        except FileNotFoundError:
            continue
        if facts.st_size or name == path:
            state.append((name.name, facts.st_size, facts.st_mtime_ns))
    return tuple(state)


def take_source(run: Run, path: Path) -> Source:
    """Snapshot the live file into the run directory and inspect it.

    Raises:
        SourceError: the file cannot be read as a SQLite database with tables.
    """
    with run.phase("snapshot", str(path)):
        path = check_file(path)
        state = file_state(path)
        snapshot = take_snapshot(
            path, run.directory.path(SNAPSHOT), busy_timeout=run.context.config.source.busy_timeout
        )
    with run.phase("inspect"):
        schema, counts = _look(snapshot.path)
    return Source(
        path=path,
        snapshot=snapshot.path,
        sha256=snapshot.sha256,
        size=snapshot.bytes,
        schema=schema,
        counts=counts,
        state=state,
    )


def reopen_source(path: Path, snapshot: Path, sha256: str, state: FileState) -> Source:
    """The source of an earlier run, from its snapshot; `state` is how the live file stood at that snapshot."""
    schema, counts = _look(snapshot)
    return Source(
        path=path,
        snapshot=snapshot,
        sha256=sha256,
        size=snapshot.stat().st_size,
        schema=schema,
        counts=counts,
        state=state,
    )


def _look(snapshot: Path) -> tuple[SourceSchema, dict[str, int]]:
    with closing(open_snapshot(snapshot)) as connection, mapped_errors(snapshot):
        schema = inspect(connection)
        return schema, {table.name: count_rows(connection, table.name) for table in schema.tables}


def make(run: Run, source: Source) -> Prepared:
    """Profile every table and decide; `plan.json` is in the run directory afterwards.

    Raises:
        SchemaError: something cannot be carried as asked.
    """
    config = run.context.config
    forced = {name: section.type for name, section in config.columns.items() if section.type is not None}
    order = [table.name for table in source.schema.tables]
    with run.phase("profile"):
        meter = run.meter("profile", order, source.counts)
        started = time.perf_counter()
        profiles = {}
        with closing(open_snapshot(source.snapshot)) as connection, mapped_errors(source.snapshot):
            for table in source.schema.tables:
                profiles[table.name] = profile_table(
                    connection,
                    table,
                    encoding=source.schema.encoding,
                    wants_shape=_shape_wish(table.name, forced),
                    progress=lambda rows, name=table.name: meter(name, rows),  # type: ignore[misc]
                )
            scan_seconds = time.perf_counter() - started
            orphans = find_orphans(connection, source.schema)
    with run.phase("plan"):
        plan = make_plan(
            PlanInput(
                schema=source.schema,
                profiles=profiles,
                orphans=orphans,
                forced=forced,
                accept=config.plan.accept,
                show_values=run.context.show_values,
            )
        ).model_copy(
            update={
                "source": str(source.path),
                "source_sha256": source.sha256,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "profile_seconds": round(scan_seconds, 3),
            }
        )
        run.directory.write_json("plan.json", plan)
    return Prepared(source=source, plan=plan, scan_seconds=scan_seconds)


def _shape_wish(table: str, forced: dict[str, str]) -> Callable[[Column], bool]:
    return lambda column: wants_shape(column, forced.get(f"{table}.{column.name}"))


def revisions_directory(run: Run, plan: Plan, *, publish: bool) -> Path:
    """Write the plan's Alembic revisions and say where they are.

    In a folder with `nasmigrate.toml` they go to its migrations folder, to be reviewed and kept; otherwise, or
    when `publish` is False, into the run directory.
    """
    config = run.context.config
    folder = run.context.base / config.migrations.directory if publish else run.directory.root / "migrations"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_revisions(plan, folder)
    return folder
