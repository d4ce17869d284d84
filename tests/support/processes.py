"""`nasmigrate` as a process of its own, watched through what it leaves behind, and ended in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

LIMIT = 60.0
"""Seconds after which waiting for anything has failed."""


def environment() -> dict[str, str]:
    """This process's, without settings of ours or of libpq."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("NASMIGRATE_", "PG"))}


def nasmigrate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "nasmigrate", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def nasmigrate_signalled(
    folder: Path,
    words: Sequence[str],
    number: signal.Signals,
    ready: Callable[[], bool],
    *,
    delay: float = 0.0,
    to_group: bool = False,
) -> tuple[int, str]:
    """Start it, send the signal `delay` seconds after `ready` says so, and give its exit code and stderr.

    With `to_group` every process of its group gets the signal, as a terminal does at Ctrl-C. A process that has
    ended before is left alone: its exit code then shows that no signal was sent.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate", *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=to_group,
    )
    try:
        limit = time.monotonic() + LIMIT
        while process.poll() is None and not ready():
            if time.monotonic() > limit:
                raise TimeoutError("the moment to send the signal never came")
            time.sleep(0.001)
        time.sleep(delay)
        if process.poll() is None and to_group:
            os.killpg(process.pid, number)
        elif process.poll() is None:
            process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, errors


def events(folder: Path) -> list[dict[str, object]]:
    """Events of the newest run in `folder`; a line that is still being written is left out."""
    files = sorted((folder / ".nasmigrate" / "runs").glob("2*/events.jsonl"))
    if not files:
        return []
    return [
        json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines(keepends=True) if "\n" in line
    ]


def began(folder: Path, phase: str) -> bool:
    """Whether the newest run has reached a phase."""
    return any(event["kind"] == "phase" and event["name"] == phase for event in events(folder))


def chunks_in_ledger(connection: psycopg.Connection) -> int:
    """Ledger rows that are committed; 0 while there is no ledger. The connection must be in autocommit mode."""
    row = connection.execute("SELECT to_regclass('nasmigrate.chunk') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("SELECT count(*) FROM nasmigrate.chunk").fetchone()
    return int(row[0]) if row else 0


def wait_until_alone(connection: psycopg.Connection) -> None:
    """Wait until the server has noticed that the killed process's sessions in this database are gone."""
    limit = time.monotonic() + LIMIT
    while True:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
        if row == (0,):
            return
        if time.monotonic() > limit:
            raise TimeoutError("sessions of the killed process are still there")
        time.sleep(0.005)


def memory_of_rehearsal(source: Path, *, cutover: bool, timeout: float) -> tuple[int, str]:
    """Rehearse a file to exit 0; the highest `tree_memory` met, the server left out, in bytes, and stderr.

    Args:
        source: its folder gets the settings and the run.
        cutover: whether the cutover is rehearsed too.
        timeout: seconds.
    """
    (source.parent / "nasmigrate.toml").write_text(f"[rehearse]\ncutover = {str(cutover).lower()}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate", "rehearse", source.name],
        cwd=source.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()
    peaks = [0]

    def watch() -> None:
        while not ended.wait(0.02):
            peaks.append(tree_memory(process.pid, without=("postgres",)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, errors = process.communicate(timeout=timeout)
    finally:
        ended.set()
        watcher.join()
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, errors
    return max(peaks), errors


def tree_memory(pid: int, *, without: Sequence[str] = ()) -> int:
    """Resident bytes of a process and its descendants now, those running one of the programs left out.

    A page that several of them share counts once (PSS): the sum of their resident sizes would count a child that was
    just forked, and shares all its pages, as much as its parent again.
    """
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            if Path(f"/proc/{one}/exe").readlink().name in without:
                continue
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, IndexError):
            continue
    return total
