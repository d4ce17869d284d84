"""Functions that misbehave, for the tests of processes with limits."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from nasmigrate.core.errors import SourceCorrupt
from nasmigrate.core.limited import Watch

Report = Callable[[object], None]


def echo(job: object, report: Report, _watch: Watch) -> None:
    report(job)
    report([job, job])


def raises(job: object, _report: Report, _watch: Watch) -> None:
    raise SourceCorrupt("app.db: broken", hint="restore", details={"page": job})


def hangs(_job: object, report: Report, _watch: Watch) -> None:
    report("begun")
    time.sleep(600)


def spins(_job: object, _report: Report, _watch: Watch) -> None:
    # One call that neither Python nor SQLite can interrupt.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    while True:
        sum(range(10_000_000))


def allocates(_job: object, _report: Report, _watch: Watch) -> None:
    bytearray(16 << 30)


def writes(job: object, _report: Report, _watch: Watch) -> None:
    Path(str(job)).write_bytes(bytes(2 << 20))


def crashes(_job: object, _report: Report, _watch: Watch) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves(_job: object, _report: Report, _watch: Watch) -> None:
    os._exit(7)


def tells(_job: object, report: Report, _watch: Watch) -> None:
    report({"core": resource.getrlimit(resource.RLIMIT_CORE), "as": resource.getrlimit(resource.RLIMIT_AS)})
    report({"cpu": resource.getrlimit(resource.RLIMIT_CPU)[0], "parent": os.getppid()})
