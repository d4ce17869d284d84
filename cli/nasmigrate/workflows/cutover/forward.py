"""`resume --forward`: Postgres is opened after all, once the target is proven equal to the fenced file."""

from __future__ import annotations

from nasmigrate.core.errors import GateFailed, StateError
from nasmigrate.postgres.control import latest_run
from nasmigrate.postgres.control_row import Held, State
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.verify.digests import compare_digests
from nasmigrate.workflows.authorities import Standing
from nasmigrate.workflows.catch_up import catch_up
from nasmigrate.workflows.cutover.bring_up import pass_of
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.observe import FENCED
from nasmigrate.workflows.cutover.opening import open_postgres
from nasmigrate.workflows.cutover.undo import stamp, take_over
from nasmigrate.workflows.run import Run


def open_forward(run: Run, ends: Ends, standing: Standing) -> None:
    """Take over, stamp the fence, carry over what is missing, prove both sides equal, open.

    Raises:
        GateFailed: they are not equal; nobody writes, `resume` without --forward drops the fence.
        TakenOver, FenceLost: another run was faster.
        OpeningInDoubt: Postgres stopped answering.
    """
    assert standing.fence is not None and standing.identity is not None  # noqa: S101 - it is between fence and opening
    row = take_over(ends, (State.CLOSED,), "resume")
    stamp(ends, standing.fence, standing.identity, row.epoch)
    held = Held(epoch=row.epoch)
    snapshot = take_snapshot(
        ends.source, run.directory.path(FENCED), busy_timeout=run.context.config.source.busy_timeout, fenced=True
    )
    with ends.connected() as connection:
        recorded = latest_run(connection)
        if recorded is None:
            raise StateError(f"{ends.target.display} has lost its ledger", hint="nasmigrate resume drops the fence")
        plan = Plan.model_validate(recorded.plan)
        ledger = read_chunks(connection, recorded.run_id)
        connection.commit()
        done = catch_up(
            connection, pass_of(run, plan, recorded.run_id), SourceFile(path=snapshot.path), ledger, held.hold
        )
        connection.commit()
    outcomes = compare_digests(
        ends.target.conninfo, plan, done.ledger, connections=run.context.config.transfer.verify_connections
    )
    different = [outcome.table for outcome in outcomes if outcome.mismatches or not outcome.chunks]
    if different:
        raise GateFailed(
            f"Postgres is not equal to the fenced file in {', '.join(different[:3])}; it was not opened",
            hint="nasmigrate resume drops the fence: SQLite serves again",
        )
    open_postgres(ends, held, "resume")
