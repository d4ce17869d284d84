"""pgloader as a program: found, asked for its version, run in a process group of its own, ended with us."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import ToolMissing, ToolUnfit
from nasmigrate.core.redaction import redact

NAME = "pgloader"
SERIES = (3, 6)
"""The series whose load files, casts and summary this package knows; version 4 is another program."""
_VERSION = re.compile(r'version "(\d+)\.(\d+)[^"]*"')
_VERSION_TIMEOUT = 30.0
_POLL = 0.5
_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A pgloader that can be used; `version` as it says it."""

    path: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended; `said` is the end of what it wrote to stderr, without row values."""

    code: int
    said: str


def find_program() -> Program:
    """The pgloader on PATH.

    Raises:
        ToolMissing: there is none.
        ToolUnfit: it does not run, or is of another series.
    """
    path = shutil.which(NAME)
    if path is None:
        raise ToolMissing(
            "pgloader is not on PATH",
            hint="apt-get install pgloader, or use --engine native, which needs no other program",
        )
    path = str(Path(path).absolute())  # it will run in another folder
    try:
        said = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolUnfit(f"{path} does not run: {error}", hint="use --engine native") from error
    match = _VERSION.search(said)
    if match is None or (int(match[1]), int(match[2])) != SERIES:
        shown = match[0] if match else "no version that is known"
        raise ToolUnfit(
            f"{path} says {shown}; pgloader {SERIES[0]}.{SERIES[1]} is needed",
            hint="apt-get install pgloader, or use --engine native",
        )
    return Program(path=path, version=match[0].removeprefix('version "').rstrip('"'))


def run_program(
    program: Program,
    arguments: list[str],
    *,
    folder: Path,
    variables: Mapping[str, str],
    watch: Callable[[], None],
) -> Ended:
    """Run it to its end; whatever ends us ends it and its process group.

    Args:
        program: which.
        arguments: its arguments; no secrets.
        folder: its working directory; `pgloader.out` there gets all it writes.
        variables: added to its environment, which otherwise holds no settings of libpq and none of ours.
        watch: called twice a second meanwhile.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    output = folder / "pgloader.out"
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        process = subprocess.Popen(
            [*_with_us(), program.path, *arguments],
            cwd=folder,
            env={**kept, "LC_ALL": "C.UTF-8", **variables},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal reaches us alone, and we end it.
            start_new_session=True,
            umask=0o077,
        )
        try:
            while True:
                try:
                    code = process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    watch()
        finally:
            if process.poll() is None:
                _end(process)
    return Ended(code=code, said=_last_words(output))


def _with_us() -> tuple[str, ...]:
    """What makes it end when we are killed (prctl(2), PR_SET_PDEATHSIG)."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return


_TELLING = re.compile(r"(?:\b(?:ERROR|FATAL)\b:?|KABOOM!)\s+(.+)|^(Failed to .+)")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"?')
_LINES = 4


def _last_words(output: Path) -> str:
    """Its errors, each in one line; what it quotes may be a row's value and is left out."""
    found: list[str] = []
    for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _TELLING.search(line):
            text = _QUOTED.sub('"…"', match[1] or match[2]).strip()
            if text not in found:
                found.append(text)
    return redact("; ".join(found[-_LINES:]))
