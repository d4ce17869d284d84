"""The demo, as a newcomer runs it: it shows both ways and counts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from support.processes import nasmigrate

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def test_the_demo_passes_and_leaves_nothing(tmp_path: Path) -> None:
    done = nasmigrate(tmp_path, "demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    jsonschema.validate(shown, json.loads((SCHEMAS / "demo.schema.json").read_text()))
    assert shown["passed"] is True
    assert shown["faults"] == []
    assert min(shown["acknowledged"].values()) > 10
    assert list(tmp_path.iterdir()) == []
