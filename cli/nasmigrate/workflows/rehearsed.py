"""The rehearsals of this folder: a cutover runs only what one of them has proven."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nasmigrate.core.result import Result
from nasmigrate.core.rundir import RunDirectory, list_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A rehearsal of a source that passed."""

    run: str
    plan_hash: str
    started_at: str


def results(base: Path) -> Iterator[tuple[RunDirectory, Result]]:
    """The results that can be read, the newest run first."""
    for run in reversed(list_runs(base)):
        try:
            yield run, Result.model_validate_json(run.path("result.json").read_bytes())
        except (OSError, ValidationError):
            continue


def passed_rehearsals(base: Path, source: Path) -> tuple[Rehearsal, ...]:
    """Every rehearsal of `source` that passed, the newest first."""
    return tuple(
        Rehearsal(run=run.name, plan_hash=result.plan_hash, started_at=result.started_at)
        for run, result in results(base)
        if result.command == "rehearse"
        and result.verdict == "pass"
        and result.plan_hash is not None
        and Path(result.source) == source
    )
