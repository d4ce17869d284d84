"""Ctrl-C and SIGTERM in the critical section are kept until its end: half a commit is worse than a late answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Interrupts:
    """`came`: whether a signal was kept back. `too_late`: what they would stop is done, so none is raised."""

    came: bool = False
    too_late: bool = False


@contextmanager
def hold_interrupts() -> Iterator[Interrupts]:
    """Keep SIGINT and SIGTERM back while the context is open; one that came is raised at its normal end.

    Outside the main thread nothing is changed: no signal is delivered there.

    Raises:
        KeyboardInterrupt: at the end, if a signal came, not too late, and nothing else went wrong.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupts.came = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupts.came and not interrupts.too_late:
        raise KeyboardInterrupt
