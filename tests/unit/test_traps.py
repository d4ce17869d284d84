"""The catalogue of traps is complete: every row has an owner, and what is done is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import cases

ROOT = Path(__file__).resolve().parents[2]
OWNERS = {"values", "objects", "cutover", "stack"}
DONE = {"values", "objects", "cutover", "stack"}
"""Owners whose rows must be shown, unless `pending` names them."""

ROWS = {trap: row for trap, row in cases.index().items() if trap != "pending"}
PENDING = set(cases.index()["pending"])
SHOWN = cases.shown_by()


def test_the_rows_are_numbered_without_a_gap() -> None:
    assert list(ROWS) == [f"T{number:02d}" for number in range(1, len(ROWS) + 1)]
    assert len(ROWS) >= 206


@pytest.mark.parametrize("trap", ROWS)
def test_a_row_is_complete(trap: str) -> None:
    row = ROWS[trap]
    assert row["owner"] in OWNERS
    assert row["trap"]
    assert row["outcome"]
    shown = bool(SHOWN.get(trap) or row.get("test"))
    if row["owner"] in DONE:
        assert shown != (trap in PENDING), "shown rows are not pending, and the others are"
    if "test" in row:
        file, _, name = row["test"].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_pending_rows_exist() -> None:
    assert ROWS.keys() >= PENDING


@pytest.mark.parametrize("name", cases.names())
def test_a_case_belongs_to_rows(name: str) -> None:
    case = cases.load(name)
    assert case.traps
    assert set(case.traps) <= ROWS.keys()
    assert name.startswith(case.traps[0])
    sources = [file for file in ("source.sql", "source.py") if (cases.CASES / name / file).exists()]
    assert len(sources) == 1
