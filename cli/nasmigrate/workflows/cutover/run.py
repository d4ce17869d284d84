"""The order of a cutover: preflight, copy, catch up, the pause, routing and proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import (
    ExitCode,
    ExternalToolError,
    GateFailed,
    NotRehearsed,
    OpeningInDoubt,
    RollbackFailed,
    RolledBack,
    SchemaError,
    SourceError,
    TargetError,
    TransferError,
)
from nasmigrate.core.phases import CUTOVER
from nasmigrate.core.result import Gate, Result, Verdict
from nasmigrate.core.target import Target
from nasmigrate.postgres.control import UNFINISHED, set_state
from nasmigrate.sqlite.open import check_file
from nasmigrate.sqlite.schema_text import digest_of_schema
from nasmigrate.sqlite.source_lock import source_lock
from nasmigrate.workflows.cutover.bring_up import PASSES, Loaded, bring_up, catch_up_passes, hold_for
from nasmigrate.workflows.cutover.dump import dump_target
from nasmigrate.workflows.cutover.ends import Ends, make_ends
from nasmigrate.workflows.cutover.finish import seed_gate
from nasmigrate.workflows.cutover.hooks import run_hook
from nasmigrate.workflows.cutover.journal import Journal
from nasmigrate.workflows.cutover.observe import observe, record, settle
from nasmigrate.workflows.cutover.options import NightPlan, Options, freeze_limit, hold_file, night_plan
from nasmigrate.workflows.cutover.preflight import Ready, preflight
from nasmigrate.workflows.cutover.routing import Routing, after, forget_earlier, route
from nasmigrate.workflows.cutover.steps import Steps
from nasmigrate.workflows.cutover.switch import FROZEN, Opened, Switching, switch
from nasmigrate.workflows.cutover.switches import switch_off, switches
from nasmigrate.workflows.cutover.watchdog import Watchdog, start_watchdog
from nasmigrate.workflows.outcome import finish, verdict_of
from nasmigrate.workflows.prepare import Prepared, make
from nasmigrate.workflows.proof import Proof, decisions_gate, prove
from nasmigrate.workflows.resume import prepared_again
from nasmigrate.workflows.run import Run, full_disk_named, running
from nasmigrate.workflows.server_tools import server_tools
from nasmigrate.workflows.source import take_source

_HOLD_POLL = 0.5
_SHOWN = 20
"""Differences that a message names; the report has the others."""


def plan_cutover(context: Context, source: Path, target: Target, options: Options) -> NightPlan:
    """What `cutover` would do now, in order; nothing is read but the settings."""
    ends = make_ends(context.config, check_file(source), target)
    return night_plan(
        context.config,
        options,
        source=str(ends.source),
        target=target.display,
        role=ends.roles.application,
        base=context.base,
    )


def cutover(context: Context, source: Path, target: Target, options: Options) -> Result:
    """Move the application's data to Postgres and the application after it.

    Args:
        context: settings and reporter.
        source: the live SQLite file. It is written once: the fence.
        target: an empty database, or the one of an earlier cutover that was rolled back.
        options: see Options.

    Returns:
        The result; Postgres serves. Its gates say whether the application has arrived and the proof holds.

    Raises:
        PreflightError: before the first write; every failed check is named.
        NotRehearsed: tonight's plan is not one that was rehearsed.
        RolledBack, GateFailed: it stopped, and SQLite serves as before.
        RollbackFailed, OpeningInDoubt: `nasmigrate resume` has to settle it; the watchdog already tries to.
        TakenOver: another run has taken over.
    """
    path = check_file(source)
    ends = make_ends(context.config, path, target)
    lock = nullcontext() if options.scratch else source_lock(path, "cutover")
    with running(context, "cutover") as run, lock, ExitStack() as stack:
        journal = Journal(context.base, "cutover", run.directory.name)
        steps = Steps(run, journal, CUTOVER, options.watcher)
        with steps("P0", target.display):
            ready = preflight(context, ends, options)
        with steps("P1"):
            limit = freeze_limit(context.config, options)
            prepared = _prepare(run, path, ready, options, limit)
        routing = Routing(context=context, ends=ends, options=options, journal=journal)
        if not options.scratch:
            forget_earlier(routing)
        stack.callback(_discard_copies, run, PASSES, FROZEN)
        watchdog = start_watchdog(run, options, stack)
        with _putting_back(routing, steps, watchdog):
            with steps("P2"):
                loaded = bring_up(run, ends, prepared, ready.earlier)
                proof = _prove(run, ends, prepared, loaded)
            with steps("P3"):
                loaded = catch_up_passes(run, ends, loaded, limit, clock=options.clock)
            _before_freeze(routing, watchdog)
            assert ready.standing.identity is not None  # noqa: S101 - the preflight reached the target
            switching = Switching(
                ends=ends,
                identity=ready.standing.identity,
                held=loaded.held,
                these=loaded.these,
                ledger=loaded.ledger,
                equal_to=loaded.equal_to,
                schema=digest_of_schema(prepared.source.schema.sql_text),
                limit=limit,
                clock=options.clock,
            )
            opened = switch(steps, switching, watchdog, stack)
        proof.add(_freeze_gate(opened, limit, loaded.predicted))
        return _serve(steps, routing, prepared, loaded, opened, proof)


# -- before the pause ----------------------------------------------------------------------------------------------


def _prepare(run: Run, path: Path, ready: Ready, options: Options, limit: float | None) -> Prepared:
    """Tonight's snapshot and plan, which must be a rehearsed one.

    Raises:
        NotRehearsed: no rehearsal that passed had this plan.
    """
    if ready.earlier is not None and ready.earlier.state in UNFINISHED:
        prepared = prepared_again(run, path, ready.earlier)
    else:
        prepared = make(run, take_source(run, path, longest_hold=hold_for(limit)))
    rehearsed = {rehearsal.plan_hash for rehearsal in ready.rehearsals}
    if not options.scratch and prepared.plan.hash not in rehearsed:
        last = ready.rehearsals[0]
        raise NotRehearsed(
            f"tonight's plan ({prepared.plan.hash[:12]}) is not the one that was rehearsed ({last.plan_hash[:12]},"
            f" {last.run}): the schema, the values or the settings have changed; nothing was written",
            hint="nasmigrate rehearse",
        )
    return prepared


def _prove(run: Run, ends: Ends, prepared: Prepared, loaded: Loaded) -> Proof:
    """Every check of the copy against the snapshot it was made from.

    Raises:
        GateFailed: one failed.
    """
    proof = prove(
        run,
        ends.target.conninfo,
        prepared.plan,
        prepared.source,
        loaded.ledger,
        recorded=loaded.catalogue,
        with_round_trip=False,
    )
    proof.add(decisions_gate(prepared.plan))
    if verdict_of(proof.gates)[0] != "pass":
        bad = [f"{gate.name}: {gate.detail}" for gate in proof.gates if gate.status in ("fail", "inconclusive")]
        _result(run, ends, prepared, loaded, proof)
        raise GateFailed(
            f"the copy is not proven, so nothing was switched and SQLite serves: {bad[0]}",
            checks=[*bad, *(difference.words for difference in proof.differences[:_SHOWN])],
            hint="nasmigrate report has every difference; nasmigrate rehearse shows it without haste; then use an empty"
            " database",
            details={"gates": bad},
        )
    with ends.connected() as connection:
        loaded.held.hold(connection)
        set_state(connection, loaded.these.run_id, "verified")
        connection.commit()
    return proof


def _before_freeze(routing: Routing, watchdog: Watchdog) -> None:
    """What the operator wants done, or waited for, before anything is held up.

    Raises:
        ExternalToolError: a command failed; nothing was frozen.
    """
    context, options = routing.context, routing.options
    if options.scratch:
        return
    hold = hold_file(context.base)
    if hold.exists():
        context.reporter.note(f"waiting while {hold} is there")
    while hold.exists():
        options.sleep(_HOLD_POLL)
    app, hooks = context.config.app, context.config.cutover
    if switches(context.config):
        watchdog.prepared()
    switch_off(context, options, routing.journal, "cron_pause", app.cron_pause)
    run_hook("before_freeze", hooks.before_freeze, context.base, hooks.hook_timeout, options.runner)
    switch_off(context, options, routing.journal, "maintenance_on", app.maintenance_on)


@contextmanager
def _putting_back(routing: Routing, steps: Steps, watchdog: Watchdog) -> Iterator[None]:
    """Around everything from the first write to the opening: what was switched off for the night is switched on again.

    Raises:
        RolledBack: in the place of an error from one of the ends: SQLite serves as before.
    """
    app = routing.config.app
    try:
        with full_disk_named():
            yield
    except (OpeningInDoubt, RollbackFailed):
        raise  # nobody writes: the page stays until it is settled
    except BaseException as error:
        if steps.has_committed("P7"):
            raise  # Postgres serves, and what the old application needs stays off
        if not routing.options.scratch:
            troubles: list[str] = []
            after(routing, "maintenance_off", app.maintenance_off, troubles)
            after(routing, "cron_resume", app.cron_resume, troubles)
        watchdog.decided()
        routing.journal.add("stopped", "", str(error))
        if isinstance(error, SourceError | TargetError | TransferError | SchemaError | ExternalToolError):
            raise RolledBack(
                f"the cutover stopped, and SQLite serves as before: {error.message}",
                hint=error.hint,
                details={**error.details, "cause": error.code},
            ) from error
        raise


# -- after the opening ---------------------------------------------------------------------------------------------


def _serve(steps: Steps, routing: Routing, prepared: Prepared, loaded: Loaded, opened: Opened, proof: Proof) -> Result:
    """Route and prove. Postgres serves whatever happens here, so failures are gates and nothing else."""
    run, ends, options = steps.run, routing.ends, routing.options
    if opened.interrupted:
        run.context.reporter.note(
            "the interrupt came too late: Postgres is open, so the application is led there; nasmigrate rollback goes"
            " back"
        )
    _discard_copies(run, PASSES)  # the env file may be on the same disk
    settle(run, ends)
    if not options.scratch:
        after(routing, "after_open", routing.config.cutover.after_open, [])
        with steps("P8"):
            proof.add(route(routing))
    with steps("P9"):
        record(run, ends, loaded, opened)
        _discard_copies(run, FROZEN)  # the proof makes two of its own
        observe(run, ends, prepared.plan, opened.before, proof)
        if routing.config.cutover.dump and not options.scratch:
            proof.add(dump_target(ends, run.directory.root, server_tools(run.context, ends.target, options.environ)))
    settled = verdict_of(proof.gates)[0] == "pass"
    seeded = True
    if routing.config.cutover.seed and not options.scratch:
        with steps("P10"):
            seeded = _seed(run, routing, proof)
    result = _result(
        run,
        ends,
        prepared,
        loaded,
        proof,
        rates={
            "freeze_seconds": round(opened.frozen_seconds, 3),
            "freeze_predicted_seconds": round(loaded.predicted, 3),
            "freeze_copy_seconds": round(opened.copy_seconds, 3),
            "freeze_digest_seconds": round(opened.drained.seconds.digest, 3),
            "freeze_apply_seconds": round(opened.drained.seconds.compare + opened.drained.seconds.apply, 3),
            "freeze_verify_seconds": round(opened.drained.seconds.verify, 3),
            "freeze_fence_seconds": round(opened.fence_seconds, 3),
            "open_seconds": round(opened.open_seconds, 3),
        },
        next_step={
            "pass": "Postgres serves; nasmigrate status at any time, nasmigrate rollback to go back",
            "fail": "the proof failed: nasmigrate report, then nasmigrate rollback",
            "inconclusive": "Postgres serves; see the gates above, then nasmigrate resume",
        },
        decided=True,
    )
    if seeded or not settled:
        return result
    # Kill Bill is not the migration: it has a code of its own, and is never a reason to go back.
    result = result.model_copy(
        update={"exit_code": int(ExitCode.EXTERNAL_TOOL), "next_step": "Postgres serves; nasmigrate seed goes on"}
    )
    run.keep("result.json", result)
    return result


def _discard_copies(run: Run, *names: str) -> None:
    """Remove copies of the source that only the night itself needs."""
    for name in names:
        for copy in run.directory.root.glob(name):
            with suppress(OSError):
                copy.unlink()


def _result(
    run: Run,
    ends: Ends,
    prepared: Prepared,
    loaded: Loaded,
    proof: Proof,
    *,
    rates: dict[str, float] | None = None,
    next_step: dict[Verdict, str] | None = None,
    decided: bool = False,
) -> Result:
    return finish(
        run,
        source=str(ends.source),
        target=ends.target.display,
        plan=prepared.plan,
        source_sha256=prepared.source.sha256,
        proof=proof,
        copied=loaded.copied,
        server=loaded.server,
        rates=rates,
        next_step=next_step,
        decided=decided,
    )


def _seed(run: Run, routing: Routing, proof: Proof) -> bool:
    """P10: everyone into Kill Bill; whether that is done and proven."""
    gate = seed_gate(run, routing)
    proof.add(gate)
    return gate.status == "pass"


def _freeze_gate(opened: Opened, limit: float | None, predicted: float) -> Gate:
    seconds = opened.drained.seconds
    allowed = "no limit" if limit is None else f"{limit:g} s allowed"
    return Gate(
        name="freeze",
        status="pass",
        detail=f"{opened.frozen_seconds:.2f} s ({predicted:.2f} s predicted, {allowed}): reading {seconds.digest:.2f},"
        f" applying {seconds.compare + seconds.apply:.2f}, checking {seconds.verify:.2f},"
        f" fence {opened.fence_seconds:.2f}; {opened.drained.changed_rows} rows",
        checked=1,  # the time against its limit; a drain that is told by pages reads no row of the source
        seconds=round(opened.frozen_seconds, 3),
    )
