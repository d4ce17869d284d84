"""The one place that starts `docker` and compose: output as text, a time-out, nothing secret in the arguments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A program that ended. `code` is its exit code; -1 when it could not be started, 124 when its time was up."""

    code: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Starts a program and waits for it; a test puts another in its place."""

    def run(self, argv: Sequence[str], *, timeout: float, cwd: Path | None = None, show: bool = False) -> Done:
        """Run `argv`, in folder `cwd`, for at most `timeout` seconds.

        With `show` what it says goes to our stderr as well as it comes (pull and build show their own progress),
        and is not in the result.
        """


@dataclass(frozen=True, slots=True)
class Subprocesses:
    """The real thing. `environ` replaces the environment."""

    environ: Mapping[str, str]

    def run(self, argv: Sequence[str], *, timeout: float, cwd: Path | None = None, show: bool = False) -> Done:
        """See `Runner.run`."""
        stderr_descriptor = 2
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=stderr_descriptor if show else subprocess.PIPE,
                stderr=stderr_descriptor if show else subprocess.PIPE,
                cwd=cwd,
                env=dict(self.environ),
                timeout=timeout,
                check=False,
                text=True,
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            return Done(code=124, stdout=_text(error.stdout), stderr=f"no answer within {timeout:.0f} s")
        except OSError as error:
            return Done(code=-1, stdout="", stderr=os.strerror(error.errno or 0))
        return Done(code=done.returncode, stdout=done.stdout or "", stderr=done.stderr or "")


def _text(output: bytes | str | None) -> str:
    if isinstance(output, bytes):
        return output.decode(errors="replace")
    return output or ""
