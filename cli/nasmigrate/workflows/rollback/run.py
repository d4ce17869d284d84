"""The order of a rollback: bring, lock, bring the rest, close Postgres, drop the fence, route back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from nasmigrate.core.context import Context
from nasmigrate.core.errors import (
    ExternalToolError,
    GateFailed,
    NasmigrateError,
    OpeningInDoubt,
    RollbackFailed,
    RolledBack,
    SourceError,
    TargetError,
    TransferError,
)
from nasmigrate.core.phases import ROLLBACK
from nasmigrate.core.result import Gate, Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import mapped_errors as mapped_errors_of_postgres
from nasmigrate.postgres.control_row import Held, State, TargetIdentity, close_target, drain, read_control
from nasmigrate.postgres.digests import table_name
from nasmigrate.postgres.role_switch import end_sessions
from nasmigrate.postgres.row_versions import Moment
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.full_text import FullText
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.live import live_process
from nasmigrate.sqlite.open import check_file, mapped_errors
from nasmigrate.sqlite.source_lock import source_lock
from nasmigrate.workflows.bring_home import BroughtHome, Homecoming, Ledger, ValuesOutsideCodec, bring_home
from nasmigrate.workflows.bring_home import settle as settle_home
from nasmigrate.workflows.cutover.ends import Ends, make_ends
from nasmigrate.workflows.cutover.interrupts import hold_interrupts
from nasmigrate.workflows.cutover.journal import Journal
from nasmigrate.workflows.cutover.opening import PATIENCE, lost
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.routing import Routing, after, route_back
from nasmigrate.workflows.cutover.steps import Steps
from nasmigrate.workflows.cutover.switches import switch_off
from nasmigrate.workflows.cutover.undo import take_over
from nasmigrate.workflows.cutover.watchdog import NoWatchdog, Watchdog, start_watchdog
from nasmigrate.workflows.outcome import finish
from nasmigrate.workflows.proof import Proof
from nasmigrate.workflows.rollback.home import HomeTransaction, home_transaction
from nasmigrate.workflows.rollback.options import RollbackOptions
from nasmigrate.workflows.rollback.preview import (
    homecoming,
    recorded_run,
    refuse_unless_postgres_serves,
    require_application,
)
from nasmigrate.workflows.rollback.shape import LEFT_BEHIND, Drift, drift_since, leave_behind, require_nothing_newer
from nasmigrate.workflows.run import Run, full_disk_named, running

_SHOWN = 20
_FIRST_DROP = (
    "What came after the cutover is in the run's folder {}: a next nasmigrate cutover needs it gone from Postgres, or"
    " an empty database"
)


def rollback(context: Context, source: Path, target: Target, options: RollbackOptions) -> Result:
    """Bring everything home that Postgres took since the opening, and let SQLite serve again. Postgres is kept.

    Args:
        context: settings and reporter.
        source: the fenced file.
        target: the database that serves.
        options: see RollbackOptions.

    Raises:
        WrongPhase: Postgres does not serve, or the file has been moved.
        FenceLost: this is not the file that was cut over.
        GateFailed: something cannot come home; Postgres serves as before.
        RolledBack: it stopped; Postgres serves as before.
        RollbackFailed, OpeningInDoubt: Postgres is closed and the rows are not home: `resume` goes on.
    """
    path = check_file(source)
    ends = make_ends(context.config, path, target)
    lock = nullcontext() if options.common.scratch else source_lock(path, "rollback")
    with running(context, "rollback") as run, lock:
        refuse_unless_postgres_serves(ends.standing())
        journal = Journal(context.base, "rollback", run.directory.name)
        return _rolled_back(run, Routing(context=context, ends=ends, options=options.common, journal=journal), options)


def rollback_under_way(run: Run, routing: Routing) -> Result:
    """Go on with a rollback that stopped after Postgres was closed."""
    return _rolled_back(run, routing, RollbackOptions(leave_behind=True, common=routing.options))


@dataclass(slots=True)
class _Way:
    """How far a rollback is.

    `closed`: Postgres may be closed, so that going back is not ours to do. `page`: the maintenance page may be on.
    `watchdog`: who settles it when we do not.
    """

    closed: bool = False
    page: bool = False
    watchdog: Watchdog = field(default_factory=NoWatchdog)


def _rolled_back(run: Run, routing: Routing, options: RollbackOptions) -> Result:
    ends, context, common = routing.ends, routing.context, options.common
    steps = Steps(run, routing.journal, ROLLBACK, common.watcher)
    config = context.config.cutover
    way, proof = _Way(), Proof()
    with ExitStack() as watching, _explained(way), _page_off(routing, way), ExitStack() as stack:
        with steps("R0", str(ends.source)):
            held, identity = _claimed(ends)
            way.closed = held.state is State.DRAINING
            way.watchdog = start_watchdog(run, common, watching)
            target = stack.enter_context(ends.connected())
            recorded, plan, ledger = recorded_run(target, ends)
            drift = _shape(target, plan, recorded.catalogue or {}, options)
            if held.state is State.OPEN:
                require_application(target, ends)
            target.commit()
            witness = stack.enter_context(live_process(ends.source))
            home = stack.enter_context(home_transaction(ends.source, identity, held.epoch, busy=ends.busy))
            with mapped_errors(ends.source):
                schema = inspect(home.connection)
            these = homecoming(run, plan, schema)
            touched: set[str] = set()
            done, predicted = _passes(run, target, home, these, ledger, touched, config.max_lock)
            if not common.scratch:
                page, way.page = context.config.app.maintenance_on, True
                if page is not None and not way.closed:
                    way.watchdog.prepared()
                switch_off(context, common, routing.journal, "maintenance_on", page)
            home.keep_readers_out(patience=config.lock_wait, clock=common.clock, sleep=common.sleep)
        locked = common.clock()
        with steps("R1"):
            _lock(target, plan, drift, held, config.lock_wait, config.max_lock)
            granted = common.clock()
        with steps("R2"):
            last, full_text = _pass(target, home, these, done.ledger, done.seen)
            touched.update(last.counts)
            brought = common.clock()
            files = leave_behind(target, plan, drift, run.directory.root / LEFT_BEHIND) if drift.lines else ()
            home.require_lock(witness)
        interrupts = stack.enter_context(hold_interrupts())
        with steps("R3"):
            way.watchdog.fencing()
            before, way.closed = way.closed, True
            try:
                services = _close(ends, target, held, common)
            except OpeningInDoubt:
                raise
            except NasmigrateError:
                way.closed = before  # it was refused, and Postgres serves as before
                raise
            closed = common.clock()
            steps.committed("R3")
        with steps("R4"):
            home.commit(patience=config.lock_wait, clock=common.clock, sleep=common.sleep)
            unlocked = common.clock()
            interrupts.too_late = True  # SQLite serves, so the application follows
            steps.committed("R4")
            home.require_home(witness, busy=ends.busy)
            way.watchdog.decided()
    with steps("R5"):
        _finish(ends, held, routing, proof)
    proof.gates.insert(
        0,
        Gate(
            name="home",
            status="pass",
            detail=f"{sum(map(len, last.ledger.values()))} chunks of {len(plan.tables)} tables are equal in SQLite and"
            f" Postgres; {len(touched)} tables had changed",
            checked=len(plan.tables),
        ),
    )
    proof.gates.insert(
        1,
        Gate(
            name="lock",
            status="pass",
            detail=f"{unlocked - locked:.2f} s without writes ({predicted:.2f} s predicted)",
            checked=1,
            seconds=round(unlocked - locked, 3),
        ),
    )
    if not home.mode_restored:
        context.reporter.note(f"the permissions of {ends.source} are to be set by its owner: {home.fence.file_mode:o}")
    for name in full_text.named:
        context.reporter.note(f"the virtual table {name} was not rebuilt: it holds what it held at the cutover")
    for file in files:
        context.reporter.note(f"left behind: {file}")
    if services:
        context.reporter.note(
            f"may write to Postgres no more, like {ends.roles.application}: {', '.join(services)}; a next cutover lets"
            f" {ends.roles.application} write, the others are yours to grant"
        )
    return finish(
        run,
        source=str(ends.source),
        target=ends.target.display,
        plan=plan,
        source_sha256=None,
        proof=proof,
        rates={
            "lock_seconds": round(unlocked - locked, 3),
            "lock_predicted_seconds": round(predicted, 3),
            "lock_wait_seconds": round(granted - locked, 3),
            "lock_compare_seconds": round(last.seconds.compare, 3),
            "lock_apply_seconds": round(last.seconds.apply, 3),
            "lock_verify_seconds": round(last.seconds.verify, 3),
            "lock_settle_seconds": round(brought - granted - last.seconds.total, 3),
            "lock_close_seconds": round(closed - brought, 3),
            "lock_commit_seconds": round(unlocked - closed, 3),
        },
        next_step={
            "pass": "SQLite serves; Postgres is kept. "
            + (_FIRST_DROP.format(LEFT_BEHIND) if files else "nasmigrate cutover goes there again"),
            "inconclusive": "SQLite serves; see the gates above",
        },
        decided=True,
    )


@contextmanager
def _explained(way: _Way) -> Iterator[None]:
    """Say of every error which engine serves now."""
    try:
        with full_disk_named():
            yield
    except ValuesOutsideCodec as error:
        named = error.details.get("values")
        values = named if isinstance(named, list) else []
        raise GateFailed(
            f"{error.message}; {_serves(way)}",
            checks=[
                f"{value['table']}.{value['column']} at {value['key']}: {value['value']}" for value in values[:_SHOWN]
            ],
            hint=error.hint,
            details=error.details,
        ) from error
    except (SourceError, TargetError, TransferError, ExternalToolError) as error:
        if way.closed:
            raise RollbackFailed(
                f"Postgres is closed, and the rows are not home yet: {error.message}",
                hint="nasmigrate resume brings them home; nasmigrate abort lets Postgres serve again",
                details={**error.details, "cause": error.code},
            ) from error
        raise RolledBack(
            f"the rollback stopped, and Postgres serves as before: {error.message}",
            hint=error.hint,
            details={**error.details, "cause": error.code},
        ) from error


@contextmanager
def _page_off(routing: Routing, way: _Way) -> Iterator[None]:
    """Switch the maintenance page off again when the rollback stops, or is interrupted, while Postgres serves."""
    try:
        yield
    except OpeningInDoubt:
        raise  # perhaps nobody serves: the page stays until it is settled
    except BaseException:
        if not way.closed:
            if way.page:
                after(routing, "maintenance_off", routing.config.app.maintenance_off, [])
            way.watchdog.decided()
        raise


def _serves(way: _Way) -> str:
    return "nobody writes: nasmigrate abort lets Postgres serve again" if way.closed else "Postgres serves as before"


def _claimed(ends: Ends) -> tuple[Held, TargetIdentity]:
    """Take the control row over, whichever of its two states a rollback may begin in."""
    row = take_over(ends, (State.OPEN, State.DRAINING), "rollback")
    identity = ends.standing().identity
    if identity is None:
        raise TargetError("Postgres does not answer any more", code="NM0804")
    return Held(epoch=row.epoch, state=row.state), identity


def _shape(target: psycopg.Connection, plan: Plan, recorded: dict[str, str], options: RollbackOptions) -> Drift:
    drift = drift_since(target, plan, recorded)
    if drift.blocking or (drift.lines and not options.leave_behind):
        raise GateFailed(
            "Postgres has changed its shape since it was opened, and not all of it can come home; Postgres serves as"
            " before",
            checks=drift.lines,
            hint=drift.hint,
        )
    return drift


def _passes(
    run: Run,
    target: psycopg.Connection,
    home: HomeTransaction,
    these: Homecoming,
    ledger: Ledger,
    touched: set[str],
    limit: float,
) -> tuple[BroughtHome, float]:
    """Bring rows while Postgres serves, until the rest is predicted to take less than `limit` seconds under lock.

    The first pass compares everything, and takes as long as that does. Those after it take what the last one will.

    Raises:
        RolledBack: it stays longer than that.
    """
    predicted = float("inf")
    done: BroughtHome | None = None
    for number in range(1, max(2, run.context.config.cutover.passes) + 1):
        began = time.perf_counter()
        target.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        first = done is None
        done, _ = _pass(target, home, these, done.ledger if done else ledger, done.seen if done else None)
        target.commit()
        target.isolation_level = None
        home.flush()
        predicted = time.perf_counter() - began
        touched.update(done.counts)
        told = "" if first else f"; the rest is predicted to take {predicted:.2f} s"
        run.context.reporter.note(f"pass {number}: {done.changed_rows:,} rows came home{told}")
        if not first and predicted <= limit:
            return done, predicted
    raise RolledBack(
        f"writes to Postgres would wait {predicted:.1f} s, more than the {limit:g} s allowed; Postgres serves on",
        hint="raise cutover.max_lock in nasmigrate.toml, or stop the application first",
    )


def _pass(
    target: psycopg.Connection, home: HomeTransaction, these: Homecoming, ledger: Ledger, since: Moment | None
) -> tuple[BroughtHome, FullText]:
    """Rows, sequences and full-text indexes: afterwards the file is as Postgres was, and only a commit is missing."""
    done = bring_home(target, home.connection, these, ledger, since)
    return done, settle_home(target, home.connection, these, sorted(done.counts))


def _lock(target: psycopg.Connection, plan: Plan, drift: Drift, held: Held, wait: float, limit: float) -> None:
    """Hold the row, and lock every table against writes, those to be left behind too; waits for writers under way.

    A tool that is suspended with the locks must not hold the application up: the server ends a session that is silent
    for `limit` seconds, and with it the rollback; Postgres goes on serving.
    """
    held.hold(target)
    for setting, seconds in (("lock_timeout", wait), ("idle_in_transaction_session_timeout", limit)):
        value = sql.Literal(f"{round(seconds * 1000)}ms")
        target.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(setting), value))
    tables = [*map(table_name, plan.tables), *(table.identifier for table in drift.tables)]
    if tables:
        target.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(tables)))
    require_nothing_newer(target, plan, drift)


def _close(ends: Ends, target: psycopg.Connection, held: Held, options: Options) -> list[str]:
    """Revoke, DRAINING, commit; a lost answer is looked up. The roles that lost it beside the application's.

    Raises:
        TargetError: Postgres refused; it was not closed.
        OpeningInDoubt: it does not answer, so it may be closed or not; no row is lost either way.
    """
    roles = [ends.roles.application]

    def revoke(connection: psycopg.Connection) -> None:
        roles[:] = ends.revoke(connection)

    try:
        with mapped_errors_of_postgres("closing Postgres"):
            drain(target, held, revoke)
    except TargetError as error:
        if not lost(error):
            raise
        if not _was_closed(ends, held, options, error):
            raise
    # A session may have a role of its own by SET ROLE; the application is to be restarted anyway.
    with suppress(TargetError), ends.connected() as connection:
        end_sessions(connection, roles)
        connection.commit()
    return roles[1:]


def _was_closed(ends: Ends, held: Held, options: Options, first: TargetError) -> bool:
    """Whether the commit whose answer was lost has happened."""
    until = options.clock() + PATIENCE
    while True:
        try:
            with ends.connected() as connection:
                row = read_control(connection, for_update=True)
                connection.rollback()
            return row is not None and row.epoch == held.epoch and row.state is State.DRAINING
        except TargetError as error:
            if not lost(error) or options.clock() >= until:
                raise OpeningInDoubt(
                    f"Postgres does not answer, so it is not known whether it was closed: {first.message}",
                    hint="bring it back, then nasmigrate status; every row is still there",
                ) from error
            options.sleep(0.2)


def _finish(ends: Ends, held: Held, routing: Routing, proof: Proof) -> None:
    """SQLite serves whatever happens here, so failures are gates and nothing else.

    The control row is closed last: until then `resume` leads the application back.
    """
    if not routing.options.scratch:
        proof.add(route_back(routing))
        if routing.config.cutover.seed:
            routing.context.reporter.note(
                "Kill Bill keeps the accounts that were seeded, and meets them again at the next cutover;"
                " nasmigrate seed --undo closes them for good"
            )
    try:
        with ends.connected() as connection:
            close_target(connection, held.epoch, "rollback")
        proof.add(Gate(name="closed", status="pass", detail="the control row is closed", checked=1))
    except NasmigrateError as error:
        detail = f"the control row is not closed yet ({error.message}): nasmigrate resume"
        proof.add(Gate(name="closed", status="inconclusive", detail=detail))
