"""`copy` refuses a target it cannot use, and a resume that does not fit, and touches neither."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.processes import nasmigrate

_STATE = """
SELECT array_agg(line ORDER BY line) FROM (
    SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || c.xmin::text AS line
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'
    UNION ALL SELECT 'function ' || p.oid::regprocedure::text || ' ' || p.xmin::text FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace
    UNION ALL SELECT 'type ' || t.typname || ' ' || t.xmin::text FROM pg_type t
    JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
) lines
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small source."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a');")
    return tmp_path


def state(database: str) -> object:
    """Every object of the database with the transaction that wrote it last."""
    with psycopg.connect(database) as connection:
        return connection.execute(_STATE).fetchone()


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("CREATE TABLE guests (id int)", "guests"),
        ("CREATE VIEW only_a_view AS SELECT 1 AS one", "only_a_view"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function"),
        ("CREATE SCHEMA theirs CREATE TABLE t (id int)", "theirs.t"),
        ("CREATE SEQUENCE numbers", "numbers"),
        ("CREATE TYPE mood AS ENUM ('glad')", "mood"),
    ],
)
def test_a_target_that_holds_something_is_refused_untouched(
    folder: Path, database: str, statements: str, named: str
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(statements.encode())
    before = state(database)
    refused = nasmigrate(folder, "copy", "app.db", database)
    assert refused.returncode == 6, refused.stderr
    assert "TARGET_NOT_EMPTY" in refused.stderr
    assert named in refused.stderr
    assert state(database) == before


def test_a_finished_copy_is_not_copied_into_again(folder: Path, database: str) -> None:
    assert nasmigrate(folder, "copy", "app.db", database).returncode == 0
    before = state(database)
    refused = nasmigrate(folder, "copy", "app.db", database)
    assert refused.returncode == 6
    assert "a finished copy" in refused.stderr
    assert state(database) == before


def test_nothing_to_resume(folder: Path, database: str) -> None:
    before = state(database)
    refused = nasmigrate(folder, "copy", "app.db", database, "--resume")
    assert refused.returncode == 11
    assert "nothing to resume" in refused.stderr
    assert state(database) == before


@pytest.fixture
def begun(folder: Path, database: str) -> Path:
    """A folder whose copy into the database stands, as far as resume looks at it, at its beginning."""
    assert nasmigrate(folder, "copy", "app.db", database).returncode == 0
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE nasmigrate.run SET state = 'copying'")
    return folder


def test_resume_with_another_source_is_refused(begun: Path, database: str) -> None:
    os.link(begun / "app.db", begun / "other.db")
    before = state(database)
    refused = nasmigrate(begun, "copy", "other.db", database, "--resume")
    assert refused.returncode == 11
    assert "app.db" in refused.stderr
    assert state(database) == before


def test_resume_with_other_settings_of_a_column_is_refused(begun: Path, database: str) -> None:
    (begun / "nasmigrate.toml").write_text('[columns."t.v"]\ntype = "bytea"\n', encoding="utf-8")
    before = state(database)
    refused = nasmigrate(begun, "copy", "app.db", database, "--resume")
    assert refused.returncode == 11
    assert "t.v" in refused.stderr
    assert state(database) == before


def test_resume_in_another_folder_is_refused(
    begun: Path, database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = state(database)
    refused = nasmigrate(tmp_path_factory.mktemp("elsewhere"), "copy", str(begun / "app.db"), database, "--resume")
    assert refused.returncode == 11
    assert "folder" in refused.stderr
    assert state(database) == before


def test_a_target_nobody_answers_at(folder: Path) -> None:
    dsn = make_conninfo("", host="127.0.0.1", port="1", dbname="x", user="u", password="s3cret-word")
    environment = folder / "env"
    environment.write_text(f"TARGET={dsn}\n", encoding="utf-8")
    environment.chmod(0o600)
    failed = nasmigrate(folder, "--env-file", str(environment), "copy", "app.db", "env:TARGET")
    assert failed.returncode == 8, failed.stderr
    assert "cannot connect" in failed.stderr
    assert "s3cret-word" not in failed.stdout + failed.stderr
    assert not any("s3cret-word" in path.read_text(errors="replace") for path in folder.rglob("*.*") if path.is_file())
