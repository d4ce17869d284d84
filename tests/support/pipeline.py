"""The whole road for tests: a SQLite file through `copy` or `verify`, in a folder and a database of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from nasmigrate.core.config import Config
from nasmigrate.core.config_model import ColumnSection, PlanSection, TransferSection
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.copy import copy
from nasmigrate.workflows.verify import verify

PROVING = ("counts", "digests", "originals", "objects", "sequences", "round-trip")
"""The gates that must hold whatever the findings are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A target database and a folder for run directories; both are emptied before each copy."""

    conninfo: str
    base: Path

    def copy(
        self,
        source: Path,
        *,
        accept: Sequence[str] = (),
        chunk_rows: int = 50_000,
        columns: Mapping[str, ColumnSection] | None = None,
    ) -> tuple[Result, Plan]:
        """Copy into the emptied database, with the round trip; the result and the plan it followed."""
        self.empty()
        config = Config(
            plan=PlanSection(accept=tuple(accept)),
            transfer=TransferSection(chunk_rows=chunk_rows),
            columns=dict(columns or {}),
        )
        result = copy(self._context(config), source, self._target(), round_trip=True)
        assert result.run_directory is not None
        plan = Plan.model_validate_json((Path(result.run_directory) / "plan.json").read_text())
        return result, plan

    def verify(self, source: Path, *, round_trip: bool = False) -> Result:
        """Compare source and target by the ledger in the target."""
        return verify(self._context(Config()), source, self._target(), round_trip=round_trip)

    def empty(self) -> None:
        """Drop every schema of the database, and the runs of earlier examples."""
        shutil.rmtree(self.base / ".nasmigrate", ignore_errors=True)
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            names = connection.execute(
                r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
            # The server says of each object that the cascade takes it; no test reads that.
            connection.execute("SET client_min_messages = warning")
            for (name,) in names:
                connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            connection.execute("CREATE SCHEMA public")

    def _context(self, config: Config) -> Context:
        return Context(config=config, base=self.base, reporter=Silent())

    def _target(self) -> Target:
        return Target(conninfo=self.conninfo, display="scratch")


def failed_gates(result: Result, names: Sequence[str] = PROVING) -> list[str]:
    """The gates of `names` that did not pass, with what they say; `skipped` is a pass."""
    return [
        f"{gate.name}: {gate.status}: {gate.detail}"
        for gate in result.gates
        if gate.name in names and gate.status not in ("pass", "skipped")
    ]
