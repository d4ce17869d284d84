"""One command's run: its directory, its clock, its phases."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from nasmigrate import __version__
from nasmigrate.core.context import Context
from nasmigrate.core.errors import DiskFull, NasmigrateError
from nasmigrate.core.pool import Pool
from nasmigrate.core.progress import Progress
from nasmigrate.core.rundir import RunDirectory
from nasmigrate.workflows.examiner import Examiner, InChild, InThisProcess

if TYPE_CHECKING:
    from pydantic import BaseModel

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """What a workflow carries along: where files go, how long each phase took, whom to tell.

    `slots` are the connections that the target has for us beside the workflow's own; None = as many as we like.
    """

    context: Context
    command: str
    directory: RunDirectory
    examiner: Examiner
    pool: Pool = field(default_factory=Pool)
    started: float = field(default_factory=time.perf_counter)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    timeline: list[tuple[str, float]] = field(default_factory=list)
    slots: int | None = None

    def keep_to(self, slots: int) -> None:
        """Use no more connections at once than the target has free."""
        transfer = self.context.config.transfer
        if slots < max(transfer.workers, transfer.verify_connections):
            self.context.reporter.note(f"the target has {slots} connections free: fewer work at once")
        self.slots = slots
        self.pool.processes = min(self.pool.processes, slots)

    @property
    def verify_connections(self) -> int:
        """How many connections verify at once."""
        wanted = self.context.config.transfer.verify_connections
        return wanted if self.slots is None else min(wanted, self.slots)

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """Time a phase, tell the reporter, write it to the events."""
        self.context.reporter.phase(name, detail)
        self.directory.event("phase", name=name, detail=detail)
        log.info("phase %s %s", name, detail)
        before = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - before
            self.timeline.append((name, round(seconds, 3)))
            self.directory.event("phase-end", name=name, seconds=round(seconds, 3))

    def seconds_of(self, name: str) -> float:
        """Seconds of all phases of that name."""
        return sum(seconds for phase, seconds in self.timeline if phase == name)

    def keep(self, name: str, document: BaseModel) -> None:
        """Write what a run came to, once one engine serves: that it cannot be kept is told, and changes nothing."""
        try:
            self.directory.write_json(name, document)
        except OSError as error:
            self.context.reporter.note(f"{name} cannot be kept in the run's folder: {error.strerror}")

    @staticmethod
    def preload(modules: Sequence[str]) -> None:
        """Import modules that a later phase needs, in a thread beside this one; what fails there fails again later."""

        def load() -> None:
            with suppress(Exception):
                for module in modules:
                    import_module(module)

        Thread(target=load, name="preload", daemon=True).start()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.started

    def meter(self, phase: str, order: list[str], totals: dict[str, int]) -> Meter:
        """A progress meter over tables."""
        return Meter(self, phase, order, totals)


class Meter:
    """Turns (table, rows of it) into progress over all tables."""

    def __init__(self, run: Run, phase: str, order: list[str], totals: dict[str, int]) -> None:
        self._run = run
        self._phase = phase
        self._order = order
        self._totals = totals
        self._rows: dict[str, int] = {}
        self._started = time.perf_counter()

    def __call__(self, table: str, rows: int) -> None:
        """`rows` of `table` are done so far."""
        self._rows[table] = rows
        done = sum(1 for name, count in self._rows.items() if count >= self._totals.get(name, 0))
        self._run.context.reporter.progress(
            Progress(
                phase=self._phase,
                table=table,
                tables_done=min(done, len(self._order)),
                tables_total=len(self._order),
                rows_done=sum(self._rows.values()),
                rows_total=sum(self._totals.values()),
                elapsed=time.perf_counter() - self._started,
            )
        )


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Turn this machine's "no space left" into ours.

    Raises:
        DiskFull: there was no space left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"no space is left for {error.filename or 'the files of this run'}",
            hint="free some space, or keep nasmigrate.toml in a folder on a larger disk",
        ) from error


@contextmanager
def running(context: Context, command: str) -> Iterator[Run]:
    """A run in its own directory. An error leaves `error.json` there and passes on."""
    directory = RunDirectory.create(context.base, command)
    pool = Pool(context.config.transfer.workers)
    examiner = Examiner(InChild() if context.isolated else InThisProcess(), context.config.source.deadline)
    run = Run(context=context, command=command, directory=directory, examiner=examiner, pool=pool)
    with directory.debug_log(), pool, closing(examiner):
        directory.event("start", command=command, version=__version__)
        try:
            with full_disk_named():
                yield run
        except NasmigrateError as error:
            directory.event("error", code=error.code, message=error.message)
            with suppress(OSError):  # a full disk must not hide the error itself
                directory.write_json(
                    "error.json",
                    {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details},
                )
            log.exception("%s", error.code)
            error.details.setdefault("run_directory", str(directory.root))
            error.details.setdefault("log", str(directory.path("debug.log")))
            raise
        except BaseException as error:
            directory.event("error", exception=type(error).__name__)
            log.exception("ended by %s", type(error).__name__)
            raise
        directory.event("end", seconds=round(run.elapsed, 3))
