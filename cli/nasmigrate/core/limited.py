"""Runs a function in a child process that gets no more memory, time and disk than it is given.

What a file says of itself can make a library loop, allocate without end, or crash. In a child each of these is an
error with a name; here it would be the end of the run. The limits are no wall against code that takes the process
over: the child runs with the same rights.

The child is started with nothing but the function's name and imports its module beside the parent's own work; the
job follows when it is known. `python -m nasmigrate.core.limited_child` is the other half.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Final, Literal

GRACE: Final = 5.0
"""Seconds the parent waits beyond the limit, for a child that stops by itself with a better message."""

Overrun = Literal["time", "memory", "crash"]


class LimitPassed(Exception):
    """The child came to its limits, or to its end.

    Attributes:
        what: `time`, `memory` (the system killed it), or `crash` (a signal such as SIGSEGV).
    """

    def __init__(self, what: Overrun, message: str) -> None:
        super().__init__(message)
        self.what = what


class ChildTraceback(Exception):
    """The cause of an error from a child: its traceback there, as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child gets.

    Attributes:
        seconds: wall clock from one report to the next; also the processor time for it.
        memory: bytes of address space (RLIMIT_AS).
        file_bytes: size of the largest file it may write (RLIMIT_FSIZE).
    """

    seconds: float
    memory: int
    file_bytes: int


class Watch:
    """The time a child has from one report to the next."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._until = clock() + seconds

    def renew(self) -> None:
        """Something was reported: the time begins again."""
        self._until = self._clock() + self.seconds

    def passed(self) -> bool:
        """Whether the time is over."""
        return self._clock() > self._until


class LimitedProcess:
    """One child for one job.

    Args:
        function: `module:name` of `(job, report, watch) -> None`; what it hands to `report` comes out of `run` here.
    """

    def __init__(self, function: str) -> None:
        self._function = function
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> LimitedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the child, once; it imports what it needs and waits for its job."""
        if self._process is not None:
            return
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", "-m", "nasmigrate.core.limited_child"]
            command += [str(theirs.fileno()), str(os.getpid()), self._function]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        self._pipe = ours

    def run(self, limits: Limits, job: object) -> Iterator[object]:
        """Hand over the job; yield what the function reports, until it returns.

        Raises:
            LimitPassed: the child passed a limit or crashed.
            Exception: what the function raised.
        """
        self.start()
        pipe = self._pipe
        assert pipe is not None  # noqa: S101 - start() made it
        try:
            with suppress(BrokenPipeError):
                pipe.send((limits, job))
            while True:
                if not pipe.poll(limits.seconds + GRACE):
                    raise LimitPassed("time", f"no answer within {limits.seconds:g} s")
                kind, value = pipe.recv()
                if kind == "returned":
                    return
                if kind == "raised":
                    error, trace = value
                    raise error from ChildTraceback(trace)
                yield value
        except (EOFError, ConnectionError):
            raise self._ended(limits) from None

    def close(self) -> None:
        """End the child, whatever it does."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.wait()

    def _ended(self, limits: Limits) -> LimitPassed:
        assert self._process is not None  # noqa: S101 - only called while it runs
        try:
            code = self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return LimitPassed("crash", "it closed its pipe")
        if code == -signal.SIGXCPU:
            return LimitPassed("time", f"more than {limits.seconds:g} s of processor time")
        if code == -signal.SIGKILL:
            return LimitPassed("memory", "it was killed, most often because memory ran out")
        what = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return LimitPassed("crash", f"it ended with {what}")
