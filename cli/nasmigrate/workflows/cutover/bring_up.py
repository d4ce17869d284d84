"""P2 and P3: from an empty or earlier target to one that lags behind the source by less than the allowed pause."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from nasmigrate.core.config import Config
from nasmigrate.core.errors import RolledBack, StateError
from nasmigrate.postgres.catalogue import catalogue_facts
from nasmigrate.postgres.connect import ServerFacts, connected, server_facts
from nasmigrate.postgres.control import UNFINISHED, RunRow, set_state
from nasmigrate.postgres.control_row import Held, State, begin_anew, claim
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.postgres.role_switch import hand_over
from nasmigrate.postgres.roles import set_up_roles
from nasmigrate.schema.chunks import Limits
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_pages, take_snapshot
from nasmigrate.transfer.engine import TableCopied
from nasmigrate.workflows.catch_up import CaughtUp, Ledger, Pass, catch_up
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.load import load
from nasmigrate.workflows.prepare import Prepared, revisions_directory
from nasmigrate.workflows.run import Run

PASSES = "pass-*.db"
"""The snapshots of the passes, in the run's folder."""
FIXED_FREEZE = 0.05
"""Seconds of a freeze that do not depend on the rows: the fence and its commit, on a disk that is not quick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The target as P2 and P3 leave it.

    `catalogue` are its objects' facts, `equal_to` the snapshot it is equal to, `predicted` seconds of freeze.
    """

    held: Held
    these: Pass
    ledger: Ledger
    catalogue: dict[str, str]
    copied: Sequence[TableCopied]
    server: ServerFacts
    equal_to: Path
    predicted: float = 0.0


def bring_up(run: Run, ends: Ends, prepared: Prepared, earlier: RunRow | None) -> Loaded:
    """Copy into an empty target; go on with an unfinished copy; or bring an earlier cutover's target up to date.

    Raises:
        StateError: the earlier target was made by another plan.
        TakenOver: another run has taken the control row over.
        TargetError, TransferError: what could not be done.
    """
    plan = prepared.plan
    if earlier is not None and earlier.plan_hash != plan.hash:
        raise StateError(
            f"{ends.target.display} holds the tables of another plan ({earlier.plan_hash[:12]}, this one is"
            f" {plan.hash[:12]})",
            hint="use an empty database for the new plan",
        )
    if earlier is None or earlier.state in UNFINISHED:
        revisions = revisions_directory(run, plan, publish=False)
        target = ends.target
        done = load(run, target.conninfo, target.display, prepared, revisions, earlier, controlled=True)
        assert done.held is not None  # noqa: S101 - it was asked for
        held, run_id, ledger, copied = done.held, done.run_id, done.ledger, done.copied
    else:
        run_id, copied = earlier.run_id, []
        with ends.connected() as connection:
            held = Held(epoch=claim(connection, (State.CLOSED,), "cutover").epoch)
            begin_anew(connection, held, source=str(ends.source))
            # What Postgres took while it served is in no ledger: compare every chunk once, whatever is written there.
            ledger = {
                name: [replace(chunk, digests=()) for chunk in chunks]
                for name, chunks in read_chunks(connection, run_id).items()
            }
            connection.commit()
    these = pass_of(run, plan, run_id)
    with ends.connected() as connection:
        if earlier is not None:
            ledger = dict(_caught_up(connection, these, prepared.source.snapshot, ledger, held).ledger)
        held.hold(connection)
        set_up_roles(connection, ends.roles)
        hand_over(connection, ends.roles)
        catalogue = catalogue_facts(connection, plan.relations)
        set_state(connection, run_id, "finished", catalogue)
        connection.commit()
        server = server_facts(connection)
        connection.commit()
    return Loaded(
        held=held,
        these=these,
        ledger=ledger,
        catalogue=catalogue,
        copied=copied,
        server=server,
        equal_to=prepared.source.snapshot,
    )


def pass_of(run: Run, plan: Plan, run_id: str) -> Pass:
    """What every pass of this run needs."""
    transfer = run.context.config.transfer
    return Pass(
        plan=plan,
        run_id=run_id,
        pool=run.pool,
        limits=Limits(chunk_rows=transfer.chunk_rows, chunk_bytes=transfer.chunk_bytes),
        workdir=run.directory.root,
    )


def catch_up_passes(
    run: Run,
    ends: Ends,
    loaded: Loaded,
    limit: float | None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Loaded:
    """Pass after pass on fresh snapshots, until the next one, under the lock, is predicted to take less than `limit`.

    Raises:
        RolledBack: it cannot be done in that time on this machine; the source was not touched.
        TransferError: a value no longer fits the type that was chosen for it.
    """
    config = run.context.config
    best = float("inf")
    with connected(ends.target.conninfo, purpose="nasmigrate cutover") as connection:
        for number in range(1, config.cutover.passes + 1):
            began = clock()
            snapshot = run.directory.path(PASSES.replace("*", str(number)))
            take_snapshot(ends.source, snapshot, busy_timeout=config.source.busy_timeout, longest_hold=hold_for(limit))
            done = _caught_up(connection, loaded.these, snapshot, loaded.ledger, loaded.held, since=loaded.equal_to)
            # A snapshot is of use until the next one only: there are never more than two copies of the source here.
            _remove(loaded.equal_to)
            predicted = predict_freeze(done, _seconds_to_copy(snapshot, clock))
            loaded = replace(loaded, ledger=done.ledger, equal_to=snapshot, predicted=predicted)
            best = min(best, predicted)
            run.directory.event(
                "pass",
                number=number,
                rows=done.changed_rows,
                chunks=done.chunks,
                seconds=round(clock() - began, 3),
                predicted_freeze=round(predicted, 3),
            )
            run.context.reporter.note(
                f"pass {number}: {done.changed_rows:,} rows in {done.chunks} chunks had changed;"
                f" freeze predicted {predicted:.2f} s" + ("" if limit is None else f" of {limit:g} s")
            )
            if limit is None or predicted <= limit:
                return loaded
    raise RolledBack(
        f"a freeze of {limit:g} s is too short: {best:.2f} s were predicted at best after"
        f" {config.cutover.passes} passes; nothing was switched, SQLite serves",
        hint=_ways_out(config, best),
    )


def hold_for(limit: float | None) -> float | None:
    """Most seconds for which a snapshot may hold writers up, where the freeze itself may last `limit`."""
    return None if limit is None else limit / 2


def predict_freeze(done: CaughtUp, copying: float) -> float:
    """Seconds that the same pass will take under the lock, as it took now, with the copy of the pages and the fence."""
    return done.seconds.total + copying + FIXED_FREEZE


def _seconds_to_copy(snapshot: Path, clock: Callable[[], float]) -> float:
    """How long it takes to copy the pages of a file of this size, as the drain does first of all."""
    trial = snapshot.with_name(f"trial-{snapshot.name}")
    began = clock()
    try:
        take_pages(snapshot, trial)
    finally:
        _remove(trial)
    return clock() - began


def _ways_out(config: Config, best: float) -> str:
    wanted = max(best * 1.3, config.app.busy_timeout)
    return (
        f"give the application's driver a timeout of {wanted / 0.8:.1f} s and set app.busy_timeout to it, or"
        f" --max-freeze {wanted:.1f}; or stop the application and use --app-stopped, which has no limit"
    )


def _caught_up(
    connection: psycopg.Connection,
    these: Pass,
    snapshot: Path,
    ledger: Ledger,
    held: Held,
    since: Path | None = None,
) -> CaughtUp:
    done = catch_up(connection, these, SourceFile(path=snapshot), ledger, held.hold, since=since)
    connection.commit()
    return done


def _remove(snapshot: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with suppress(OSError):
            snapshot.with_name(snapshot.name + suffix).unlink(missing_ok=True)
