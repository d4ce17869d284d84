"""Asks for the examination of a source, and goes on with the facts while its indexes are still being compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from nasmigrate.core.errors import SourceHostile
from nasmigrate.core.limited import LimitedProcess, LimitPassed, Watch
from nasmigrate.core.result import Gate
from nasmigrate.schema.model import Table
from nasmigrate.sqlite.check import checkable_indexes
from nasmigrate.sqlite.examine import Examined, ExamineJob, IndexesChecked, examine, limits_for

GATE = "source-indexes"
_FUNCTION = "nasmigrate.sqlite.examine:examine"
_NAMED = 3


class Work(Protocol):
    """Where an examination runs."""

    def prepare(self) -> None:
        """One is to come: what takes time may begin."""

    def reports(self, job: ExamineJob, deadline: float) -> Iterator[object]:
        """Do the job; what `examine` reports, as it comes.

        Raises:
            SourceHostile: it passed its limits, or crashed.
        """

    def close(self) -> None:
        """End it, finished or not."""


class InChild:
    """A child process with limits: for every file that is not known to be harmless."""

    def __init__(self) -> None:
        self._process = LimitedProcess(_FUNCTION)
        self._given = False

    def prepare(self) -> None:
        """Start the child."""
        self._process.start()

    def reports(self, job: ExamineJob, deadline: float) -> Iterator[object]:
        """See `Work`."""
        limits = limits_for(job.source, deadline, job.busy_timeout)
        if self._given:
            # One child, one job: an earlier one may still be at its indexes.
            self._process.close()
            self._process = LimitedProcess(_FUNCTION)
        self._given = True
        try:
            yield from self._process.run(limits, job)
        except LimitPassed as passed:
            means = {"time": "takes too long", "memory": "takes too much memory", "crash": "ends SQLite"}[passed.what]
            raise SourceHostile(
                f"{job.source}: to check it and to read its schema {means}: {passed}",
                hint="this file is damaged, or made to harm a reader; nothing was changed",
            ) from passed

    def close(self) -> None:
        """Kill the child."""
        self._process.close()


class InThisProcess:
    """Without a child: for a process that is limited itself."""

    def prepare(self) -> None:
        """Nothing to do."""

    def reports(self, job: ExamineJob, deadline: float) -> Iterator[object]:
        """See `Work`; all is done before the first report comes."""
        found: list[object] = []
        limits = limits_for(job.source, deadline, job.busy_timeout)
        examine(replace(job, step_back=False), found.append, Watch(limits.seconds))
        yield from found

    def close(self) -> None:
        """Nothing to do."""


class Examiner:
    """One command's examination of its source.

    Args:
        work: where it runs.
        deadline: seconds for a step of it, see `limits_for`.
    """

    def __init__(self, work: Work, deadline: float) -> None:
        self._work = work
        self._deadline = deadline
        self._reports: Iterator[object] = iter(())
        self._tables: tuple[Table, ...] = ()
        self._gate: Gate | None = None

    def prepare(self) -> None:
        """An examination is to come."""
        self._work.prepare()

    def examine(self, job: ExamineJob) -> Examined:
        """The facts of the source; its indexes are still being compared with its rows.

        Raises:
            SourceError: or one of its kinds, see `sqlite.examine.examine`, which names the others.
        """
        self._gate = None
        self._reports = self._work.reports(job, self._deadline)
        examined = next(report for report in self._reports if isinstance(report, Examined))
        self._tables = examined.schema.tables
        return examined

    def indexes(self) -> Gate | None:
        """Whether the source's indexes agree with its rows; waits for the answer. None when nothing was examined.

        Raises:
            SourceError: or one of its kinds: SQLite failed over it.
        """
        if self._gate is None and self._tables:
            checked = {report.table: report for report in self._reports if isinstance(report, IndexesChecked)}
            self._gate = _gate(self._tables, checked)
            self._work.close()
        return self._gate

    def close(self) -> None:
        """End it, finished or not."""
        self._work.close()


def _gate(tables: tuple[Table, ...], checked: dict[str, IndexesChecked]) -> Gate:
    """One line for all tables: what differs before what could not be known."""
    asked = [table.name for table in tables if checkable_indexes(table)]
    count = sum(len(table.indexes) for table in tables if table.name in checked and not checked[table.name].skipped)
    differing = [report for report in checked.values() if report.lines]
    late = [name for name in asked if name not in checked]
    if differing:
        lines = "; ".join(f"{report.table}: {report.lines[0]}" for report in differing[:_NAMED])
        return Gate(
            name=GATE,
            status="fail",
            detail=f"the source's indexes do not agree with its rows: {lines}. If the rows are right, REINDEX in the"
            " application's database mends it; else restore a backup",
            checked=count,
        )
    if late:
        return Gate(
            name=GATE,
            status="inconclusive",
            detail=f"not done in time, first {late[0]}; on a slow disk raise [source] deadline",
            checked=count,
        )
    unknown = sum(1 for table in tables if table.indexes and table.name not in asked)
    skipped = [f"{report.table} ({report.skipped})" for report in checked.values() if report.skipped]
    detail = f"{count} indexes agree with their tables' rows"
    if skipped or unknown:
        detail += f"; {len(skipped) + unknown} tables left out: collations or functions of the application"
    return Gate(name=GATE, status="pass" if count else "skipped", detail=detail, checked=count)
