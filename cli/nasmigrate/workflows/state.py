"""What a target holds of a copy, in a sentence: said with every error that ends one in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from nasmigrate.core.errors import (
    ConnectionLost,
    ExternalToolError,
    NasmigrateError,
    SchemaError,
    TargetError,
    TransferError,
)
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import has_control, latest_run


@contextmanager
def naming_state(conninfo: str) -> Iterator[None]:
    """Add to an error what the target holds now, and what goes on from there; nothing there is changed.

    A target that cannot be asked is said to be so: whatever was committed is whole chunks with their ledger.
    """
    try:
        yield
    except (TargetError, TransferError, SchemaError, ExternalToolError) as error:
        state, way_on = _asked(conninfo)
        error.message = f"{error.message}; {state}"
        if "--resume" not in (error.hint or ""):
            error.hint = f"{error.hint}; {way_on}" if error.hint else way_on
        error.details["state"] = state
        raise


@contextmanager
def nothing_written() -> Iterator[None]:
    """Say so with a connection that breaks while the target is only looked at."""
    try:
        yield
    except ConnectionLost as error:
        state = "this command had not written anything yet"
        error.message = f"{error.message}; {state}"
        error.details["state"] = state
        raise


_RESUME = "`nasmigrate copy --resume` goes on; or drop the database and begin anew"


def _asked(conninfo: str) -> tuple[str, str]:
    """The state, and the way on."""
    try:
        with connected(conninfo) as connection:
            return _state(connection)
    except NasmigrateError as error:
        return (
            f"the target cannot be asked what it holds, whole chunks or nothing: {error.message}",
            "when the server is there again, `nasmigrate copy --resume` goes on, or says that nothing was begun",
        )


def _state(connection: psycopg.Connection) -> tuple[str, str]:
    from nasmigrate.postgres.ledger import read_chunks
    from nasmigrate.schema.plan import Plan

    run = latest_run(connection) if has_control(connection) else None
    if run is None:
        return "nothing was written to the target", "`nasmigrate copy` begins again"
    if run.state in ("finished", "verified"):
        return "everything is copied, the proof is not complete", "`nasmigrate copy --resume` proves it"
    plan = Plan.model_validate(run.plan)
    ledger = read_chunks(connection, run.run_id)
    rows = sum(chunk.rows for chunks in ledger.values() for chunk in chunks)
    total = sum(evidence.rows for evidence in plan.evidence.values())
    return (
        f"the target holds {rows:,} of {total:,} rows, whole chunks of {len(ledger)} of {len(plan.tables)} tables",
        _RESUME,
    )
