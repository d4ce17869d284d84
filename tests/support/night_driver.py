"""Runs a workflow and sends its own process a signal at a named point: WHAT FOLDER POINT SIGNAL WATCHDOG [PLANT]."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.progress import Silent
from nasmigrate.core.target import resolve_target
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.recover import ResumeOptions, resume
from nasmigrate.workflows.rollback import RollbackOptions, rollback


def main() -> int:
    what, folder, point, number, watchdog = sys.argv[1:6]
    # A shell starts its background jobs with SIGINT ignored, which a child inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loaded = load_config(Path(folder), environ=os.environ)
    assert loaded.config.source.path and loaded.config.target.dsn
    context = Context(config=loaded.config, base=loaded.base, reporter=Silent())
    source = loaded.resolve(loaded.config.source.path)
    target = resolve_target(loaded.config.target.dsn, environ=os.environ, from_argv=False)

    def watch(now: str) -> None:
        os.write(2, f"point {now}\n".encode())  # for a census of system calls
        if now == point:
            os.kill(os.getpid(), int(number))

    jumped = 0.0

    def jump(_number: int, _frame: object) -> None:
        nonlocal jumped
        jumped += 3600.0

    signal.signal(signal.SIGUSR1, jump)
    words = [sys.executable, "-m", "nasmigrate", "--no-input", "resume"] if int(watchdog) else None
    options = Options(
        watcher=watch, environ=dict(os.environ), resume_words=words, clock=lambda: time.monotonic() + jumped
    )
    if sys.argv[6:]:
        from plants import PLANTS

        PLANTS[sys.argv[6]](watch)
    try:
        if what == "cutover":
            return cutover(context, source, target, options).exit_code
        if what == "rollback":
            return rollback(context, source, target, RollbackOptions(common=options)).exit_code
        return resume(context, source, target, ResumeOptions(common=options)).exit_code
    except NasmigrateError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n")
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
