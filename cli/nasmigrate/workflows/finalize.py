"""`nasmigrate finalize`: the window in which a rollback is possible ends; Postgres has served long enough."""

from __future__ import annotations

from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import WrongPhase
from nasmigrate.core.status import Status
from nasmigrate.core.target import Target
from nasmigrate.postgres.control_row import set_finalized
from nasmigrate.sqlite.open import check_file
from nasmigrate.sqlite.source_lock import source_lock
from nasmigrate.workflows.authorities import Meaning, refuse_other_file
from nasmigrate.workflows.cutover.ends import make_ends
from nasmigrate.workflows.cutover.journal import Journal
from nasmigrate.workflows.run import running
from nasmigrate.workflows.status import described


def finalize(context: Context, source: Path, target: Target) -> Status:
    """Mark the cutover as final. The fenced file stays as it is: it is the last backup of the old world.

    Raises:
        WrongPhase: Postgres does not serve.
        FenceLost: this is not the file that was cut over.
        TakenOver: another run changed the control row meanwhile.
    """
    ends = make_ends(context.config, check_file(source), target)
    with running(context, "finalize") as run, source_lock(ends.source, "finalize"):
        standing = ends.standing()
        refuse_other_file(standing)
        if standing.meaning is not Meaning.POSTGRES_SERVES or standing.control is None:
            raise WrongPhase(
                f"only a cutover after which Postgres serves can be made final; now {standing.meaning}",
                hint="nasmigrate status",
            )
        with ends.connected() as connection:
            set_finalized(connection, standing.control.epoch)
        Journal(context.base, "finalize", run.directory.name).add("end", "", "final")
        return described(context, ends, ends.standing(), "finalize", did=["the cutover is final"])
