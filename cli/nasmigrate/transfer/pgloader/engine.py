"""The pgloader engine: tables that pgloader can carry go through it, the others through the native engine."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from nasmigrate.core.errors import ToolFailed, ToolLied
from nasmigrate.core.pool import Pool
from nasmigrate.core.result import Difference
from nasmigrate.core.rundir import write_atomic
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control import begin_writing
from nasmigrate.postgres.loading import mark_loading, unmark_loading
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.transfer.chunked import take_through
from nasmigrate.transfer.engine import CopyJob, TableCopied
from nasmigrate.transfer.native import NativeEngine
from nasmigrate.transfer.pgloader.capability import LIMITS, Limit, limits_of
from nasmigrate.transfer.pgloader.load_file import Server, render
from nasmigrate.transfer.pgloader.program import Ended, Program, run_program
from nasmigrate.transfer.pgloader.recorder import Recorder
from nasmigrate.transfer.pgloader.source_copy import write_source
from nasmigrate.transfer.pgloader.summary import Believed, read_summary
from nasmigrate.transfer.pgloader.watch import Watch

log = logging.getLogger(__name__)

Judge = Callable[[Plan, str], tuple[Sequence[Difference], int]]
"""Compares a plan's tables with the ledger of a run: differences (some of them), and how many there are."""

LOAD_FILE, SOURCE, SUMMARY, LOG, FOLDER = "pgloader.load", "pgloader.db", "pgloader.csv", "pgloader.log", "pgloader"
_NAMED = 5


class PgloaderEngine:
    """Implements TransferEngine.

    pgloader commits by itself, so its tables are marked in the target until the judge has found them equal; a run
    that is taken up again begins with emptying those still marked (`postgres.loading`).

    Args:
        pool: processes for the ledger and for tables of the native engine.
        program: the pgloader to use.
        judge: decides whether it did what its exit code says.
        limits: what it cannot carry.
    """

    name = "pgloader"

    def __init__(self, pool: Pool, program: Program, judge: Judge, limits: Sequence[Limit] = LIMITS) -> None:
        self._pool = pool
        self._program = program
        self._judge = judge
        self._limits = limits
        self.told = ""

    def copy(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        """See TransferEngine.

        Raises:
            ToolFailed: pgloader ended with another code than 0.
            ToolLied: it ended with 0, and rows differ.
        """
        reasons = {table.name: limits_of(job.plan, table, self._limits) for table in job.plan.tables}
        # A table that has a ledger was proven, or is the native engine's, in the run that is taken up again.
        ours = [table for table in job.plan.tables if not reasons[table.name] and table.name not in job.done]
        self.told = self._told(ours, reasons)
        log.info("engine: %s", self.told)
        copied = self._load(_part(job, ours), progress) if ours else []
        loaded = {table.name for table in ours}
        rest = _part(job, [table for table in job.plan.tables if table.name not in loaded])
        copied += NativeEngine(self._pool).copy(rest, progress)
        order = [table.name for table in job.plan.tables]
        return sorted(copied, key=lambda table: order.index(table.table))

    def _told(self, ours: Sequence[PlanTable], reasons: dict[str, list[str]]) -> str:
        """One line for the result: who carried what, and why."""
        others = [f"{table} ({why[0]})" for table, why in reasons.items() if why]
        line = f"pgloader {self._program.version} carried {len(ours)} tables"
        return f"{line}; native: {', '.join(others)}" if others else line

    def _load(self, job: CopyJob, progress: Callable[[str, int], None]) -> list[TableCopied]:
        names = [table.name for table in job.plan.tables]
        with connected(job.conninfo, autocommit=True, purpose="nasmigrate copy") as connection:
            server = Server.of(connection)
            begin_writing(connection, job.run_id)
            with connection.transaction():
                mark_loading(connection, job.run_id, names)
            ended = self._run(job, server, Watch(connection, names, progress))
            believed = read_summary(job.workdir / SUMMARY, names)
            if ended.code != 0:
                raise ToolFailed(
                    f"pgloader ended with {ended.code}: {ended.said or 'it did not say why'}",
                    hint="pgloader.out and pgloader.log of the run have all it said; --resume --engine native goes on",
                    details={"rc": ended.code, "program": self._program.path},
                )
            copied = take_through(self._pool, Recorder, job, progress)
            differences, total = self._judge(job.plan, job.run_id)
            if total:
                raise _lied(differences, total, ended, believed)
            with connection.transaction():
                unmark_loading(connection, job.run_id)
        return [
            replace(table, seconds=believed[table.table].seconds) if table.table in believed else table
            for table in copied
        ]

    def _run(self, job: CopyJob, server: Server, watch: Watch) -> Ended:
        folder = job.workdir
        arguments = ["--root-dir", str(folder / FOLDER), "--logfile", str(folder / LOG), "--summary"]
        arguments += [str(folder / SUMMARY), LOAD_FILE]
        try:
            write_source(job.snapshot, folder / SOURCE, [table.name for table in job.plan.tables])
            write_atomic(folder / LOAD_FILE, render(SOURCE, server, job.plan.tables).encode())
            return run_program(
                self._program,
                arguments,
                folder=folder,
                variables={"PGPASSWORD": server.password} if server.password else {},
                watch=watch,
            )
        finally:
            (folder / SOURCE).unlink(missing_ok=True)
            shutil.rmtree(folder / FOLDER, ignore_errors=True)  # rejected rows


def _part(job: CopyJob, tables: Sequence[PlanTable]) -> CopyJob:
    return replace(job, plan=job.plan.model_copy(update={"tables": tuple(tables)}))


def _lied(differences: Sequence[Difference], total: int, ended: Ended, believed: dict[str, Believed]) -> ToolLied:
    named = "; ".join(_where(difference) for difference in differences[:_NAMED])
    more = f" and {total - _NAMED} more" if total > _NAMED else ""
    said = f" (it said: {ended.said})" if ended.said else ""
    return ToolLied(
        f"pgloader ended with 0, but source and target differ: {named}{more}{said}",
        hint="`nasmigrate copy --resume --engine native` copies its tables again",
        details={
            "differences": [difference.model_dump(mode="json", exclude_none=True) for difference in differences],
            "total": total,
            "believed": {
                table: {"read": line.read, "imported": line.imported, "errors": line.errors}
                for table, line in believed.items()
            },
        },
    )


def _where(difference: Difference) -> str:
    words = [difference.kind, difference.table or "", difference.key or ""]
    if difference.column:
        words.append(f"column {difference.column}")
    return " ".join(word for word in words if word)
