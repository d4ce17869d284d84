"""Does one thing for many items, a few at a time, so that stopping anywhere leaves everything done on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def do_all(
    items: Iterable[Item],
    do: Callable[[Item], Outcome],
    *,
    workers: int,
    record: Callable[[Sequence[Outcome]], None],
    record_every: int,
    progress: Callable[[int], None],
) -> None:
    """Call `do` for each item, `workers` at once.

    Args:
        items: in the order to begin them.
        do: called in other threads.
        workers: calls in flight.
        record: called in this thread with outcomes, as soon as `record_every` are there, and before this returns or
            raises; each outcome comes once.
        record_every: how many outcomes at most are lost by a kill.
        progress: called in this thread with how many are done.

    Raises:
        Exception: the first that `do` raised. No further item was begun; those in flight were awaited and recorded.
    """
    outcomes: list[Outcome] = []
    finished = 0
    failure: BaseException | None = None
    waiting: set[Future[Outcome]] = set()
    queue = iter(items)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="in-flight") as pool:
        try:
            while True:
                while failure is None and len(waiting) < workers:
                    try:
                        waiting.add(pool.submit(do, next(queue)))
                    except StopIteration:
                        break
                if not waiting:
                    break
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    error = future.exception()
                    if error is None:
                        outcomes.append(future.result())
                        finished += 1
                    elif failure is None:
                        failure = error
                progress(finished)
                if len(outcomes) >= record_every:
                    record(outcomes)
                    outcomes = []
        finally:
            # After an interrupt: what is in flight is awaited, and counts.
            outcomes += [each.result() for each in wait(waiting).done if each.exception() is None]
            if outcomes:
                record(outcomes)
    if failure is not None:
        raise failure
