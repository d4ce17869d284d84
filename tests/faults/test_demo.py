"""The demo, as a newcomer runs it: it shows both ways and counts."""

from __future__ import annotations

import json
from pathlib import Path

from support.processes import nasmigrate


def test_the_demo_passes_and_leaves_nothing(tmp_path: Path) -> None:
    done = nasmigrate(tmp_path, "demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["passed"] is True
    assert shown["faults"] == []
    assert min(shown["acknowledged"].values()) > 10
    assert list(tmp_path.iterdir()) == []
