"""The end of every copy: the loaded target is proven, and the result written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import set_state
from nasmigrate.workflows.load import Loaded
from nasmigrate.workflows.outcome import finish, predict, verdict_of
from nasmigrate.workflows.prepare import Prepared
from nasmigrate.workflows.proof import decisions_gate, prove, stillness_gate
from nasmigrate.workflows.run import Run

if TYPE_CHECKING:
    from nasmigrate.core.result import Result


def conclude(run: Run, target: Target, prepared: Prepared, loaded: Loaded, *, round_trip: bool) -> Result:
    """Prove the copy, remember in the target that it was, and say what came of it.

    Args:
        run: the run.
        target: where the rows are.
        prepared: source and plan.
        loaded: what the load came to.
        round_trip: also decode everything back into SQLite and compare.

    Raises:
        SourceError, TargetError: what could not be read.
    """
    plan, source = prepared.plan, prepared.source
    proof = prove(
        run,
        target.conninfo,
        plan,
        source,
        loaded.ledger,
        recorded=loaded.catalogue,
        with_round_trip=round_trip,
    )
    proof.add(stillness_gate(source))
    proof.add(decisions_gate(plan))
    if verdict_of(proof.gates)[0] == "pass":
        with connected(target.conninfo) as connection:
            set_state(connection, loaded.run_id, "verified")
            connection.commit()
    prediction, rates = predict(run, prepared, loaded.copied, loaded.database_bytes)
    return finish(
        run,
        source=str(source.path),
        target=target.display,
        plan=plan,
        source_sha256=source.sha256,
        proof=proof,
        copied=loaded.copied,
        prediction=prediction,
        rates=rates,
        server=loaded.server,
        engine=loaded.engine,
        next_step={
            "pass": "point the application at the target; `nasmigrate verify` repeats the proof at any time",
            "fail": "nasmigrate report",
            "inconclusive": "nasmigrate verify",
        },
    )
