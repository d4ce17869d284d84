"""Revisions on a real server: up, down, checked, by nasmigrate and by `alembic` run by hand."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support.plans import HOSTILE_NAMES, column, hostile_plan, large_plan, ordinary_plan

from nasmigrate.core.errors import CannotConnect, SchemaError
from nasmigrate.postgres.catalogue import catalogue_facts, compare_catalogue
from nasmigrate.postgres.migrate import check, current, downgrade, environment_directory, upgrade
from nasmigrate.schema.metadata import metadata_from_plan
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.revisions import render_revisions, write_revisions

CHECKOUT = Path(__file__).parents[2]


def facts(database: str, plan: Plan) -> dict[str, str]:
    with psycopg.connect(database) as connection:
        return catalogue_facts(connection, [table.name for table in plan.tables])


def run(database: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def alembic(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "alembic", *words],
        cwd=folder,
        env={**{k: v for k, v in os.environ.items() if not k.startswith(("NASMIGRATE_", "PG"))}, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like the checkout: `[tool.alembic]`, and the revisions of the ordinary plan in `migrations`."""
    (tmp_path / "pyproject.toml").write_text(
        f"""[tool.alembic]
script_location = "{environment_directory()}"
version_locations = ["%(here)s/migrations"]
path_separator = "newline"
""",
        encoding="utf-8",
    )
    write_revisions(ordinary_plan(), tmp_path / "migrations")
    return tmp_path


@pytest.mark.parametrize("plan", [ordinary_plan(), hostile_plan()], ids=["ordinary", "hostile"])
def test_up_in_two_steps_and_down_again(database: str, tmp_path: Path, plan: Plan) -> None:
    write_revisions(plan, tmp_path)
    tables, constraints = (file.revision_id for file in render_revisions(plan))
    assert current(database) is None
    upgrade(database, tmp_path, tables)
    assert current(database) == tables
    with psycopg.connect(database) as connection:
        differences, checked = compare_catalogue(connection, plan, constraints=False)
    assert differences == []
    assert checked > len(plan.tables)
    bare = facts(database, plan)
    assert not [name for name in bare if name.startswith(("index", "constraint"))]
    upgrade(database, tmp_path, constraints)
    assert current(database) == constraints
    with psycopg.connect(database) as connection:
        differences, checked_all = compare_catalogue(connection, plan)
    assert differences == []
    assert checked_all > checked
    whole = facts(database, plan)
    downgrade(database, tmp_path, tables)
    assert facts(database, plan) == bare
    upgrade(database, tmp_path, "head")
    assert facts(database, plan) == whole
    downgrade(database, tmp_path, "base")
    assert current(database) is None
    assert facts(database, plan) == {}


def test_hostile_names_and_defaults_arrive_byte_for_byte(database: str, tmp_path: Path) -> None:
    plan = hostile_plan()
    write_revisions(plan, tmp_path)
    upgrade(database, tmp_path, "head")
    found = run(
        database, "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('public') AND relkind = 'r'"
    )
    assert {name for (name,) in found} == set(HOSTILE_NAMES)
    with psycopg.connect(database) as connection:
        for name in HOSTILE_NAMES:
            table, field = sql.Identifier(name), sql.Identifier(name)
            connection.execute(sql.SQL("SET CONSTRAINTS ALL DEFERRED"))
            row = connection.execute(
                sql.SQL("INSERT INTO {} (id) VALUES (1) RETURNING {}").format(table, field)
            ).fetchone()
            assert row == (name,)


def test_every_word_that_postgres_reserves_can_be_a_name(database: str, tmp_path: Path) -> None:
    words = [str(word) for (word,) in run(database, "SELECT word FROM pg_get_keywords() ORDER BY word")]
    assert len(words) > 400
    plan = Plan(
        encoding="UTF-8",
        tables=tuple(PlanTable(name=word, columns=(column(word),), primary_key=(word,)) for word in words),
    ).hashed()
    write_revisions(plan, tmp_path)
    upgrade(database, tmp_path, "head")
    with psycopg.connect(database) as connection:
        assert compare_catalogue(connection, plan)[0] == []


def test_the_widest_table_and_many_tables(database: str, tmp_path: Path) -> None:
    plan = large_plan(tables=200, columns=1600)
    write_revisions(plan, tmp_path)
    upgrade(database, tmp_path, "head")
    with psycopg.connect(database) as connection:
        differences, checked = compare_catalogue(connection, plan)
    assert differences == []
    # Per table: itself, its column order, its primary key; then the columns.
    assert checked == 200 * 3 + 1600 + 199 * 2


def test_alembic_check_finds_nothing_after_upgrade_and_finds_what_changed(database: str, tmp_path: Path) -> None:
    plan = ordinary_plan()
    write_revisions(plan, tmp_path)
    metadata = metadata_from_plan(plan)
    with pytest.raises(SchemaError, match="not up to date"):
        check(database, tmp_path, metadata)
    upgrade(database, tmp_path, "head")
    check(database, tmp_path, metadata)
    for change, undo in (
        ("CREATE TABLE stray (a int)", "DROP TABLE stray"),
        (
            "ALTER TABLE users ALTER seen TYPE timestamp(6)",
            "ALTER TABLE users ALTER seen TYPE timestamp(3)",
        ),
        (
            'ALTER TABLE users ALTER name TYPE text COLLATE "POSIX"',
            'ALTER TABLE users ALTER name TYPE text COLLATE "C"',
        ),
        (
            "ALTER TABLE users ALTER token SET DEFAULT md5(random()::text || 'x')",
            "ALTER TABLE users ALTER token SET DEFAULT md5(random()::text)",
        ),
        ("ALTER TABLE users ALTER score DROP DEFAULT", "ALTER TABLE users ALTER score SET DEFAULT -1.5"),
        ("ALTER TABLE users ALTER email DROP NOT NULL", "ALTER TABLE users ALTER email SET NOT NULL"),
        ("DROP INDEX users_sum", "CREATE INDEX users_sum ON users ((score + 1::double precision), id)"),
        (
            'DROP INDEX users_lower; CREATE INDEX users_lower ON users (lower(email COLLATE "C") DESC)',
            'DROP INDEX users_lower; CREATE UNIQUE INDEX users_lower ON users (lower(email COLLATE "C") DESC)',
        ),
        (
            'ALTER TABLE "Orders" DROP CONSTRAINT orders_user',
            'ALTER TABLE "Orders" ADD CONSTRAINT orders_user FOREIGN KEY (user_id) REFERENCES users'
            " ON UPDATE CASCADE ON DELETE RESTRICT",
        ),
    ):
        run(database, change)
        with pytest.raises(SchemaError, match="New upgrade operations"):
            check(database, tmp_path, metadata)
        run(database, undo)
        check(database, tmp_path, metadata)


def test_alembic_check_is_quiet_about_hostile_names(database: str, tmp_path: Path) -> None:
    # Without foreign keys: SQLAlchemy takes their definition apart with a pattern that such names do not fit.
    tables = tuple(table.model_copy(update={"foreign_keys": ()}) for table in hostile_plan().tables)
    plan = hostile_plan().model_copy(update={"tables": tables}).hashed()
    write_revisions(plan, tmp_path)
    upgrade(database, tmp_path, "head")
    check(database, tmp_path, metadata_from_plan(plan))


def test_a_failed_revision_leaves_nothing_and_says_which_rows(database: str, tmp_path: Path) -> None:
    plan = ordinary_plan()
    write_revisions(plan, tmp_path)
    tables, _ = (file.revision_id for file in render_revisions(plan))
    upgrade(database, tmp_path, tables)
    before = facts(database, plan)
    run(database, "INSERT INTO users (email) VALUES ('secret@example.org'), ('secret@example.org')")
    with pytest.raises(SchemaError) as raised:
        upgrade(database, tmp_path, "head")
    error = raised.value
    assert error.details["sqlstate"] == "23505"
    assert error.details["table"] == "users"
    assert error.details["constraint"] == "users_email"
    assert "users_email" in error.message
    assert "secret" not in f"{error.message} {error.hint} {error.details}"
    assert error.hint
    assert current(database) == tables
    assert facts(database, plan) == before


def test_a_table_in_the_way_fails_the_whole_step(database: str, tmp_path: Path) -> None:
    write_revisions(ordinary_plan(), tmp_path)
    run(database, 'CREATE TABLE "Orders" (mine int)')
    with pytest.raises(SchemaError, match="42P07"):
        upgrade(database, tmp_path, "head")
    assert run(database, "SELECT to_regclass('users')::text, to_regnamespace('nasmigrate')::text") == [(None, None)]


def test_the_table_alembic_version_of_the_source_is_not_alembics(database: str, tmp_path: Path) -> None:
    write_revisions(ordinary_plan(), tmp_path)
    upgrade(database, tmp_path, "head")
    assert run(database, "SELECT count(*) FROM public.alembic_version") == [(0,)]
    assert run(database, "SELECT count(*) FROM nasmigrate.alembic_version") == [(1,)]


def test_the_roles_own_search_path_does_not_move_the_tables(database: str, tmp_path: Path) -> None:
    write_revisions(ordinary_plan(), tmp_path)
    run(database, "CREATE SCHEMA elsewhere")
    upgrade(make_conninfo(database, options="-c search_path=elsewhere"), tmp_path, "head")
    assert run(database, "SELECT to_regclass('public.users')::text, to_regclass('elsewhere.users')::text") == [
        ("users", None)
    ]


def test_a_folder_with_a_percent_sign_or_a_blank_in_its_path(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "100% %(here)s my migrations"
    write_revisions(ordinary_plan(), folder)
    upgrade(database, folder, "head")
    assert current(database) == render_revisions(ordinary_plan())[1].revision_id


def test_no_word_is_said_and_no_logging_is_changed(
    database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_revisions(ordinary_plan(), tmp_path)
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level)
    upgrade(database, tmp_path, "head")
    check(database, tmp_path, metadata_from_plan(ordinary_plan()))
    assert (root.level, list(root.handlers), logging.getLogger("alembic").level) == before
    assert capfd.readouterr() == ("", "")


def test_revisions_of_another_folder_are_refused(database: str, tmp_path: Path) -> None:
    write_revisions(ordinary_plan(), tmp_path / "one")
    write_revisions(hostile_plan(), tmp_path / "two")
    upgrade(database, tmp_path / "one", "head")
    with pytest.raises(SchemaError, match="Can't locate revision"):
        upgrade(database, tmp_path / "two", "head")


def test_no_server_is_not_a_schema_error(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect):
        current(f"host={tmp_path} dbname=x")


def test_by_hand_up_check_down(database: str, folder: Path) -> None:
    plan_file = folder / "plan.json"
    plan_file.write_text(ordinary_plan().model_dump_json(), encoding="utf-8")
    dsn = f"dsn={database}"
    for words in (
        ("-x", dsn, "upgrade", "head"),
        ("-x", dsn, "-x", f"plan={plan_file}", "check"),
        ("-x", dsn, "current"),
        ("-x", dsn, "downgrade", "base"),
    ):
        done = alembic(folder, *words)
        assert done.returncode == 0, done.stderr
        if words[-1] == "check":
            assert "No new upgrade operations detected" in done.stdout
        if words[-1] == "current":
            assert render_revisions(ordinary_plan())[1].revision_id in done.stdout
    assert facts(database, ordinary_plan()) == {}


def test_by_hand_with_variables_and_the_latest_plan(database: str, folder: Path) -> None:
    parameters = conninfo_to_dict(database)
    url = "postgresql://{user}@/{dbname}?host={host}&port={port}".format(**parameters)
    assert alembic(folder, "upgrade", "head", NASMIGRATE_TARGET_DSN=url).returncode == 0
    done = alembic(folder, "check", NASMIGRATE_TARGET_DSN=url)
    assert done.returncode != 0
    assert "MetaData" in done.stderr + done.stdout
    latest = folder / ".nasmigrate/runs/latest"
    latest.mkdir(parents=True)
    (latest / "plan.json").write_text(ordinary_plan().model_dump_json(), encoding="utf-8")
    done = alembic(folder, "check", NASMIGRATE_TARGET_DSN=url)
    assert done.returncode == 0, done.stderr
    run(database, "CREATE TABLE stray (a int)")
    done = alembic(folder, "check", NASMIGRATE_TARGET_DSN=url, NASMIGRATE_PLAN=str(latest / "plan.json"))
    assert done.returncode != 0
    assert "stray" in done.stderr + done.stdout


def test_by_hand_without_a_target_says_how_to_name_one(folder: Path) -> None:
    done = alembic(folder, "current")
    assert done.returncode != 0
    assert "NASMIGRATE_TARGET_DSN" in done.stderr + done.stdout


def test_by_hand_a_broken_plan_is_named(database: str, folder: Path) -> None:
    (folder / "plan.json").write_text("{}", encoding="utf-8")
    done = alembic(folder, "-x", f"dsn={database}", "-x", "plan=plan.json", "check")
    assert done.returncode != 0
    assert "plan.json: not a plan" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_the_sql_of_offline_mode_makes_the_same_schema(database: str, folder: Path) -> None:
    plan = ordinary_plan()
    upgrade(database, folder / "migrations", "head")
    online = facts(database, plan)
    downgrade(database, folder / "migrations", "base")
    run(database, "DROP SCHEMA nasmigrate CASCADE")
    done = alembic(folder, "upgrade", "head", "--sql")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(done.stdout.encode())
    assert facts(database, plan) == online
    assert current(database) == render_revisions(plan)[1].revision_id


def test_a_new_revision_by_hand_compiles(folder: Path) -> None:
    done = alembic(folder, "revision", "-m", "by hand", "--rev-id", "abc")
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "migrations").glob("abc_*.py")
    text = made.read_text(encoding="utf-8")
    compile(text, made.name, "exec")
    assert f"down_revision: str | None = {render_revisions(ordinary_plan())[1].revision_id!r}" in text


def test_the_environment_of_an_editable_install_is_the_checkouts() -> None:
    assert environment_directory() == CHECKOUT / "alembic"
