"""Copies in one call, for tests that look at the result of the whole road."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nasmigrate.core.config_model import Config, PlanSection, TransferSection
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.workflows.copy import copy
from nasmigrate.workflows.verify import verify


def context(base: Path, *, accept: Iterable[str] = (), chunk_rows: int = 50_000) -> Context:
    """Settings of a project in `base`, which is made if it is not there, without a file to read them from."""
    base.mkdir(exist_ok=True)
    config = Config(plan=PlanSection(accept=tuple(accept)), transfer=TransferSection(chunk_rows=chunk_rows))
    return Context(config=config, base=base, reporter=Silent(), show_values=True)


def target(dsn: str) -> Target:
    return Target(conninfo=dsn, display="the target")


def copied(base: Path, source: Path, dsn: str, *, accept: Iterable[str] = (), chunk_rows: int = 50_000) -> Result:
    """Copy with every proof there is."""
    return copy(context(base, accept=accept, chunk_rows=chunk_rows), source, target(dsn), round_trip=True)


def verified(base: Path, source: Path, dsn: str, *, accept: Iterable[str] = ()) -> Result:
    """Verify with every proof there is."""
    return verify(context(base, accept=accept), source, target(dsn), round_trip=True)


def gates(result: Result) -> dict[str, str]:
    return {gate.name: gate.status for gate in result.gates}
