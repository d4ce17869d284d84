"""What `copy --resume` goes on with: the plan in the target's ledger and the snapshot of the run that began."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from nasmigrate.core.errors import ResumeMismatch
from nasmigrate.core.rundir import list_runs
from nasmigrate.postgres.control import RunRow
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import check_file
from nasmigrate.workflows.prepare import Prepared, answered, plan_settings
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import SNAPSHOT, examine_again


def prepared_again(run: Run, path: Path, unfinished: RunRow) -> Prepared:
    """Plan from the ledger, snapshot from the folder of the run that began the copy.

    Raises:
        ResumeMismatch: no folder here holds that snapshot, the source is another file, or columns are set otherwise.
    """
    path = check_file(path)
    if str(path) != unfinished.source:
        raise ResumeMismatch(
            f"the target holds a copy of {unfinished.source}, not of {path}",
            hint="resume with the source it was started with, or use an empty database",
        )
    for earlier in reversed(list_runs(run.context.base)):
        marker, snapshot = earlier.path("run.json"), earlier.path(SNAPSHOT)
        if not marker.exists() or not snapshot.exists():
            continue
        begun = json.loads(marker.read_text())
        if begun["run_id"] == unfinished.run_id:
            break
    else:
        raise ResumeMismatch(
            f"no run folder below {run.context.base} holds the snapshot of run {unfinished.run_id}",
            hint="resume in the folder where the copy was started, or use an empty database",
        )
    now, then = plan_settings(run.context.config), begun["settings"]
    changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if changed:
        raise ResumeMismatch(
            f"the settings {', '.join(f'[{name}]' for name in changed[:3])} are no longer those this copy was begun"
            " with",
            hint="put them back as they were, or begin again in an empty database",
            details={"changed": changed},
        )
    with run.phase("snapshot", f"of run {earlier.name}"):
        # The earlier run's file, not a second copy of it: a hard link where the file system has them.
        here = run.directory.path(SNAPSHOT)
        try:
            here.hardlink_to(snapshot)
        except OSError:
            shutil.copy2(snapshot, here)
        run.directory.write_json("run.json", begun)
        # As the file stood at the snapshot: what was written between the two runs is not in the target either.
        state = tuple((name, size, modified) for name, size, modified in begun["source_state"])
        source = examine_again(run, path, here, unfinished.source_sha256, state)
    plan = answered(Plan.model_validate(unfinished.plan), run.context.config.plan.accept)
    run.directory.write_json("plan.json", plan)
    return Prepared(source=source, plan=plan, scan_seconds=plan.profile_seconds)
