"""A rehearsal of a million rows: memory stays bounded, and progress is told."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from data_samples import generate
from support.processes import memory_of_rehearsal

ROWS = 1_000_000
LIMIT_MB = 300
"""With the rehearsed cutover as well, which compares both sides while an application writes."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The marketplace with about a million rows."""
    path = tmp_path_factory.mktemp("large") / "marketplace.db"
    assert sum(generate.generate(path, rows=ROWS).values()) >= ROWS
    return path


@pytest.mark.parametrize("cutover", [False, True])
def test_memory_and_progress_of_a_million_rows(cutover: bool, source: Path) -> None:
    peak, errors = memory_of_rehearsal(source, cutover=cutover, timeout=600)
    assert 20 < peak / 1e6 < LIMIT_MB
    told = {line.split()[0] for line in errors.splitlines() if re.search(r"\d[kM]? rows/s .*\beta \d", line)}
    assert told >= {"profile", "copy", "verify"}, errors
    assert not os.path.lexists(source.with_name(source.name + "-wal"))
