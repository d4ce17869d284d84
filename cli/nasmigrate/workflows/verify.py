"""`nasmigrate verify`: compare source and target now, by the ledger the target keeps."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import StateError
from nasmigrate.core.result import Gate, Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import has_control, latest_run
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.verify.source_side import read_again
from nasmigrate.workflows.outcome import finish
from nasmigrate.workflows.prepare import answered
from nasmigrate.workflows.proof import Proof, decisions_gate, prove
from nasmigrate.workflows.run import running
from nasmigrate.workflows.source import Source, take_source


def verify(context: Context, source: Path, target: Target, *, round_trip: bool = False) -> Result:
    """Take a fresh snapshot of the source and prove the target against it.

    The ledger gives codecs and chunk bounds; every digest of the source is made anew.

    Raises:
        StateError: the target holds no ledger of a copy, or the source's tables are not those of the plan.
        SourceError, TargetError: what could not be read.
    """
    with running(context, "verify") as run:
        run.examiner.prepare()
        with run.phase("ledger", target.display), connected(target.conninfo) as connection:
            recorded = latest_run(connection) if has_control(connection) else None
            if recorded is None:
                raise StateError(
                    f"{target.display} holds no ledger of a copy",
                    hint="verify needs the schema `nasmigrate` that `nasmigrate copy` leaves in the target",
                    code="NM1107",
                )
            plan = Plan.model_validate(recorded.plan)
            # What was answered at the copy stays answered; what was answered since counts as well.
            plan = answered(plan, {*plan.accepted, *context.config.plan.accept})
            ledger = read_chunks(connection, recorded.run_id)
            connection.commit()
        fresh = take_source(run, source)
        drift = _drift(plan, fresh)
        if drift:
            proof = Proof()
            proof.add(drift)
        else:
            with run.phase("source", "digests"), closing(open_snapshot(fresh.snapshot)) as reader:
                expected = read_again(
                    reader,
                    plan,
                    ledger,
                    run.directory.root,
                    run.meter("source", [table.name for table in plan.tables], fresh.counts),
                )
            proof = prove(
                run,
                target.conninfo,
                plan,
                fresh,
                expected,
                recorded=recorded.catalogue,
                with_round_trip=round_trip,
            )
            proof.add(decisions_gate(plan))
        return finish(
            run,
            source=str(fresh.path),
            target=target.display,
            plan=plan,
            source_sha256=fresh.sha256,
            proof=proof,
            next_step={"fail": "nasmigrate report"},
        )


def _drift(plan: Plan, source: Source) -> Gate | None:
    """The source's tables against the plan's; None when they agree."""
    ours = {
        table.name: [column.name for column in table.columns]
        for table in source.schema.tables
        if table.name not in plan.excluded
    }
    theirs = {table.name: [column.name for column in table.columns] for table in plan.tables}
    if ours == theirs:
        return None
    changed = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return Gate(
        name="schema-drift",
        status="fail",
        detail=f"the source's tables are no longer those that were copied: {', '.join(changed[:5])}",
        checked=len(ours.keys() | theirs.keys()),
    )
