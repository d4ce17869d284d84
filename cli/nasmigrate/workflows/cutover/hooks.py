"""Programs of the operator's, run at named points with a time limit. No shell reads their words."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from nasmigrate.core.errors import ConfigError, ToolFailed, ToolMissing
from nasmigrate.core.redaction import redact

_TAIL = 2000
_READ = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a program came to; `output` is the end of its standard output and error, redacted."""

    code: int
    output: str


class Runner(Protocol):
    """Runs the words of a program in a folder, for at most `limit` seconds."""

    def __call__(
        self,
        words: list[str],
        folder: Path,
        limit: float,
        environ: Mapping[str, str] | None,
        serves: Callable[[], bool] | None = None,
    ) -> Done:
        """Run it to its end; a program that takes longer is ended, and counts as failed, unless it serves by then."""


def run_program(
    words: list[str],
    folder: Path,
    limit: float,
    environ: Mapping[str, str] | None = None,
    serves: Callable[[], bool] | None = None,
) -> Done:
    """Run a program to its end, without a terminal and apart from our process group.

    A program that it leaves running in the background, as a start command may, is neither waited for nor ended when
    it ends in time itself.

    Raises:
        ToolMissing: there is no such program.
    """
    # A file, because a pipe ends only when everything that the program left running in the background has ended.
    with _place_for_output() as output:
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(environ) if environ is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolMissing(f"{words[0]}: {error.strerror}", hint="check the command in nasmigrate.toml") from error
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            if serves is not None and serves():
                process.returncode = 0  # nobody waits for it any more
                return Done(code=0, output=f"runs on after {limit:g} s")
            # What it started goes with it.
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Done(code=-signal.SIGKILL, output=f"ended after {limit:g} s")
        return Done(code=code, output=_end_of(output))


def _place_for_output() -> BinaryIO:
    try:
        return cast(BinaryIO, tempfile.TemporaryFile())
    except OSError:  # no room: what the program does matters more than what it says
        return Path(os.devnull).open("r+b")


def _end_of(output: BinaryIO) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _READ))
    # Redacted before it is cut: half of a password is not recognised as one.
    return redact(output.read(_READ).decode("utf-8", "replace"))[-_TAIL:].strip()


def run_hook(
    point: str,
    command: str | None,
    folder: Path,
    limit: float,
    runner: Runner = run_program,
    *,
    serves: Callable[[], bool] | None = None,
) -> None:
    """Run the command of a point, if it has one.

    With `serves` a command that has not ended in time goes on running if that says that the application it is serves.

    Raises:
        ToolFailed, ToolMissing: it did not end with 0 in time, or is not there.
        ConfigError: its words cannot be read.
    """
    if command is None:
        return
    words = _words(point, command)
    done = runner(words, folder, limit, None) if serves is None else runner(words, folder, limit, None, serves)
    if done.code:
        raise ToolFailed(
            f"the command of {point} failed with {done.code}: {done.output.splitlines()[-1] if done.output else ''}",
            hint=f"run it by hand: {redact(command)}",
            details={"point": point, "code": done.code, "output": done.output},
        )


def require_program(point: str, command: str | None, folder: Path) -> None:
    """Find out whether the command of a point can be started, if it has one; nothing is run.

    Raises:
        ToolMissing: its program is not there, or cannot be executed.
        ConfigError: its words cannot be read.
    """
    if command is None:
        return
    program = _words(point, command)[0]
    # A name with a slash is looked for where the command is run, another one in PATH: execvp(3).
    if shutil.which(folder / program if "/" in program else program) is None:
        raise ToolMissing(f"the command of {point}: there is no program {program}")


def _words(point: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"the command of {point} cannot be read: {error}", code="NM0522") from error
    if not words:
        raise ConfigError(f"the command of {point} is empty", code="NM0522")
    return words
