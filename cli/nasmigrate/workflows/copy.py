"""`nasmigrate copy`: one source that nobody writes to, into an empty database that stays, verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import ResumeMismatch
from nasmigrate.core.result import Gate, Result
from nasmigrate.core.rundir import list_runs
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import check_server, connected, server_facts
from nasmigrate.postgres.control import RunRow, set_state
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import check_file
from nasmigrate.workflows.load import find_unfinished, load, refuse_unless_empty
from nasmigrate.workflows.outcome import finish, predict, verdict_of
from nasmigrate.workflows.prepare import (
    SNAPSHOT,
    Prepared,
    answered,
    column_settings,
    file_state,
    make,
    reopen_source,
    revisions_directory,
    take_source,
)
from nasmigrate.workflows.proof import decisions_gate, prove
from nasmigrate.workflows.run import Run, running


def copy(context: Context, source: Path, target: Target, *, resume: bool = False, round_trip: bool = False) -> Result:
    """Copy everything and prove it.

    Args:
        context: settings and reporter.
        source: the SQLite file; it is only read, and nobody may write to it meanwhile (that is checked).
        target: an empty database.
        resume: go on with the copy the target already holds a part of.
        round_trip: also decode everything back into SQLite and compare.

    Raises:
        TargetNotEmpty: the target holds something (and `resume` was not asked for).
        ResumeMismatch: the target's part belongs to another source, plan or folder.
        SourceError, SchemaError, TargetError, TransferError: what could not be done.
    """
    with running(context, "copy") as run:
        # Before any work on the source: the most common mistake is the wrong target.
        with connected(target.conninfo) as connection:
            check_server(server_facts(connection))
            connection.commit()
            unfinished = None
            if resume:
                unfinished = find_unfinished(connection, target.display)
            else:
                refuse_unless_empty(connection, target.display)
        if unfinished is None:
            prepared = make(run, take_source(run, source))
        else:
            prepared = _prepared_again(run, source, unfinished)
        revisions = revisions_directory(run, prepared.plan, publish=False)
        loaded = load(run, target.conninfo, target.display, prepared, revisions, unfinished)
        proof = prove(
            run,
            target.conninfo,
            prepared.plan,
            prepared.source,
            loaded.ledger,
            recorded=loaded.catalogue,
            with_round_trip=round_trip,
        )
        proof.add(_stillness(prepared))
        proof.add(decisions_gate(prepared.plan))
        if verdict_of(proof.gates)[0] == "pass":
            with connected(target.conninfo) as connection:
                set_state(connection, loaded.run_id, "verified")
                connection.commit()
        prediction, rates = predict(run, prepared, loaded.copied, loaded.database_bytes)
        return finish(
            run,
            source=str(prepared.source.path),
            target=target.display,
            plan=prepared.plan,
            source_sha256=prepared.source.sha256,
            proof=proof,
            copied=loaded.copied,
            prediction=prediction,
            rates=rates,
            server_version=loaded.server_version,
            next_step={
                "pass": "point the application at the target; `nasmigrate verify` repeats the proof at any time",
                "fail": "nasmigrate report",
                "inconclusive": "nasmigrate verify",
            },
        )


def _stillness(prepared: Prepared) -> Gate:
    """Whether anyone wrote to the source since the snapshot: such rows are not in the target."""
    still = file_state(prepared.source.path) == prepared.source.state
    return Gate(
        name="source-still",
        status="pass" if still else "fail",
        detail="nobody wrote to the source since the snapshot"
        if still
        else "the source was written to after the snapshot; the newer rows are not in the target",
        checked=1,
    )


def _prepared_again(run: Run, path: Path, unfinished: RunRow) -> Prepared:
    """Plan from the ledger, snapshot from the folder of the run that began the copy.

    Raises:
        ResumeMismatch: no folder here holds that snapshot, the source is another file, or columns are set otherwise.
    """
    path = check_file(path)
    if str(path) != unfinished.source:
        raise ResumeMismatch(
            f"the target holds a copy of {unfinished.source}, not of {path}",
            hint="resume with the source it was started with, or use an empty database",
        )
    for earlier in reversed(list_runs(run.context.base)):
        marker, snapshot = earlier.path("run.json"), earlier.path(SNAPSHOT)
        if not marker.exists() or not snapshot.exists():
            continue
        begun = json.loads(marker.read_text())
        if begun["run_id"] == unfinished.run_id:
            break
    else:
        raise ResumeMismatch(
            f"no run folder below {run.context.base} holds the snapshot of run {unfinished.run_id}",
            hint="resume in the folder where the copy was started, or use an empty database",
        )
    now = column_settings(run.context.config)
    changed = sorted(
        name for name in now.keys() | begun["columns"].keys() if now.get(name) != begun["columns"].get(name)
    )
    if changed:
        raise ResumeMismatch(
            f"the settings of {', '.join(changed[:3])} are no longer those this copy was begun with",
            hint='put [columns."table.column"] back as it was, or begin again in an empty database',
            details={"changed": changed},
        )
    with run.phase("snapshot", f"of run {earlier.name}"):
        # The earlier run's file, not a second copy of it: a hard link where the file system has them.
        here = run.directory.path(SNAPSHOT)
        try:
            here.hardlink_to(snapshot)
        except OSError:
            shutil.copy2(snapshot, here)
        run.directory.write_json("run.json", begun)
        # As the file stood at the snapshot: what was written between the two runs is not in the target either.
        state = tuple((name, size, modified) for name, size, modified in begun["source_state"])
        source = reopen_source(path, here, unfinished.source_sha256, state)
    plan = answered(Plan.model_validate(unfinished.plan), run.context.config.plan.accept)
    run.directory.write_json("plan.json", plan)
    return Prepared(source=source, plan=plan, scan_seconds=plan.profile_seconds)
