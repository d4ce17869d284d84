"""P9: the proof of what was opened, while the application already writes: the fenced file against that moment."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from nasmigrate.core.errors import ConnectionLost, NasmigrateError
from nasmigrate.core.result import Gate
from nasmigrate.postgres.connect import mapped_errors
from nasmigrate.postgres.control_row import Held, State
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.live import live_process
from nasmigrate.sqlite.open import SourceFile
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows.catch_up import record_pending
from nasmigrate.workflows.cutover.bring_up import Loaded
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.switch import Opened
from nasmigrate.workflows.proof import Proof, round_trip_gate
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import file_state, reopen_source

FENCED = "fenced.db"


def settle(run: Run, ends: Ends) -> None:
    """Move the fenced file's log into it and take its write permissions away; nothing depends on it."""
    try:
        with live_process(ends.source) as process:
            process.settle(busy=ends.busy)
    except (NasmigrateError, OSError) as error:
        run.context.reporter.note(f"the fenced file keeps its log and its permissions: {error}")


def observe(run: Run, ends: Ends, plan: Plan, before: psycopg.Connection | None, proof: Proof) -> None:
    """Decode Postgres as it was at the opening, and compare it with the fenced file, bit for bit.

    What keeps that from being done, a full disk for example, makes the gate inconclusive: Postgres serves.

    Args:
        run: the run.
        ends: both ends.
        plan: tables and codecs.
        before: a session that sees Postgres as it was opened; None = it is lost, so nothing can be proven.
        proof: takes the gate `round-trip`.
    """
    if before is None:
        proof.add(Gate(name="round-trip", status="inconclusive", detail=_LOST))
        return
    fenced = run.directory.path(FENCED)
    try:
        snapshot = take_snapshot(ends.source, fenced, busy_timeout=run.context.config.source.busy_timeout, fenced=True)
        source = reopen_source(ends.source, snapshot.path, snapshot.sha256, file_state(ends.source))
        with mapped_errors("reading the target as it was opened"):
            round_trip_gate(run, proof, before, plan, source)
    except ConnectionLost as error:
        proof.add(Gate(name="round-trip", status="inconclusive", detail=f"{_LOST}: {error.message}"))
    except (NasmigrateError, OSError) as error:
        with suppress(OSError):  # the dump has more use for the room
            fenced.unlink(missing_ok=True)
        proof.add(Gate(name="round-trip", status="inconclusive", detail=f"it could not be made: {error}"))


def record(run: Run, ends: Ends, loaded: Loaded, opened: Opened) -> None:
    """Make the digests that there was no time for in the freeze; a rollback would make them else, and take longer."""
    held = Held(epoch=loaded.held.epoch, state=State.OPEN)
    try:
        with ends.connected() as connection:
            source = SourceFile(path=opened.frozen_copy)
            record_pending(connection, loaded.these, source, opened.drained.ledger, held.hold)
            connection.commit()
    except (NasmigrateError, OSError) as error:
        run.context.reporter.note(f"the digests of the chunks that changed last are not recorded: {error}")


_LOST = "the session that saw Postgres as it was opened is lost; later writes cannot be told from wrong ones"
