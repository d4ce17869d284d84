"""The changes of the control row whose answer may be lost: the connection breaks, and the commit may have happened.

After that the row itself is asked, with a lock, so that the answer is final; until Postgres answers nobody writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from nasmigrate.core.errors import OpeningInDoubt, TakenOver, TargetError
from nasmigrate.postgres.connect import mapped_errors
from nasmigrate.postgres.control_row import Held, State, open_target, read_control
from nasmigrate.workflows.cutover.ends import Ends

PATIENCE = 30.0
"""Seconds to wait for a Postgres that does not answer before the state is called in doubt."""
_PAUSE = 0.2


def open_postgres(
    ends: Ends,
    held: Held,
    command: str,
    *,
    connection: psycopg.Connection | None = None,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Open Postgres, once: the commit point. A lost answer is looked up, and the opening repeated if it was lost too.

    Args:
        ends: both ends.
        held: epoch and state that the row must have.
        command: which command opens.
        connection: to use for the first try, so that no time is lost in connecting.
        patience: seconds to go on trying while Postgres does not answer.
        clock: monotonic seconds.
        sleep: waits.

    Raises:
        TakenOver: another run has taken over; Postgres was not opened by this one.
        OpeningInDoubt: Postgres does not answer, so it may be open or not.
        TargetError: Postgres refuses; it was not opened.
    """
    until = clock() + patience
    first = connection
    while True:
        try:
            if first is not None:
                with mapped_errors("opening"):
                    open_target(first, held, ends.grant, command)
                return
            with ends.connected() as fresh:
                # The old session may still be committing: with a lock on the row the answer is final.
                row = read_control(fresh, for_update=True)
                if row is not None and row.epoch == held.epoch and row.state is State.OPEN:
                    fresh.rollback()
                    return
                if row is None or row.epoch != held.epoch or row.state is not held.state:
                    fresh.rollback()
                    raise TakenOver("another nasmigrate has taken the control row over; Postgres was not opened")
                open_target(fresh, held, ends.grant, command)
            return
        except TargetError as error:
            if not lost(error):
                raise
            first = None
            if clock() >= until:
                raise OpeningInDoubt(
                    f"Postgres does not answer, so it is not known whether it was opened: {error.message}",
                    hint="nobody writes until it is back: then nasmigrate resume; if it is gone for good,"
                    " nasmigrate resume --postgres-is-gone",
                ) from error
            sleep(_PAUSE)


def lost(error: TargetError) -> bool:
    """Whether the connection broke or could not be made, rather than a statement being refused."""
    return error.code in ("NM0802", "NM0804")
