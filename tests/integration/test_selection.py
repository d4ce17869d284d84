"""Tables that are left out: nothing of them is copied, and everything that says so does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.copies import context, gates, target

from nasmigrate.core.config_model import Config, PlanSection
from nasmigrate.core.context import Context
from nasmigrate.core.errors import SchemaError
from nasmigrate.core.result import Result
from nasmigrate.report.text import render
from nasmigrate.workflows.copy import copy
from nasmigrate.workflows.plan import plan
from nasmigrate.workflows.verify import verify

SCHEMA = """
CREATE TABLE "Users" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER REFERENCES "Users", total REAL);
CREATE TABLE audit (at TEXT, what BLOB NOT NULL);
CREATE TRIGGER audited AFTER INSERT ON audit BEGIN SELECT 1; END;
INSERT INTO "Users" VALUES (1, 'a'), (2, 'b');
INSERT INTO orders VALUES (1, 2, 9.5);
INSERT INTO audit VALUES ('x', 'text in a blob');
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path


def settings(base: Path, **plan_settings: tuple[str, ...]) -> Context:
    plain = context(base)
    return Context(config=Config(plan=PlanSection(**plan_settings)), base=base, reporter=plain.reporter)


def tables(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [name for (name,) in found.fetchall()]


def codes(result: Result) -> set[str]:
    return {finding.identity for finding in result.findings if finding.severity != "note"}


def test_an_excluded_table_is_not_copied_and_its_triggers_and_findings_go_with_it(
    source: Path, database: str, tmp_path: Path
) -> None:
    chosen = settings(tmp_path / "run", exclude_tables=("audit",))
    result = copy(chosen, source, target(database), round_trip=True)
    assert set(gates(result).values()) <= {"pass", "skipped"}
    assert (result.exit_code, result.excluded_tables, tables(database)) == (0, ("audit",), ["Users", "orders"])
    assert codes(result) == set()
    assert "Left out: audit." in render(result)
    # The ledger knows that it was left out: its rows are no drift.
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("INSERT INTO audit VALUES ('y', x'00')")
    assert verify(context(tmp_path / "run"), source, target(database)).exit_code == 0


def test_a_key_to_an_excluded_table_is_a_decision(source: Path, database: str, tmp_path: Path) -> None:
    """Named without regard to ASCII case, as SQLite does."""
    chosen = settings(tmp_path / "run", only_tables=("ORDERS",), accept=("TEXT_IN_BLOB:audit.what",))
    result = copy(chosen, source, target(database), round_trip=True)
    assert (result.exit_code, codes(result)) == (3, {"FK_PARENT_EXCLUDED:orders_user_id_fkey"})
    assert tables(database) == ["orders"]
    assert result.excluded_tables == ("Users", "audit")


def test_what_is_left_out_is_part_of_the_plans_hash(source: Path, tmp_path: Path) -> None:
    hashes = {
        plan(settings(tmp_path / "run", **chosen), source).plan_hash
        for chosen in ({}, {"exclude_tables": ("audit",)}, {"exclude_tables": ("audit", "orders")})
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"exclude_tables": ("nosuch",)}, "exclude_tables names 'nosuch'"),
        ({"only_tables": ("nosuch",)}, "only_tables names 'nosuch'"),
        ({"only_tables": ("audit",), "exclude_tables": ("audit",)}, "every table of the source is excluded"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(
    source: Path, tmp_path: Path, chosen: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(SchemaError, match=words) as refused:
        plan(settings(tmp_path / "run", **chosen), source)
    assert int(refused.value.exit_code) == 6
