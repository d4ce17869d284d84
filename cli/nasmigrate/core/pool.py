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
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_PR_SET_PDEATHSIG = 1
_state: Any = None
_stack = ExitStack()


@contextmanager
def few_collections() -> Iterator[None]:
    """Batches make many short-lived tuples and no cycles; the collector's frequent young passes only cost."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Pool(Generic[Task, Outcome]):
    """Runs `work(state, task)` for many tasks, here or in worker processes.

    Args:
        open_state: makes what the work needs (connections), once per process; must be importable.
        arguments: what `open_state` gets.
        work: must be importable.
        workers: processes; 1 = no other process, everything happens here.
    """

    def __init__(
        self,
        open_state: Callable[..., AbstractContextManager[Any]],
        arguments: tuple[Any, ...],
        work: Callable[[Any, Task], Outcome],
        *,
        workers: int,
    ) -> None:
        self._open_state = open_state
        self._arguments = arguments
        self._work = work
        self._workers = workers

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[int, Outcome], None, None]:
        """Yield (index of the task, outcome) as they are done; closing the generator ends the workers.

        Raises:
            Exception: the first error of any task; the workers are ended first.
        """
        todo = list(tasks)
        if self._workers <= 1 or len(todo) <= 1:
            with few_collections(), self._open_state(*self._arguments) as state:
                for index, task in enumerate(todo):
                    yield index, self._work(state, task)
            return
        executor = ProcessPoolExecutor(
            max_workers=min(self._workers, len(todo)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(os.getpid(), self._open_state, self._arguments),
        )
        try:
            futures: dict[Future[Outcome], int] = {
                executor.submit(_run, self._work, task): index for index, task in enumerate(todo)
            }
            pending = set(futures)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
        except BaseException:
            _end(executor)
            raise
        executor.shutdown(wait=True)


def _end(executor: ProcessPoolExecutor) -> None:
    """End the workers at once; what they had not committed is gone with their connections."""
    for process in list((executor._processes or {}).values()):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    executor.shutdown(wait=True, cancel_futures=True)


def _start(parent: int, open_state: Callable[..., AbstractContextManager[Any]], arguments: tuple[Any, ...]) -> None:
    """First thing in a worker: die with the parent, leave Ctrl-C to it, open what the work needs."""
    global _state
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _stack.enter_context(few_collections())
    _state = _stack.enter_context(open_state(*arguments))


def _run(work: Callable[[Any, Task], Outcome], task: Task) -> Outcome:
    return work(_state, task)
