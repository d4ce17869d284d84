"""Work spread over processes, because one Python process is one core.

Workers are fresh interpreters ("spawn"), not forks: a fork of a process with threads or an open SQLite file is
not safe. They end with their parent, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from itertools import count
from types import TracebackType
from typing import Any, TypeVar

from nasmigrate.core.errors import TransferError

State = TypeVar("State")
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1


@contextmanager
def few_collections() -> Iterator[None]:
    """Batches make many short-lived tuples and no cycles; the collector's frequent young passes only cost."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Pool:
    """The worker processes of one run; they stay for all its phases, since starting one takes half a second.

    Args:
        processes: how many; 1 = no other process, everything happens here.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._executor: ProcessPoolExecutor | None = None
        self._jobs = count(1)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._kill()

    def close(self) -> None:
        """Let the processes end, and with them their connections; a later `run` starts new ones."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None

    def warm(self, modules: Sequence[str]) -> None:
        """Start the processes now and let them import what they will need, beside other work."""
        if self.processes > 1:
            for _ in range(self.processes):
                self._started().submit(_import, tuple(modules))

    def run(
        self,
        open_state: Callable[..., AbstractContextManager[State]],
        arguments: tuple[Any, ...],
        work: Callable[[State, Task], Outcome],
        tasks: Iterable[Task],
        *,
        spread: bool,
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Run `work(state, task)` for each task; yield (index of the task, outcome) as they are done.

        Closing the generator early ends the processes.

        Args:
            open_state: makes what the work needs (connections), once per process; must be importable.
                It is not left before the process ends, so work keeps nothing uncommitted between tasks.
            arguments: what `open_state` gets.
            work: must be importable.
            tasks: in the order to begin them.
            spread: whether other processes are worth it; else everything happens here.

        Raises:
            TransferError: a worker process was killed.
            Exception: the first error of any task; the processes are ended first.
        """
        todo = list(tasks)
        if not spread or self.processes <= 1 or len(todo) <= 1:
            with few_collections(), open_state(*arguments) as state:
                for index, task in enumerate(todo):
                    yield index, work(state, task)
            return
        job = next(self._jobs)
        try:
            futures: dict[Future[Outcome], int] = {
                self._started().submit(_run, job, open_state, arguments, work, task): index
                for index, task in enumerate(todo)
            }
            pending = set(futures)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
        except BrokenProcessPool:
            self._kill()
            raise TransferError(
                "a worker process was killed",
                hint="most often memory ran out (see the system's log); fewer [transfer] workers need less",
            ) from None
        except BaseException:
            self._kill()
            raise

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=self.processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(os.getpid(),),
            )
        return self._executor

    def _kill(self) -> None:
        """End the workers at once; what they had not committed is gone with their connections."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        for process in list((executor._processes or {}).values()):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process has open: the state of the job it works on."""

    job = 0
    state: Any = None
    stack = ExitStack()


def _start(parent: int) -> None:
    """First thing in a worker: die with the parent, leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    gc.set_threshold(200_000, 20, 100)


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)


def _run(
    job: int,
    open_state: Callable[..., AbstractContextManager[State]],
    arguments: tuple[Any, ...],
    work: Callable[[State, Task], Outcome],
    task: Task,
) -> Outcome:
    if job != _Worker.job:
        _Worker.stack.close()
        _Worker.state = _Worker.stack.enter_context(open_state(*arguments))
        _Worker.job = job
    return work(_Worker.state, task)
