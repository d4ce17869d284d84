"""Rows without a parent, set aside: seen where they are lost, never numbered again, home after a rollback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support import cases
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.config import load_config
from nasmigrate.core.config_model import ColumnSection
from nasmigrate.core.context import Context
from nasmigrate.core.errors import RuleRefused
from nasmigrate.core.progress import Silent
from nasmigrate.workflows.rehearse import rehearse

CASE = "T93-rule-quarantine"
RULE = ColumnSection(rule=("orphans=quarantine",))
RULES = {"children.parent_id": RULE, "toys.child_id": RULE, "marks.child_id": RULE}


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Pipeline:
    return Pipeline(conninfo=database, base=tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.db"
    cases.build(CASE, path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM nasmigrate.quarantine WHERE table_name = 'toys' AND ordinal = 1",
        "UPDATE nasmigrate.quarantine SET value = '\\x00fe' WHERE column_name = 'picture' AND storage_class = 'blob'",
        "UPDATE nasmigrate.quarantine SET storage_class = 'blob' WHERE column_name = 'mark' AND ordinal = 1",
    ],
)
def test_a_row_that_is_lost_or_changed_is_seen(source: Path, pipeline: Pipeline, change: str) -> None:
    result, _ = pipeline.copy(source, columns=RULES)
    assert failed_gates(result, [gate.name for gate in result.gates]) == []
    with psycopg.connect(pipeline.conninfo, autocommit=True) as connection:
        assert connection.execute(change.encode()).rowcount >= 1
    verified = pipeline.verify(source)
    assert [gate.name for gate in verified.gates if gate.status == "fail"] == ["quarantine"]
    assert verified.exit_code == 3


def test_the_number_of_a_row_set_aside_is_not_given_out_again(source: Path, pipeline: Pipeline) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("DELETE FROM sqlite_sequence")
        connection.commit()
    pipeline.copy(source, columns=RULES)
    with psycopg.connect(pipeline.conninfo) as connection:
        # Child 4 is set aside, child 3 is the highest that is there.
        assert connection.execute("INSERT INTO children DEFAULT VALUES RETURNING id").fetchone() == (5,)


def test_a_child_of_a_row_set_aside_needs_a_rule_of_its_own(source: Path, pipeline: Pipeline) -> None:
    rules = {name: rule for name, rule in RULES.items() if name != "toys.child_id"}
    result, plan = pipeline.copy(source, columns=rules)
    (finding,) = (finding for finding in plan.findings if finding.code == "FK_ORPHANS")
    assert (finding.table, finding.count, finding.keys) == ("toys", 2, ("id=2", "id=4"))
    assert result.exit_code == 3


def test_keys_in_a_circle_are_refused(tmp_path: Path, pipeline: Pipeline) -> None:
    path = tmp_path / "tree.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tree (id INTEGER PRIMARY KEY, up INT REFERENCES tree)")
        connection.execute("INSERT INTO tree VALUES (1, NULL), (2, 7)")
        connection.commit()
    with pytest.raises(RuleRefused, match="in a circle") as caught:
        pipeline.copy(path, columns={"tree.up": RULE})
    assert "orphans=not-valid" in (caught.value.hint or "")


def test_they_are_where_they_were_after_a_cutover_and_a_rollback(source: Path) -> None:
    shutil.copy(cases.CASES / CASE / "nasmigrate.toml", source.parent)
    config = load_config(source.parent, environ={}).config
    result = rehearse(Context(config=config, base=source.parent, reporter=Silent()), source)
    assert failed_gates(result, [gate.name for gate in result.gates]) == []
    assert {"quarantine", "cutover", "rollback", "home-again"} <= {gate.name for gate in result.gates}
