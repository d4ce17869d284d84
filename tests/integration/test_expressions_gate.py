"""A translation that gives other values than SQLite is named, with the line that leaves its object out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.result import Result
from nasmigrate.postgres.control import latest_run
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.verify.expressions import ExpressionsOutcome, compare_expressions

SOURCE = """
PRAGMA ignore_check_constraints = ON;
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE UNIQUE, qty INTEGER DEFAULT 5 CHECK (qty > 0),
    state TEXT DEFAULT 'new', at TEXT DEFAULT CURRENT_TIMESTAMP, token TEXT DEFAULT (lower(hex(randomblob(8)))),
    price REAL DEFAULT 1.5, flag BOOLEAN DEFAULT 1, raw BLOB DEFAULT x'00ff'
);
CREATE INDEX item_open ON item (state) WHERE state <> "done" AND qty > 1;
CREATE INDEX item_sum ON item (qty * 2, upper(name), state || '-' || qty);
INSERT INTO item (name, qty, state) VALUES
    ('Anna', 1, 'new'), ('É', 2, 'done'), ('é', 3, NULL), (NULL, NULL, 'open'), ('x', -1, 'new'), ('y', 7, 'new');
CREATE TABLE log (line TEXT COLLATE RTRIM, n INTEGER);
CREATE INDEX log_line ON log (line) WHERE n IS NOT NULL;
INSERT INTO log VALUES ('a ', 1), ('a ', 1), ('a', NULL), ('', 2);
"""


@dataclass(frozen=True, kw_only=True)
class Copied:
    source: Path
    pipeline: Pipeline
    result: Result
    plan: Plan

    def compare(self, plan: Plan) -> ExpressionsOutcome:
        with psycopg.connect(self.pipeline.conninfo) as connection, closing(open_snapshot(self.source)) as reader:
            run = latest_run(connection)
            assert run is not None
            chunks = read_chunks(connection, run.run_id)
            return compare_expressions(self.source, connection, plan, inspect(reader), chunks, self.source.parent)


@pytest.fixture
def copied(database: str, tmp_path: Path) -> Iterator[Copied]:
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(SOURCE)
    pipeline = Pipeline(conninfo=database, base=tmp_path)
    result, plan = pipeline.copy(source, accept=["CHECK_VIOLATED:item_check1"], chunk_rows=2)
    yield Copied(source=source, pipeline=pipeline, result=result, plan=plan)


def changed(plan: Plan, change: Mapping[str, str]) -> Plan:
    """The plan with pieces of its SQL for Postgres replaced."""
    text = plan.model_dump_json()
    for old, new in change.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return Plan.model_validate_json(text)


def test_what_is_translated_gives_the_same(copied: Copied) -> None:
    assert copied.result.exit_code == 0
    assert failed_gates(copied.result, ("expressions", "objects")) == []
    (gate,) = (gate for gate in copied.result.gates if gate.name == "expressions")
    # Seven defaults; WHERE twice; the terms lower(name) of UNIQUE, three of item_sum, rtrim(line); one CHECK.
    assert gate.checked == 7 + 2 + 5 + 1


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({r"\"qty\" > 1": r"\"qty\" > 3"}, "INDEX_NOT_TRANSLATED:item_open"),
        ({r"\"qty\" > 1": r"\"qty\" IS NOT NULL"}, "INDEX_NOT_TRANSLATED:item_open"),
        ({r"\"qty\" * 2": r"\"qty\" * 3"}, "INDEX_NOT_TRANSLATED:item_sum"),
        ({r"upper(\"name\" COLLATE \"C\")": r"upper(\"name\" COLLATE \"pg_c_utf8\")"}, "INDEX_NOT_TRANSLATED:item_sum"),
        (
            {r"lower(\"name\" COLLATE \"C\")": r"lower(\"name\" COLLATE \"pg_c_utf8\")"},
            "INDEX_NOT_TRANSLATED:item_name_key",
        ),
        ({r'"expression":"rtrim(\"line\", ': r'"expression":"ltrim(\"line\", '}, "INDEX_NOT_TRANSLATED:log_line"),
        ({r"\"n\" IS NULL": r"\"n\" IS NOT NULL"}, "INDEX_NOT_TRANSLATED:log_line"),
        ({r"\"qty\" > 0": r"\"qty\" > 1"}, "CHECK_NOT_TRANSLATED:item_check1"),
        ({'"default_sql":"5"': '"default_sql":"6"'}, "DEFAULT_NOT_TRANSLATED:item.qty"),
        ({"'new'": "'New'"}, "DEFAULT_NOT_TRANSLATED:item.state"),
        ({"HH24:MI:SS": "HH24:MI"}, "DEFAULT_NOT_TRANSLATED:item.at"),
        ({"'hex'), 16": "'hex'), 15"}, "DEFAULT_NOT_TRANSLATED:item.token"),
        ({'"default_sql":"1.5"': '"default_sql":"1.25"'}, "DEFAULT_NOT_TRANSLATED:item.price"),
        ({'"default_sql":"TRUE"': '"default_sql":"FALSE"'}, "DEFAULT_NOT_TRANSLATED:item.flag"),
        ({r"x00ff'::bytea": r"x00fe'::bytea"}, "DEFAULT_NOT_TRANSLATED:item.raw"),
    ],
)  # fmt: skip
def test_a_translation_that_gives_other_values_is_named(copied: Copied, change: Mapping[str, str], answer: str) -> None:
    outcome = copied.compare(changed(copied.plan, change))
    assert outcome.gate.status == "fail"
    assert f'accept = ["{answer}"]' in outcome.gate.detail
    assert len(outcome.differences) == 1


@pytest.mark.parametrize(
    "answer",
    ["INDEX_NOT_TRANSLATED:item_open", "CHECK_NOT_TRANSLATED:item_check1", "DEFAULT_NOT_TRANSLATED:item.token"],
)
def test_the_answer_leaves_the_object_out(copied: Copied, answer: str) -> None:
    accept = [answer] if "CHECK" in answer else [answer, "CHECK_VIOLATED:item_check1"]
    result, plan = copied.pipeline.copy(copied.source, accept=accept)
    assert result.exit_code == 0
    (finding,) = (finding for finding in plan.findings if finding.identity == answer)
    assert "left out, as the configuration asks" in finding.message
    item = plan.table("item")
    assert len(item.indexes) + len(item.checks) + sum(column.default_sql is not None for column in item.columns) == 10
