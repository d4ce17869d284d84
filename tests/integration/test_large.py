"""A rehearsal of a million rows: memory stays bounded, and progress is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from data_samples import generate
from support.processes import environment, tree_memory

ROWS = 1_000_000
LIMIT_MB = 300
"""With the rehearsed cutover as well, which compares both sides while an application writes."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The marketplace with about a million rows."""
    path = tmp_path_factory.mktemp("large") / "marketplace.db"
    assert sum(generate.generate(path, rows=ROWS).values()) >= ROWS
    return path


@pytest.mark.parametrize("cutover", ["false", "true"])
def test_memory_and_progress_of_a_million_rows(cutover: str, source: Path) -> None:
    (source.parent / "nasmigrate.toml").write_text(f"[rehearse]\ncutover = {cutover}\n")
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
        while not ended.wait(0.05):
            peaks.append(tree_memory(process.pid, without=("postgres",)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, errors = process.communicate(timeout=600)
    finally:
        ended.set()
        watcher.join()
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, errors
    assert 20 < max(peaks) / 1e6 < LIMIT_MB
    told = {line.split()[0] for line in errors.splitlines() if re.search(r"\d[kM]? rows/s .*\beta \d", line)}
    assert told >= {"profile", "copy", "verify"}, errors
    assert not os.path.lexists(source.with_name(source.name + "-wal"))
