"""`nasmigrate resume` and `nasmigrate abort`: from wherever a cutover or rollback stopped to one engine that serves.

Both obey the table of the two authorities (`authorities.py`) and nothing else: the journal may be lost or damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import FenceLost, OpeningInDoubt, RunLocked, WrongPhase
from nasmigrate.core.status import Status
from nasmigrate.core.target import Target
from nasmigrate.postgres.control_row import State, claim, database_called
from nasmigrate.sqlite.live import live_process
from nasmigrate.sqlite.open import check_file
from nasmigrate.sqlite.source_lock import source_lock
from nasmigrate.workflows.authorities import Meaning, Standing, refuse_other_file
from nasmigrate.workflows.cutover.ends import Ends, make_ends
from nasmigrate.workflows.cutover.finish import finish_cutover
from nasmigrate.workflows.cutover.forward import open_forward
from nasmigrate.workflows.cutover.journal import Journal
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.routing import Routing, after, led_to_postgres, route, route_back
from nasmigrate.workflows.cutover.undo import close_after, reopen, stamp, undo
from nasmigrate.workflows.outcome import verdict_of
from nasmigrate.workflows.rollback import rollback_under_way
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.status import described


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions:
    """What `resume` may do beyond undoing.

    Attributes:
        forward: between fence and opening, open Postgres rather than drop the fence.
        postgres_is_gone: Postgres is lost for good: drop the fence without asking it. What it took is given up.
        adopt: the fence stands for the database that this target was restored from.
        common: what cutover is given too.
    """

    forward: bool = False
    postgres_is_gone: bool = False
    adopt: bool = False
    common: Options = field(default_factory=Options)


def resume(context: Context, source: Path, target: Target, options: ResumeOptions) -> Status:
    """Settle what is undecided, or finish what is decided. Twice is the same as once.

    Raises:
        WrongPhase: there is nothing to resume.
        RunLocked: another run works on the file, or one that is suspended and has changed nothing yet.
        FenceLost: the fence is gone, or stands for another database.
        OpeningInDoubt: Postgres does not answer, and only it knows whether it was opened.
        TakenOver: another run has taken over meanwhile.
    """

    def settle(run: Run, routing: Routing, standing: Standing, did: list[str]) -> int | None:
        ends, meaning = routing.ends, standing.meaning
        if meaning is Meaning.FOREIGN_FENCE and options.adopt:
            standing = _adopted(ends, standing, did)
            meaning = standing.meaning
        if meaning is Meaning.NOT_BEGUN:
            raise WrongPhase("there is nothing to resume: no cutover was begun", hint="nasmigrate cutover")
        if meaning is Meaning.SQLITE_SERVES:
            return _tidy(routing, standing, did)
        if meaning is Meaning.BETWEEN and options.forward:
            open_forward(run, ends, standing)
            did.append("verified the target against the fenced file, and opened Postgres")
            return _finish(run, routing, did)
        if meaning is Meaning.BETWEEN:
            _undone(routing, standing, did)
        elif meaning is Meaning.POSTGRES_SERVES:
            with ends.connected() as connection:
                # A rollback that was suspended holds Postgres' tables locked until its session is ended.
                claim(connection, (State.OPEN,), "resume")
            return _finish(run, routing, did)
        elif meaning is Meaning.COMING_HOME:
            result = rollback_under_way(run, routing)
            did.append("brought the rows home and dropped the fence")
            return result.exit_code
        elif meaning is Meaning.HOME:
            code = _lead_back(routing, did)
            close_after(ends, "resume")
            did.append("closed the control row")
            return code
        elif meaning in (Meaning.IN_DOUBT, Meaning.UNKNOWN, Meaning.LEFT_FENCED) and options.postgres_is_gone:
            if standing.fence is not None:
                with live_process(ends.source) as process:
                    process.lift_any(busy=ends.busy)
                did.append("dropped the fence; what Postgres took since the opening, if it was opened, is given up")
            if led_to_postgres(routing):
                return _lead_back(routing, did)
            _switch_on(routing)
        else:
            _cannot(standing)
        return None

    return _recover(context, source, target, options.common, "resume", settle)


def abort(context: Context, source: Path, target: Target, options: Options) -> Status:
    """Put back what is undecided: before the opening SQLite serves again, in a rollback Postgres does.

    Raises:
        WrongPhase: it is decided: `rollback` goes back from Postgres, `resume` finishes a rollback.
        FenceLost, OpeningInDoubt, TakenOver: as for `resume`.
    """

    def settle(_run: Run, routing: Routing, standing: Standing, did: list[str]) -> int | None:
        meaning = standing.meaning
        if meaning in (Meaning.SQLITE_SERVES, Meaning.NOT_BEGUN):
            return _tidy(routing, standing, did)
        if meaning is Meaning.BETWEEN:
            _undone(routing, standing, did)
        elif meaning is Meaning.COMING_HOME:
            assert standing.fence is not None and standing.identity is not None  # noqa: S101 - so says the meaning
            reopen(routing.ends, standing.fence, standing.identity)
            did.append("opened Postgres again")
            return _lead_on(routing, did)
        elif meaning is Meaning.POSTGRES_SERVES:
            raise WrongPhase(
                "it is too late to abort: Postgres serves", hint="nasmigrate rollback brings everything back to SQLite"
            )
        elif meaning is Meaning.HOME:
            raise WrongPhase("it is too late to abort: everything is home in SQLite", hint="nasmigrate resume")
        else:
            _cannot(standing)
        return None

    return _recover(context, source, target, options, "abort", settle)


Settle = Callable[[Run, Routing, Standing, list[str]], int | None]


def _recover(context: Context, source: Path, target: Target, options: Options, command: str, settle: Settle) -> Status:
    ends = make_ends(context.config, check_file(source), target)
    did: list[str] = []
    # A suspended tool keeps its lock: it writes nothing when it wakes, since the epoch is raised first.
    with running(context, command) as run, ExitStack() as stack:
        suspended = None
        if not options.scratch:
            suspended = stack.enter_context(source_lock(ends.source, command, take_over=True))
        journal = Journal(context.base, command, run.directory.name)
        standing = ends.standing()
        if suspended is not None and standing.meaning is Meaning.NOT_BEGUN:
            raise RunLocked(
                f"{ends.source}: {suspended} has changed nothing yet, so there is nothing to {command}",
                hint=f"kill -CONT {suspended.pid} lets it go on, kill -KILL {suspended.pid} ends it",
            )
        journal.add("begin", "", str(standing.meaning))
        if standing.meaning is not Meaning.LEFT_FENCED:
            refuse_other_file(standing)
        routing = Routing(context=context, ends=ends, options=options, journal=journal)
        code = settle(run, routing, standing, did)
        journal.add("end", "", "; ".join(did))
        outcome = described(context, ends, ends.standing(), command, did=did, exit_code=code)
        run.keep("status.json", outcome)
        return outcome


def _tidy(routing: Routing, standing: Standing, did: list[str]) -> int | None:
    """SQLite serves: no suspended run goes on, what was off for the night is on, the application is led to it."""
    if standing.control is not None:
        with routing.ends.connected() as connection:
            claim(connection, (State.CLOSED,), "resume")
    if led_to_postgres(routing):
        return _lead_back(routing, did)
    did.append("nothing had to be undone")
    _switch_on(routing)
    return None


def _undone(routing: Routing, standing: Standing, did: list[str]) -> None:
    assert standing.identity is not None  # noqa: S101 - Postgres was reached
    if undo(routing.ends, standing.identity, "resume"):
        did.append("dropped the fence: SQLite serves")
    _switch_on(routing)


def _switch_on(routing: Routing) -> None:
    if routing.options.scratch:
        return
    app = routing.config.app
    after(routing, "maintenance_off", app.maintenance_off, [])
    after(routing, "cron_resume", app.cron_resume, [])


def _finish(run: Run, routing: Routing, did: list[str]) -> int:
    gates = finish_cutover(run, routing)
    did += [f"{gate.name}: {gate.detail}" for gate in gates]
    return int(verdict_of(gates)[1]) if gates else 0


def _lead_on(routing: Routing, did: list[str]) -> int | None:
    """A rollback ended the application's sessions, and may have put up the maintenance page: lead it to Postgres."""
    if routing.options.scratch:
        return None
    gate = route(routing)
    did.append(f"{gate.name}: {gate.detail}")
    return int(verdict_of([gate])[1])


def _lead_back(routing: Routing, did: list[str]) -> int | None:
    if routing.options.scratch:
        return None
    gate = route_back(routing)
    did.append(gate.detail)
    return int(verdict_of([gate])[1])


def _adopted(ends: Ends, standing: Standing, did: list[str]) -> Standing:
    """Make the fence stand for this target, which holds the same run as the one it stood for.

    Raises:
        FenceLost: it does not hold the run of the fence, or the one it stood for is still there beside it.
    """
    fence, control, identity = standing.fence, standing.control, standing.identity
    if fence is None or control is None or identity is None or fence.run_id != control.run_id:
        raise FenceLost(
            f"{ends.target.display} does not hold the run that the fence stands for; it cannot be adopted",
            hint="nasmigrate status names both",
        )
    with ends.connected() as connection:
        twin = database_called(connection, fence.database_oid)
        connection.rollback()
    if twin is not None and fence.system_identifier == identity.system_identifier:
        raise FenceLost(
            f"the database that the fence stands for is still there: {twin}, beside {ends.target.display}; both could"
            " take writes",
            hint=f"name {twin} with --target; or drop it, if {ends.target.display} is to take its place",
        )
    with ends.connected() as connection:
        row = claim(connection, (State.CLOSED, State.OPEN, State.DRAINING), "resume")
    epoch = max(row.epoch, fence.epoch + 1)
    while row.epoch < epoch:
        with ends.connected() as connection:
            row = claim(connection, (row.state,), "resume")
    old = replace(identity, system_identifier=fence.system_identifier, database_oid=fence.database_oid)
    new = replace(
        fence, system_identifier=identity.system_identifier, database_oid=identity.database_oid, epoch=row.epoch
    )
    stamp(ends, new, old, row.epoch)
    did.append("the fence stands for this database now")
    return ends.standing()


def _cannot(standing: Standing) -> None:
    """Raise what a standing that only the operator can change calls for."""
    refuse_other_file(standing)
    if standing.meaning is Meaning.FENCE_LOST:
        raise FenceLost(
            f"{standing.source}: Postgres serves, but the fence is gone: the file was replaced or restored, and may"
            " have taken writes that Postgres does not have",
            hint="stop whatever writes to it; put the fenced file back, or compare both by hand before you go on",
        )
    if standing.meaning is Meaning.FOREIGN_FENCE:
        fence = standing.fence
        raise FenceLost(
            f"{standing.source}: is fenced for another database"
            + (f" (cluster {fence.system_identifier}, oid {fence.database_oid})" if fence else ""),
            hint="name that target with --target; for a restored clone of it: nasmigrate resume --adopt",
        )
    raise OpeningInDoubt(
        f"Postgres does not answer ({standing.unreachable}), and only it knows whether it was opened",
        hint="bring it back, then nasmigrate resume; if it is lost for good: nasmigrate resume --postgres-is-gone",
    )
