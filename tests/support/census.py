"""A census of the system calls by which a cutover changes the world, and a SIGKILL at any one of them.

strace counts calls for each process by itself, so a place is (call, number): the first process of the tool that makes
its n-th such call is killed in it, before the call is carried out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.night import DRIVER, Night
from support.processes import environment

CALLS = ("fdatasync", "fsync", "pwrite64", "rename", "sendto", "unlink")
"""Writes and syncs of SQLite and of the run directory, and what is sent to Postgres, COMMIT included."""
LIMIT = 240.0
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_POINT = re.compile(r'2, "point (\w+):(\w+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The `number`-th `call` of a process, made in a phase."""

    phase: str
    call: str
    number: int


def traced(night: Night, command: str, words: Sequence[str], log: Path) -> int:
    """Run a workflow of a night under strace, never stopping at a point; the driver's exit code."""
    driver = [sys.executable, str(DRIVER), command, str(night.folder), "nowhere", "0", "0"]
    with (night.folder / "driver.log").open("ab") as errors:
        done = subprocess.run(
            ["strace", "-f", "-q", "-e", "signal=SIGKILL", "-o", str(log), *words, *driver],
            cwd=night.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            timeout=LIMIT,
            check=False,
        )
    return done.returncode


def census(night: Night, command: str) -> list[Place]:
    """Run to the end and write down every call, with the phase it was made in."""
    log = night.folder / "census.log"
    code = traced(night, command, ["-e", f"trace=write,{','.join(CALLS)}"], log)
    assert code == 0, (night.folder / "driver.log").read_text()
    counts: dict[tuple[str, str], int] = defaultdict(int)
    found: list[Place] = []
    phase = ""
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        if match["call"] == "write":
            point = _POINT.match(match["rest"])
            phase = point[1] if point else phase
            continue
        counts[match["pid"], match["call"]] += 1
        if phase:
            found.append(Place(phase=phase, call=match["call"], number=counts[match["pid"], match["call"]]))
    return found


def kill_at(night: Night, command: str, place: Place) -> bool:
    """Run with a SIGKILL at a place; whether it came to that."""
    log = night.folder / "killed.log"
    traced(
        night,
        command,
        ["-e", f"trace={place.call}", "-e", f"inject={place.call}:signal=SIGKILL:when={place.number}"],
        log,
    )
    return "+++ killed by SIGKILL" in log.read_text(errors="replace")
