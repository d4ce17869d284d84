"""Work spread over processes, because one Python process is one core.

The process that asks works as well. The others, its workers, are fresh interpreters ("spawn"), not forks: a fork of
a process with threads or an open SQLite file is not safe. They end with their parent, however it ends.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib import import_module
from itertools import count
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from nasmigrate.core.errors import TransferError
from nasmigrate.core.lineage import follow

State = TypeVar("State")
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


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
    """The processes of one run: this one and its workers, which stay for all phases, since to start one takes time.

    Args:
        processes: how many work, this one included; 1 = no other.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self._executor: ProcessPoolExecutor | None = None
        self._ending: list[Thread] = []
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
        # An executor that ends while the interpreter does gets woken through a pipe that it may just have closed.
        while self._ending:
            self._ending.pop().join()

    def close(self) -> None:
        """Let the workers end, and with them their connections; a later `run` starts new ones.

        They are gone when the `with` of this pool is left.
        """
        if self._executor is not None:
            # Not waited for: they hold nothing uncommitted.
            self._ending.append(Thread(target=self._executor.shutdown))
            self._ending[-1].start()
            self._executor = None

    def warm(self, modules: Sequence[str]) -> None:
        """Start the workers now and let them import what they will need, beside other work."""
        for _ in range(self.processes - 1):
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
        todo = deque(enumerate(tasks))
        if not spread or self.processes <= 1 or len(todo) <= 1:
            with few_collections(), open_state(*arguments) as state:
                for index, task in todo:
                    yield index, work(state, task)
            return
        job = next(self._jobs)
        executor = self._started()
        left = len(todo)
        done: SimpleQueue[tuple[int, Future[Outcome]]] = SimpleQueue()

        def hand_out() -> None:
            """Give a worker the next task, and another when that is done (then in a thread of the executor)."""
            with suppress(IndexError):
                index, task = todo.popleft()
                try:
                    future = executor.submit(_run, job, open_state, arguments, work, task)
                except Exception as error:
                    # The loop below reads it like a task's own error.
                    future = Future()
                    future.set_exception(error)
                future.add_done_callback(lambda outcome: take_back(index, outcome))

        def take_back(index: int, outcome: Future[Outcome]) -> None:
            done.put((index, outcome))
            # After an error nothing more is begun. The executor may hold its lock then: to submit would block.
            if not outcome.cancelled() and outcome.exception() is None:
                hand_out()

        try:
            for _ in range(self.processes - 1):
                hand_out()
            with few_collections(), open_state(*arguments) as state:
                while left:
                    while not done.empty() or (left and not todo):
                        index, future = done.get()
                        left -= 1
                        yield index, future.result()
                    with suppress(IndexError):
                        index, task = todo.popleft()
                        outcome = work(state, task)
                        left -= 1
                        yield index, outcome
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
                max_workers=self.processes - 1,
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
            with suppress(ProcessLookupError):
                process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process has open: the state of the job it works on."""

    job = 0
    state: Any = None
    stack = ExitStack()


def _start(parent: int) -> None:
    """First thing in a worker."""
    follow(parent)
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
