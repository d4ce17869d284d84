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
    names: dict[str, str] = Field(default_factory=dict)
    findings: list[ExpectedFinding] = Field(default_factory=list)
    values: dict[str, ExpectedTable] = Field(default_factory=dict)
    objects: dict[str, list[str]] = Field(default_factory=dict)
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


def shown_by() -> dict[str, list[str]]:
    """T-row -> the case folders that show it."""
    found: dict[str, list[str]] = {}
    for name in names():
        for trap in load(name).traps:
            found.setdefault(trap, []).append(name)
    return found


def catalogue_page() -> str:
    """docs/traps.md: every trap, what other tools make of it, what we owe, and where that is shown."""
    cases = shown_by()
    rows = {trap: row for trap, row in index().items() if trap != "pending"}
    done = sum(1 for trap, row in rows.items() if cases.get(trap) or row.get("test"))
    lines = [
        "# Traps between SQLite and Postgres\n",
        "What goes wrong when an application's SQLite file becomes a Postgres database, and what nasmigrate owes in",
        f"each case. {done} of {len(rows)} rows are shown by a case or a test: a case is a folder of",
        "[tests/cases](../tests/cases) with the source and all that must come out.\n",
        "Other tools where measured: PL = pgloader 3.6.9, DK = DuckDB 1.5.5, CR = credativ-pg-migrator 0.16.0; a",
        "dagger marks what was read in the source and not run (PL4 = pgloader v4, FE = pgferry, SQ = sequel -C,",
        "BI = pgsqlite). Findings have a severity: N note, W type widened, D decision, R refused with that exit code.",
    ]
    section = ""
    for trap, row in rows.items():
        if row["section"] != section:
            section = row["section"]
            lines += [f"\n## {section}\n", "| | trap | other tools | nasmigrate | shown by |", "|--|--|--|--|--|"]
        shown = [f"[{name}](../tests/cases/{name})" for name in cases.get(trap, [])]
        if row.get("test"):
            shown.append(f"`{row['test']}`")
        cells = [trap, row["trap"], row.get("tools", ""), row["outcome"], "<br>".join(shown) or "*not yet*"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines.append("\n## The cases\n")
    for name in names():
        case = load(name)
        lines += [f"### {case.title}\n", f"`{name}`, exit {case.exit}. {case.why}\n"]
        for finding in case.findings:
            lines.append(f"- {finding.severity}: `{finding.code}` at `{finding.where}`")
        if case.findings:
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"
