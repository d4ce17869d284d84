"""The child's half of `limited`: import the function, take the limits, do the job, report.

Run as `python -m nasmigrate.core.limited_child PIPE PARENT MODULE:FUNCTION`.
"""

from __future__ import annotations

import resource
import sys
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Final

from nasmigrate.core.limited import GRACE, Limits, Watch
from nasmigrate.core.lineage import follow

_OPEN_FILES: Final = 64


def main(descriptor: int, parent: int, function: str) -> None:
    """Do one job and end."""
    follow(parent)
    with Connection(descriptor) as pipe:
        module, _, name = function.partition(":")
        work = getattr(import_module(module), name)
        try:
            limits, job = pipe.recv()
        except EOFError:
            return  # the parent has no job after all
        _confine(limits)
        watch = Watch(limits.seconds)

        def report(value: object) -> None:
            _more_processor_time(limits.seconds)
            watch.renew()
            pipe.send(("reported", value))

        try:
            work(job, report, watch)
        except BaseException as error:
            pipe.send(("raised", (error, traceback.format_exc())))
        else:
            pipe.send(("returned", None))


def _confine(limits: Limits) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _lower(kind, most)
    _more_processor_time(limits.seconds)


def _more_processor_time(seconds: float) -> None:
    """Only the soft limit: it moves with every report."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time() + seconds + GRACE) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _lower(kind: int, most: int) -> None:
    """Never above what the system already set."""
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
