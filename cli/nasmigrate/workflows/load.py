"""From a plan to a loaded target: control schema, revisions, copy, keys, sequences, statistics."""

from __future__ import annotations

import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg

from nasmigrate import __version__
from nasmigrate.core.errors import ResumeMismatch
from nasmigrate.postgres.catalogue import catalogue_facts
from nasmigrate.postgres.connect import ServerFacts, connected
from nasmigrate.postgres.control import RunRow, add_run, await_writers, create_control, set_state
from nasmigrate.postgres.control_row import Held, State, claim, create_control_row
from nasmigrate.postgres.finish import analyze, set_sequences
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.postgres.loading import empty_unproven
from nasmigrate.postgres.preflight import check_target
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import mapped_errors, open_snapshot
from nasmigrate.transfer.engine import CopyJob, Guard, TableCopied, TransferEngine, unguarded
from nasmigrate.workflows.aside import set_aside
from nasmigrate.workflows.engine import engine_of
from nasmigrate.workflows.prepare import Prepared, plan_settings
from nasmigrate.workflows.proof import high_water
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.target import lock_target, refuse_unless_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A loaded target: its ledger, the catalogue as it was after the load, and what the copy came to.

    `held` is what a cutover's further transactions expect of the control row; None for a copy.
    """

    run_id: str
    held: Held | None
    ledger: dict[str, list[ChunkRow]]
    catalogue: dict[str, str]
    copied: list[TableCopied]
    engine: str
    server: ServerFacts
    database_bytes: int


def load(
    run: Run,
    conninfo: str,
    display: str,
    prepared: Prepared,
    revisions: Path,
    resume: RunRow | None = None,
    *,
    controlled: bool = False,
) -> Loaded:
    """Bring the target to the end of the load: everything but the proof.

    Args:
        run: the run.
        conninfo: the target.
        display: the target as messages may show it.
        prepared: source and plan.
        revisions: folder with the plan's Alembic revisions.
        resume: the ledger's run to go on with; None = the target must be empty.
        controlled: for a cutover: the target has a control row from the start, and everything is written behind it.

    Raises:
        PreflightError: the target is not empty, or not fit.
        ResumeMismatch: the ledger belongs to another plan.
        TakenOver: another run has taken the control row over.
    """
    from nasmigrate.postgres.migrate import upgrade
    from nasmigrate.schema.revisions import render_revisions

    plan = prepared.plan
    held: Held | None = None
    with connected(conninfo, purpose="nasmigrate") as connection:
        with run.phase("target", display):
            fitness = check_target(connection, conninfo, source_bytes=prepared.source.size)
            run.keep_to(fitness.slots)
            lock_target(connection)
            if resume is None:
                refuse_unless_empty(connection, display)
                run_id, held = _begin(run, connection, prepared, controlled=controlled)
            else:
                run_id = resume.run_id
                if controlled:
                    held = Held(epoch=claim(connection, (State.CLOSED,), run.command).epoch)
                if resume.plan_hash != plan.hash:
                    raise ResumeMismatch(
                        f"{display} was being loaded by another plan ({resume.plan_hash[:12]}, this one is"
                        f" {plan.hash[:12]})",
                        hint="resume with the configuration it was started with, or use an empty database",
                    )
            await_writers(connection)
            empty_unproven(connection, run_id)
            done = read_chunks(connection, run_id)
            connection.commit()
        guard = unguarded if held is None else held.hold
        tables, constraints, *views = render_revisions(plan)
        with run.phase("tables", f"{len(plan.tables)} tables"):
            upgrade(conninfo, revisions, tables.revision_id, guard=guard)
        engine = engine_of(run, conninfo, prepared.source)
        copied = _copy(run, engine, conninfo, prepared, run_id, done, guard)
        with run.phase("keys", "keys, indexes, foreign keys"):
            upgrade(conninfo, revisions, constraints.revision_id, guard=guard)
        for revision in views:
            with run.phase("views", f"{len(plan.views)} views"):
                upgrade(conninfo, revisions, revision.revision_id, guard=guard)
        with run.phase("finish", "sequences, statistics"):
            guard(connection)
            used = _set_aside(connection, prepared)
            guard(connection)
            set_sequences(connection, plan, used)
            connection.commit()
            guard(connection)
            analyze(connection, plan)
            connection.commit()
            guard(connection)
            ledger = read_chunks(connection, run_id)
            catalogue = catalogue_facts(connection, plan.relations)
            set_state(connection, run_id, "finished", catalogue)
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            connection.commit()
    return Loaded(
        run_id=run_id,
        held=held,
        ledger=ledger,
        catalogue=catalogue,
        copied=copied,
        engine=engine.told,
        server=fitness.facts,
        database_bytes=int(row[0]) if row else 0,
    )


def _set_aside(connection: psycopg.Connection, prepared: Prepared) -> dict[str, int]:
    """Write the rows without a parent that the plan sets aside; the highest number each table used, theirs included."""
    with closing(open_snapshot(prepared.source.snapshot)) as reader, mapped_errors(prepared.source.snapshot):
        return set_aside(connection, reader, prepared.plan, high_water(prepared.source.schema))


def _begin(
    run: Run, connection: psycopg.Connection, prepared: Prepared, *, controlled: bool
) -> tuple[str, Held | None]:
    """Create the control schema, the run's row and a control row."""
    run_id = record_run(run, connection, prepared)
    plan, path = prepared.plan, prepared.source.path
    held = None
    if controlled:
        held = Held(epoch=create_control_row(connection, run_id=run_id, plan_hash=plan.hash, source=str(path)))
    connection.commit()
    return run_id, held


def record_run(run: Run, connection: psycopg.Connection, prepared: Prepared) -> str:
    """Create the control schema and the run's row, in the caller's transaction; remember the run beside the snapshot.

    Returns:
        The run's id.
    """
    run_id = str(uuid.uuid4())
    source, plan = prepared.source, prepared.plan
    # Beside the snapshot first: a run in the target that no folder knows could never be resumed.
    run.directory.write_json(
        "run.json",
        {
            "run_id": run_id,
            "source_sha256": source.sha256,
            "source_state": source.state,
            "plan_hash": plan.hash,
            "settings": plan_settings(run.context.config),
        },
    )
    create_control(connection)
    add_run(
        connection,
        RunRow(
            run_id=run_id,
            command=run.command,
            plan_hash=plan.hash,
            plan=plan.model_dump(mode="json"),
            source=str(source.path),
            source_sha256=source.sha256,
            state="copying",
            catalogue=None,
        ),
        __version__,
    )
    return run_id


def copy_job(
    run: Run,
    conninfo: str,
    prepared: Prepared,
    run_id: str,
    done: dict[str, list[ChunkRow]],
    guard: Guard = unguarded,
) -> CopyJob:
    """What an engine is told: all of the plan, but what the ledger shows as done."""
    transfer = run.context.config.transfer
    return CopyJob(
        plan=prepared.plan,
        snapshot=prepared.source.snapshot,
        conninfo=conninfo,
        run_id=run_id,
        workdir=run.directory.root,
        limits=Limits(chunk_rows=transfer.chunk_rows, chunk_bytes=transfer.chunk_bytes),
        done=done,
        guard=guard,
    )


def _copy(
    run: Run,
    engine: TransferEngine,
    conninfo: str,
    prepared: Prepared,
    run_id: str,
    done: dict[str, list[ChunkRow]],
    guard: Guard,
) -> list[TableCopied]:
    plan: Plan = prepared.plan
    job = copy_job(run, conninfo, prepared, run_id, done, guard)
    totals = {table.name: plan.evidence[table.name].rows for table in plan.tables}
    with run.phase("copy", f"{sum(totals.values())} rows"):
        try:
            copied = engine.copy(job, run.meter("copy", [table.name for table in plan.tables], totals))
        finally:
            run.pool.close()
    if engine.told:
        run.context.reporter.note(engine.told)
    return copied
