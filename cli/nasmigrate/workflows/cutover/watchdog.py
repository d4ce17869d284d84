"""The watchdog: a process of its own that outlives the tool and settles what the tool left undecided.

Before the fence it may kill the process that holds the source's lock, once the freeze has outlived its limit: a tool
that is suspended must not keep the application waiting. After that it kills nothing. When the tool is gone, or says
nothing for too long, before all is decided, it runs `nasmigrate resume` until that ends with an answer. That is so from
the moment on at which the maintenance page may be on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nasmigrate.workflows.cutover.options import Options
    from nasmigrate.workflows.run import Run

GRACE = 1.0
"""Seconds beyond the freeze's own limit: the process that holds the lock ends by itself, unless it is suspended."""
SILENCE = 90.0
"""Seconds after the fence in which the tool must have decided."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
"""Seconds between two tries of `resume`, doubled each time."""
ANSWERS = (0, 3, 10, 11, 13)
"""Exit codes after which trying again changes nothing."""
PASSING = ("NM1103", "NM1110", "NM1120")
"""Errors with such an exit code that go by: another run had the file or the row, no run directory could be made."""
INCONCLUSIVE = 4
"""Exit code after which it changes nothing only if one engine serves."""


class Watchdog(Protocol):
    """What the tool tells it."""

    def prepared(self) -> None:
        """The maintenance page is about to be on, or the jobs to be paused."""

    def frozen(self, pid: int, limit: float | None) -> None:
        """Process `pid` holds the source's lock, for `limit` seconds at most."""

    def fencing(self) -> None:
        """The fence is about to be committed: nothing may be killed any more."""

    def decided(self) -> None:
        """One engine serves; whatever happens now is for the operator."""


class NoWatchdog:
    """Nobody watches."""

    def prepared(self) -> None:
        """Ignore."""

    def frozen(self, pid: int, limit: float | None) -> None:
        """Ignore."""

    def fencing(self) -> None:
        """Ignore."""

    def decided(self) -> None:
        """Ignore."""


class WatchdogProcess:
    """A watchdog in a session of its own, so that neither Ctrl-C nor a lost terminal reaches it."""

    def __init__(self, resume_words: Sequence[str], folder: Path, log: Path) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nasmigrate.workflows.cutover.watchdog"],
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                cwd=folder,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self._tell(resume=list(resume_words))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def prepared(self) -> None:
        """See Watchdog."""
        self._tell(stage="prepared")

    def frozen(self, pid: int, limit: float | None) -> None:
        """See Watchdog."""
        self._tell(stage="frozen", pid=pid, limit=limit)

    def fencing(self) -> None:
        """See Watchdog."""
        self._tell(stage="fencing")

    def decided(self) -> None:
        """See Watchdog."""
        self._tell(stage="decided")

    def close(self) -> None:
        """Let it end: with nothing switched off or all decided it goes, else it does its work."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()

    def _tell(self, **fields: object) -> None:
        with suppress(OSError):  # a watchdog that died takes nothing with it
            assert self._process.stdin is not None  # noqa: S101 - it was made with a pipe
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")
            self._process.stdin.flush()


def start_watchdog(run: Run, options: Options, stack: ExitStack) -> Watchdog:
    """A watchdog where the options have the words to settle with; let go of at the end of the run."""
    if options.resume_words is None:
        return NoWatchdog()
    process = WatchdogProcess(options.resume_words, run.context.base, run.directory.path("watchdog.log"))
    stack.callback(process.close)
    return process


class _Watch:
    """What the watchdog knows."""

    def __init__(self) -> None:
        self.resume: list[str] = []
        self.stage = "begun"
        self.pid: int | None = None
        self.until: float | None = None

    def hear(self, message: dict[str, Any], now: float) -> None:
        """Take in one line from the tool."""
        if "resume" in message:
            self.resume = message["resume"]
            return
        self.stage = message["stage"]
        if self.stage == "frozen":
            self.pid, limit = int(message["pid"]), message["limit"]
            self.until = None if limit is None else now + float(limit) + GRACE
        else:
            self.until = now + SILENCE if self.stage == "fencing" else None

    def expired(self) -> None:
        """The time is up: kill the holder of the lock, where that is allowed."""
        if self.stage == "frozen" and self.pid is not None:
            _say(f"the freeze outlived its limit: ending process {self.pid}")
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
        self.until = None


def watch(requests: int, settle: Callable[[list[str]], None], *, clock: Callable[[], float] = time.monotonic) -> None:
    """Listen to the tool until it is gone, silent, or has decided; call `settle` when there is something to settle."""
    state, pending = _Watch(), b""
    while state.stage != "decided":
        wait = None if state.until is None else max(0.0, state.until - clock())
        if not select.select([requests], [], [], wait)[0]:
            silent = state.stage == "fencing"
            state.expired()
            if silent:
                break
            continue
        block = os.read(requests, 1 << 16)
        if not block:
            break
        pending += block
        while b"\n" in pending:
            line, _, pending = pending.partition(b"\n")
            state.hear(json.loads(line), clock())
    if state.stage not in ("begun", "decided"):
        settle(state.resume)


def settle(words: list[str]) -> None:
    """Run `resume` until it ends with an answer."""
    pause = FIRST_PAUSE
    while True:
        _say(f"undecided: {' '.join(words[:4])}")
        done = subprocess.run([*words, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        _say(f"it ended with {done.returncode}: {done.stdout.decode(errors='replace').strip()}")
        if _is_answer(done.returncode, done.stdout):
            return
        time.sleep(pause)
        pause = min(LAST_PAUSE, pause * 2)


def _is_answer(code: int, document: bytes) -> bool:
    """Whether trying again would change nothing.

    What is inconclusive once one engine serves (a proof that the application's writes have overtaken, an application
    that has not arrived) stays so, and every try would restart the application.
    """
    try:
        said = json.loads(document)
        if code != INCONCLUSIVE:
            return code in ANSWERS and said["error"]["code"] not in PASSING
        return said["control"]["state"] in ("CLOSED", "OPEN") and said["writer"] in ("SQLite", "Postgres")
    except (ValueError, KeyError, TypeError):
        return code in ANSWERS  # no error; or with 4 one, or Postgres did not answer


def _say(text: str) -> None:
    with suppress(OSError):  # notes that have no room on the disk keep it from nothing
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
        sys.stderr.flush()


def main() -> None:
    """Watch the tool at the other end of stdin."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.stdin.fileno(), settle)


if __name__ == "__main__":
    main()
