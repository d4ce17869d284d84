"""Writes migrations/ and data_samples/expected/plan.json: what the clean sample marketplace becomes.

`make docs` runs it; a test shows that running it again changes nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from data_samples.generate import generate

from nasmigrate.core.config import Config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.revisions import render_revisions
from nasmigrate.workflows.plan import plan as make_plan

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "migrations"
PLAN = ROOT / "data_samples" / "expected" / "plan.json"


def sample_plan() -> Plan:
    """The plan of the clean sample, without what differs from run to run (times, paths, counts)."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        generate(base / "marketplace.db", rows=2000)
        result = make_plan(Context(config=Config(), base=base, reporter=Silent()), base / "marketplace.db")
        assert result.run_directory is not None
        plan = Plan.model_validate_json((Path(result.run_directory) / "plan.json").read_text())
    return plan.model_copy(
        update={"source": "", "source_sha256": "", "created_at": "", "profile_seconds": 0.0, "evidence": {}}
    )


def sample_files() -> dict[Path, str]:
    """Path -> text of every file that follows from the sample."""
    plan = sample_plan()
    files = {MIGRATIONS / revision.name: revision.text for revision in render_revisions(plan)}
    files[PLAN] = plan.model_dump_json(indent=2) + "\n"
    return files


def main() -> None:
    """Write them, and remove revisions of an earlier plan."""
    files = sample_files()
    for path in MIGRATIONS.glob("0*.py"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
