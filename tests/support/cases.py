"""The cases of tests/cases: one folder per trap, with what goes in and what must come out.

A folder holds `source.sql` (or `source.py` with `build(path)`, where SQL cannot write the values), an optional
`nasmigrate.toml`, and `expect.json`; tests/cases/README.md describes its keys.
"""

from __future__ import annotations

import importlib.util
import sqlite3
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

CASES = Path(__file__).resolve().parents[1] / "cases"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectedColumn(_Strict):
    """The codec of a column and the Postgres type it stands for."""

    codec: str
    pg_type: str


class ExpectedFinding(_Strict):
    """A finding; `where` is its subject, `keys` the rows it names (None = not looked at)."""

    code: str
    severity: str
    where: str
    count: int | None = None
    keys: list[str] | None = None


class ExpectedError(_Strict):
    """The error that ends the command."""

    code: str
    contains: str


class ExpectedTable(_Strict):
    """Rows in Postgres, each value as `column::text`, in key order (without a key, sorted)."""

    select: list[str] | None = None
    rows: list[list[str | None]]


class Case(_Strict):
    """What `copy` must come to."""

    traps: list[str]
    title: str
    why: str
    exit: int = 0
    error: ExpectedError | None = None
    columns: dict[str, ExpectedColumn] = Field(default_factory=dict)
    findings: list[ExpectedFinding] = Field(default_factory=list)
    values: dict[str, ExpectedTable] = Field(default_factory=dict)
    originals: dict[str, int] = Field(default_factory=dict)
    round_trip: str = "equal"


def names() -> list[str]:
    """The folders, in order."""
    return sorted(path.parent.name for path in CASES.glob("*/expect.json"))


def load(name: str) -> Case:
    """Read `expect.json`; an unknown key is an error."""
    return Case.model_validate_json((CASES / name / "expect.json").read_text(encoding="utf-8"))


def build(name: str, path: Path) -> None:
    """Write the case's SQLite file."""
    folder = CASES / name
    script, program = folder / "source.sql", folder / "source.py"
    if program.exists():
        spec = importlib.util.spec_from_file_location(f"case_{name}", program)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build(path)
        return
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script.read_text(encoding="utf-8"))


def index() -> Mapping[str, Mapping[str, Any]]:
    """tests/cases/index.toml: T-row -> owner, title, outcome, and the case or test that shows it."""
    return tomllib.loads((CASES / "index.toml").read_text(encoding="utf-8"))
