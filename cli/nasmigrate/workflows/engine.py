"""Which engine copies the rows, and what another program's word is worth."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from nasmigrate.core.context import Context
from nasmigrate.workflows.run import Run

if TYPE_CHECKING:
    from nasmigrate.core.result import Difference
    from nasmigrate.schema.plan import Plan
    from nasmigrate.transfer.engine import TransferEngine
    from nasmigrate.workflows.source import Source


def check_engine(context: Context) -> None:
    """See that the engine of the settings can be used, before any work is done.

    Raises:
        ToolMissing, ToolUnfit: it is another program, and that cannot be used.
    """
    if context.config.transfer.engine == "pgloader":
        from nasmigrate.transfer.pgloader.program import find_program

        find_program()


def engine_of(run: Run, conninfo: str, source: Source) -> TransferEngine:
    """The engine that the settings name."""
    if run.context.config.transfer.engine == "native":
        from nasmigrate.transfer.native import NativeEngine

        return NativeEngine(run.pool)
    from nasmigrate.transfer.pgloader import PgloaderEngine, find_program

    def judge(plan: Plan, run_id: str) -> tuple[Sequence[Difference], int]:
        return _compared(run, conninfo, source, plan, run_id)

    return PgloaderEngine(run.pool, find_program(), judge)


def _compared(run: Run, conninfo: str, source: Source, plan: Plan, run_id: str) -> tuple[Sequence[Difference], int]:
    """Tables in the target against their ledger, and where those differ the rows."""
    from nasmigrate.postgres.connect import connected
    from nasmigrate.postgres.ledger import read_chunks
    from nasmigrate.sqlite.open import open_snapshot
    from nasmigrate.verify.digests import compare_digests
    from nasmigrate.verify.localise import Localiser

    named: list[Difference] = []
    total = 0
    with connected(conninfo, purpose="nasmigrate verify") as connection:
        ledger = read_chunks(connection, run_id)
        connections = run.verify_connections
        outcomes = compare_digests(conninfo, plan, ledger, connections=connections)
        with closing(open_snapshot(source.snapshot)) as reader:
            localiser = Localiser(reader, connection, plan, show_values=run.context.show_values)
            for outcome in outcomes:
                if outcome.mismatches:
                    found, count = localiser.table(outcome)
                    named += found
                    total += count
    return named, total
