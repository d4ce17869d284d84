"""What is left of a cutover once Postgres serves, for a run that comes later: routing, proof, dump."""

from __future__ import annotations

from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.result import Gate
from nasmigrate.postgres.control import latest_run
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.plan import Plan
from nasmigrate.verify.digests import compare_digests
from nasmigrate.workflows.cutover.dump import dump_target
from nasmigrate.workflows.cutover.observe import settle
from nasmigrate.workflows.cutover.routing import Routing, route
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.server_tools import server_tools


def finish_cutover(run: Run, routing: Routing) -> tuple[Gate, ...]:
    """Route again, and prove what can still be proven. Nothing here changes which engine serves."""
    if routing.options.scratch:
        return ()
    settle(run, routing.ends)
    gates = [route(routing, again=True)]
    try:
        gates.append(_still_equal(run, routing))
        if routing.config.cutover.dump:
            tools_for = server_tools(run.context, routing.ends.target, routing.options.environ)
            gates.append(dump_target(routing.ends, run.directory.root, tools_for))
    except (NasmigrateError, OSError) as error:
        gates.append(Gate(name="digests", status="inconclusive", detail=str(error)))
    if routing.config.cutover.seed:
        gates.append(seed_gate(run, routing))
    return tuple(gates)


def seed_gate(run: Run, routing: Routing) -> Gate:
    """P10: everyone into Kill Bill. What differs there is no fault of the copy, so it is inconclusive at worst."""
    from nasmigrate.workflows.seed import seed_within

    gate = seed_within(run, routing.context, routing.ends.target, again="nasmigrate seed goes on")
    return gate if gate.status == "pass" else gate.model_copy(update={"status": "inconclusive"})


def _still_equal(run: Run, routing: Routing) -> Gate:
    """Postgres against the ledger of the opening: a chunk that is equal is proven, one that is not has been written to.

    The session that saw Postgres as it was opened has gone with the run that opened it, so a chunk that the application
    has changed since cannot be told from one that was wrong.
    """
    with routing.ends.connected() as connection:
        recorded = latest_run(connection)
        if recorded is None:
            return Gate(name="digests", status="inconclusive", detail="the target has lost its ledger")
        plan = Plan.model_validate(recorded.plan)
        ledger = read_chunks(connection, recorded.run_id)
        connection.commit()
    outcomes = compare_digests(
        routing.ends.target.conninfo, plan, ledger, connections=run.context.config.transfer.verify_connections
    )
    chunks = sum(outcome.chunks for outcome in outcomes)
    changed = sum(len(outcome.mismatches) for outcome in outcomes)
    if changed or not chunks:
        detail = f"{chunks - changed} of {chunks} chunks are as at the opening; the others were written to since"
        return Gate(name="digests", status="inconclusive", detail=detail, checked=chunks)
    return Gate(
        name="digests", status="pass", detail=f"{chunks} chunks are as they were at the opening", checked=chunks
    )
