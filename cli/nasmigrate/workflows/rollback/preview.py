"""`rollback --dry-run`: how many rows would come home, and what cannot."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg

from nasmigrate.core.context import Context
from nasmigrate.core.errors import CannotConnect, ConfigError, ExitCode, StateError, WrongPhase
from nasmigrate.core.result import Gate
from nasmigrate.core.status import Status
from nasmigrate.core.target import Target
from nasmigrate.postgres.control import RunRow, latest_run
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.postgres.role_switch import switch_members
from nasmigrate.postgres.roles import role_exists
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.open import check_file, mapped_errors, open_source
from nasmigrate.sqlite.schema_text import OURS
from nasmigrate.workflows.authorities import Meaning, Standing, refuse_other_file
from nasmigrate.workflows.bring_home import Homecoming, Ledger, Survey, survey
from nasmigrate.workflows.cutover.ends import Ends, make_ends
from nasmigrate.workflows.rollback.shape import drift_since
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.status import described

_NAMED = 20


def refuse_unless_postgres_serves(standing: Standing) -> None:
    """A rollback begins while Postgres serves.

    Raises:
        WrongPhase: something else does, or nothing; or the file has been moved.
        FenceLost: this is not the file that was cut over.
    """
    if standing.meaning is Meaning.POSTGRES_SERVES and standing.control is not None:
        if standing.control.finalized:
            raise WrongPhase(
                "the cutover was made final, so there is no way back",
                hint="a new migration the other way is for other tools; the fenced file holds the state of that night",
            )
        if standing.moved_from is not None:
            # Leading the application back there would let it make an empty file and write into that.
            raise WrongPhase(
                f"{standing.source} lay at {standing.moved_from} when it was cut over, and nothing is there now;"
                " a rollback leads the application back to that place",
                hint=f"move it back, or if it was moved on purpose: ln -s {shlex.quote(str(standing.source))}"
                f" {shlex.quote(str(standing.moved_from))}; then start again",
            )
        return
    if standing.unreachable is not None:
        raise CannotConnect(
            standing.unreachable, hint="Postgres must be reachable, or its rows cannot come home; nasmigrate status"
        )
    hints = {
        Meaning.NOT_BEGUN: "no cutover was begun",
        Meaning.SQLITE_SERVES: "SQLite serves already",
        Meaning.FOREIGN_FENCE: "name the other target with --target; nasmigrate status says which database it is",
        Meaning.FENCE_LOST: "put the fenced file back in its place; nasmigrate status",
    }
    refuse_other_file(standing)
    raise WrongPhase(
        f"a rollback begins while Postgres serves; now {standing.meaning}",
        hint=hints.get(standing.meaning, "nasmigrate resume settles it"),
    )


def require_application(connection: psycopg.Connection, ends: Ends) -> None:
    """The role of the settings is the one that Postgres was opened for, or nobody writes any more.

    A rollback closes Postgres for every other one too; but an abort of it opens it for this one.

    Raises:
        ConfigError: it is another role, or there is none of that name.
    """
    role, members = ends.roles.application, switch_members(connection, ends.roles)
    if role in members or (not members and role_exists(connection, role)):
        return
    raise ConfigError(
        f"app.role: Postgres was not opened for role {role!r}; it serves as before"
        + (f", and these write: {', '.join(members)}" if members else ""),
        hint="set [app] role to the role that the application connects with, then nasmigrate rollback",
        code="NM0521",
    )


def recorded_run(connection: psycopg.Connection, ends: Ends) -> tuple[RunRow, Plan, Ledger]:
    """The run that was opened, its plan, and what Postgres held then; the transaction is left open.

    Raises:
        StateError: the target has lost them.
    """
    recorded = latest_run(connection)
    if recorded is None or recorded.catalogue is None:
        raise StateError(
            f"{ends.target.display} has lost the ledger of its cutover, so what came since cannot be told",
            hint="restore the schema nasmigrate of the target from a backup",
        )
    return recorded, Plan.model_validate(recorded.plan), read_chunks(connection, recorded.run_id)


def homecoming(run: Run, plan: Plan, schema: SourceSchema) -> Homecoming:
    """What every pass home needs."""
    transfer = run.context.config.transfer
    limits = Limits(chunk_rows=transfer.chunk_rows, chunk_bytes=transfer.chunk_bytes)
    return Homecoming(plan=plan, schema=schema, limits=limits, workdir=run.directory.root)


def preview_rollback(context: Context, source: Path, target: Target) -> Status:
    """Say what a rollback would bring home now; nothing is written.

    Raises:
        WrongPhase: Postgres does not serve.
        ConfigError: Postgres was opened for another role.
    """
    ends = make_ends(context.config, check_file(source), target)
    standing = ends.standing()
    refuse_unless_postgres_serves(standing)
    with running(context, "rollback") as run, ends.connected() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        recorded, plan, ledger = recorded_run(connection, ends)
        require_application(connection, ends)
        drift = drift_since(connection, plan, recorded.catalogue or {})
        with closing(open_source(ends.source, busy_timeout=ends.busy, fenced=True)) as reader:
            with mapped_errors(ends.source):
                schema = without_ours(inspect(reader))
            # A column that is gone cannot even be read, and nothing comes home until it is back.
            these = homecoming(run, plan, schema)
            found = Survey(counts={}, outside=()) if drift.broken else survey(connection, reader, these, ledger)
    lines = [
        f"{table}: {counts.inserted} rows would be inserted, {counts.updated} updated, {counts.deleted} deleted"
        for table, counts in sorted(found.counts.items())
    ]
    troubles = [*drift.lines] + [
        f"{value.table}.{value.column} at {value.key}: {value.value} cannot come home"
        for value in found.outside[:_NAMED]
    ]
    if len(found.outside) > _NAMED:
        troubles.append(f"and {len(found.outside) - _NAMED} more values")
    gate = Gate(
        name="home",
        status="fail" if troubles else "pass",
        detail="; ".join(troubles) or f"{sum(counts.total for counts in found.counts.values())} rows would come home",
        checked=max(1, sum(counts.total for counts in found.counts.values())),
    )
    return described(
        context,
        ends,
        standing,
        "rollback",
        did=["nothing: this was a dry run", *lines, *troubles],
        gates=[gate],
        exit_code=int(ExitCode.DIFFERENCES if troubles else ExitCode.OK),
    )


def without_ours(schema: SourceSchema) -> SourceSchema:
    """The schema of a fenced file as it is without the fence."""
    return replace(
        schema,
        tables=tuple(table for table in schema.tables if not table.name.startswith(OURS)),
        others=tuple(other for other in schema.others if not other.name.startswith(OURS)),
        sql_text=tuple(row for row in schema.sql_text if not row[1].startswith(OURS)),
    )
