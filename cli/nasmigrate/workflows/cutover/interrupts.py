"""Ctrl-C and SIGTERM in the critical section are kept until its end: half a commit is worse than a late answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Keep SIGINT and SIGTERM back while the context is open; one that came is raised at its normal end.

    Outside the main thread nothing is changed: no signal is delivered there.

    Raises:
        KeyboardInterrupt: at the end, if a signal came and nothing else went wrong.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
