"""What a target is asked before anything is written: that it is ours alone, and empty, or holds a part of a copy."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from nasmigrate.core.errors import RunLocked, StateError, TargetNotEmpty
from nasmigrate.postgres.catalogue_read import user_objects
from nasmigrate.postgres.control import UNFINISHED, RunRow, has_control, latest_run

_LOCK = 0x6E61736D  # "nasm"
"""Key of the advisory lock that one tool holds on a target."""


def lock_target(connection: psycopg.Connection) -> None:
    """Hold the target for this session.

    Raises:
        RunLocked: another nasmigrate holds it.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    connection.commit()
    if not (row and row[0]):
        raise RunLocked(
            "another nasmigrate is working on this target",
            hint="wait for it, or end it; pg_locks shows its session (locktype advisory)",
        )


def refuse_unless_empty(connection: psycopg.Connection, display: str) -> None:
    """Refuse a target that holds anything; nothing is dropped to make room.

    Raises:
        TargetNotEmpty: naming what is there.
    """
    objects = user_objects(connection)
    connection.commit()
    refuse_earlier_copy(connection, display, objects)
    if objects:
        shown = ", ".join(objects[:5]) + (f" and {len(objects) - 5} more" if len(objects) > 5 else "")
        raise TargetNotEmpty(
            f"TARGET_NOT_EMPTY: {display} is not empty ({shown}); nothing was touched",
            hint="create an empty database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'; or, for tables that"
            " your application made there, `nasmigrate copy --into-existing`",
            checks=objects,
        )


def refuse_earlier_copy(connection: psycopg.Connection, display: str, objects: Sequence[str] = ()) -> None:
    """Refuse a target that holds a copy of ours, finished or not.

    Raises:
        TargetNotEmpty: saying of which source.
    """
    if has_control(connection):
        run = latest_run(connection)
        connection.commit()
        if run is not None:
            what = "an unfinished" if run.state in UNFINISHED else "a finished"
            raise TargetNotEmpty(
                f"TARGET_NOT_EMPTY: {display} holds {what} copy of {run.source}; nothing was touched",
                hint="`nasmigrate copy --resume` finishes it, `nasmigrate verify` checks it; or use an empty database",
                checks=objects,
            )
    connection.commit()


def find_unfinished(connection: psycopg.Connection, display: str) -> RunRow:
    """The run to go on with.

    Raises:
        StateError: there is none.
    """
    run = latest_run(connection) if has_control(connection) else None
    connection.commit()
    if run is None:
        raise StateError(
            f"nothing to resume: {display} holds no copy",
            hint="run `nasmigrate copy` without --resume",
            code="NM1106",
        )
    if run.plan.get("existing"):
        raise StateError(
            f"nothing to resume: {display} holds a whole copy into tables of its own, which is never half done",
            hint="`nasmigrate verify` proves it",
            code="NM1106",
        )
    return run
