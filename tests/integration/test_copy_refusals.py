"""`copy` refuses a target it cannot use, and a resume that does not fit, and touches neither."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.dumps import dumped, state
from support.processes import nasmigrate

SECRET = "s3cret-word"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small source."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a');")
    return tmp_path


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("CREATE TABLE guests (id int); INSERT INTO guests VALUES (1), (2)", "guests"),
        ("CREATE TABLE t (id bigint PRIMARY KEY, v text)", "t"),
        ("CREATE VIEW only_a_view AS SELECT 1 AS one", "only_a_view"),
        ("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one", "kept"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function"),
        ("CREATE SCHEMA theirs CREATE TABLE t (id int)", "theirs.t"),
        ("CREATE SEQUENCE numbers", "numbers"),
        ("CREATE TYPE mood AS ENUM ('glad')", "mood"),
        ("CREATE DOMAIN word AS text", "word"),
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


def test_the_dump_sees_a_changed_value(database: str) -> None:
    """The comparison of the tests above is not blind."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE guests (id int)")
        connection.execute("INSERT INTO guests VALUES (1)")
        before = dumped(database)
        connection.execute("UPDATE guests SET id = 2")
    assert dumped(database) != before


def test_a_finished_copy_is_not_copied_into_again(folder: Path, database: str) -> None:
    assert nasmigrate(folder, "copy", "app.db", database).returncode == 0
    before = state(database)
    refused = nasmigrate(folder, "copy", "app.db", database)
    assert refused.returncode == 6
    assert "a finished copy" in refused.stderr
    assert state(database) == before


def test_an_unfinished_copy_is_not_begun_again_without_being_asked(begun: Path, database: str) -> None:
    before = state(database)
    refused = nasmigrate(begun, "copy", "app.db", database)
    assert refused.returncode == 6
    assert "--resume" in refused.stderr
    assert state(database) == before


# -- resume --------------------------------------------------------------------------------------------------------


def test_nothing_to_resume(folder: Path, database: str) -> None:
    before = state(database)
    refused = nasmigrate(folder, "copy", "app.db", database, "--resume")
    assert refused.returncode == 11
    assert "nothing to resume" in refused.stderr
    assert state(database) == before


def test_resuming_a_finished_copy_proves_it_again(folder: Path, database: str) -> None:
    """Who was interrupted after the last check can go on without looking how far it came."""
    assert nasmigrate(folder, "copy", "app.db", database).returncode == 0
    before = dumped(database)
    again = nasmigrate(folder, "copy", "app.db", database, "--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    assert dumped(database) == before


@pytest.fixture
def begun(folder: Path, database: str) -> Path:
    """A folder whose copy into the database stands, as far as resume looks at it, at its beginning."""
    assert nasmigrate(folder, "copy", "app.db", database).returncode == 0
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE nasmigrate.run SET state = 'copying'")
    return folder


@pytest.mark.parametrize("same_file", [True, False], ids=["the same file by another name", "another file"])
def test_resume_with_another_source_is_refused(begun: Path, database: str, *, same_file: bool) -> None:
    if same_file:
        os.link(begun / "app.db", begun / "other.db")
    else:
        shutil.copy(begun / "app.db", begun / "other.db")
        with closing(sqlite3.connect(begun / "other.db")) as connection, connection:
            connection.execute("INSERT INTO t VALUES (2, 'b')")
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


def test_a_copy_that_fits_is_resumed(begun: Path, database: str) -> None:
    """The refusals above are of what differs, not of the way `begun` is made."""
    done = nasmigrate(begun, "copy", "app.db", database, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr


# -- targets that are not there ------------------------------------------------------------------------------------


def told(folder: Path) -> str:
    """All that was written below the folder, but the file that holds the secret."""
    return "\n".join(
        path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file() and path.name != "secrets.env"
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"host": "127.0.0.1", "port": "1", "dbname": "x"},
        {"host": "no-such-host.invalid", "dbname": "x"},
        {"host": "/no-such-folder", "dbname": "x"},
        {"dbname": "no_such_database"},
        {"user": "no_such_user"},
    ],
    ids=lambda parameters: " ".join(parameters.values()),
)
def test_a_target_that_cannot_be_reached(folder: Path, database: str, parameters: dict[str, str]) -> None:
    where = database if "host" not in parameters else ""
    dsn = make_conninfo(where, **({"user": "u"} | parameters if not where else parameters), password=SECRET)
    secrets = folder / "secrets.env"
    secrets.write_text(f"TARGET={dsn}\n", encoding="utf-8")
    secrets.chmod(0o600)
    failed = nasmigrate(folder, "--env-file", str(secrets), "copy", "app.db", "env:TARGET")
    assert failed.returncode == 8, failed.stderr
    assert "cannot connect" in failed.stderr
    assert "hint: check host, port, database and user" in failed.stderr
    assert SECRET not in failed.stdout + failed.stderr + told(folder)


@pytest.mark.parametrize("target", ["not a target", "host=127.0.0.1 nonsense=1", "mysql://u@h/x", "env:NOT_SET"])
def test_what_names_no_target_is_a_setting_gone_wrong(folder: Path, target: str) -> None:
    failed = nasmigrate(folder, "copy", "app.db", target)
    assert failed.returncode == 5, failed.stderr
    assert "hint: " in failed.stderr


def test_a_password_on_the_command_line_is_refused_and_not_repeated(folder: Path) -> None:
    failed = nasmigrate(folder, "copy", "app.db", f"postgresql://u:{SECRET}@127.0.0.1:1/x")
    assert failed.returncode == 5, failed.stderr
    assert "--password-file" in failed.stderr
    assert SECRET not in failed.stdout + failed.stderr + told(folder)
