"""`nasmigrate plan`: look at the source and say what would be done with it. No target is needed."""

from __future__ import annotations

from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.result import Result, TableResult
from nasmigrate.workflows.outcome import finish
from nasmigrate.workflows.prepare import make, revisions_directory
from nasmigrate.workflows.proof import Proof, decisions_gate, indexes_gate
from nasmigrate.workflows.run import running
from nasmigrate.workflows.source import take_source


def plan(context: Context, source: Path, *, write_migrations: bool = False) -> Result:
    """Snapshot, profile, decide; `plan.json` and the Alembic revisions are in the run directory afterwards.

    Args:
        context: settings and reporter.
        source: the SQLite file.
        write_migrations: put the revisions into the project's migrations folder instead.

    Raises:
        SourceError: the file cannot be read.
        SchemaError: something cannot be carried as asked.
    """
    with running(context, "plan") as run:
        prepared = make(run, take_source(run, source))
        folder = revisions_directory(run, prepared.plan, publish=write_migrations)
        proof = Proof()
        proof.add(decisions_gate(prepared.plan))
        indexes_gate(run, proof)
        for table in prepared.plan.tables:
            proof.tables[table.name] = TableResult(name=table.name, rows_source=prepared.plan.evidence[table.name].rows)
        return finish(
            run,
            source=str(prepared.source.path),
            target=f"revisions in {folder}",
            plan=prepared.plan,
            source_sha256=prepared.source.sha256,
            proof=proof,
            next_step={
                "pass": "nasmigrate rehearse",
                "fail": "answer the findings in nasmigrate.toml, or `nasmigrate plan --write-accepts`; then rehearse",
            },
        )
