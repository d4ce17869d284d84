"""`nasmigrate copy`: one source that nobody writes to, into an empty database that stays, verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nasmigrate.core.context import Context
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import RunRow
from nasmigrate.postgres.preflight import check_target
from nasmigrate.workflows.engine import check_engine
from nasmigrate.workflows.run import running
from nasmigrate.workflows.source import take_source
from nasmigrate.workflows.space import check_space, source_bytes
from nasmigrate.workflows.state import naming_state, nothing_written
from nasmigrate.workflows.target import find_unfinished, refuse_unless_empty

if TYPE_CHECKING:
    from nasmigrate.core.result import Result


def copy(context: Context, source: Path, target: Target, *, resume: bool = False, round_trip: bool = False) -> Result:
    """Copy everything and prove it.

    Args:
        context: settings and reporter.
        source: the SQLite file; it is only read, and nobody may write to it meanwhile (that is checked).
        target: an empty database.
        resume: go on with the copy the target already holds a part of.
        round_trip: also decode everything back into SQLite and compare.

    Raises:
        TargetNotEmpty: the target holds something (and `resume` was not asked for).
        ResumeMismatch: the target's part belongs to another source, plan or folder.
        SourceError, SchemaError, TargetError, TransferError: what could not be done.
        ExternalToolError: the engine is another program, and that failed.
    """
    with running(context, "copy") as run:
        check_engine(context)
        run.examiner.prepare()
        # Before any work on the source: the most common mistake is the wrong target.
        unfinished = _examine(target, source, resume=resume)
        check_space(source, context.base, server_here=False)
        # Imports come late: for a large source they run beside the snapshot.
        if unfinished is None:
            fresh = take_source(run, source)
            from nasmigrate.workflows.prepare import make

            prepared = make(run, fresh)
        else:
            from nasmigrate.workflows.resume import prepared_again

            prepared = prepared_again(run, source, unfinished)
        from nasmigrate.workflows.conclude import conclude
        from nasmigrate.workflows.load import load
        from nasmigrate.workflows.prepare import revisions_directory

        revisions = revisions_directory(run, prepared.plan, publish=False)
        with naming_state(target.conninfo):
            loaded = load(run, target.conninfo, target.display, prepared, revisions, unfinished)
            return conclude(run, target, prepared, loaded, round_trip=round_trip)


def _examine(target: Target, source: Path, *, resume: bool) -> RunRow | None:
    """The unfinished copy in the target that is to be gone on with; None = the target is empty."""
    with nothing_written(), connected(target.conninfo) as connection:
        check_target(connection, target.conninfo, source_bytes=source_bytes(source))
        if resume:
            return find_unfinished(connection, target.display)
        refuse_unless_empty(connection, target.display)
    return None
