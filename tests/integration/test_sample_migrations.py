"""migrations/ holds the sample's revisions, and the project's own Alembic environment runs them by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from support.generate_sample import MIGRATIONS, ROOT, sample_files


def test_regenerating_changes_nothing() -> None:
    files = sample_files()
    committed = {path: path.read_text() for path in MIGRATIONS.glob("0*.py")}
    assert committed == {path: text for path, text in files.items() if path.parent == MIGRATIONS}
    for path, text in files.items():
        assert path.read_text() == text, "run `make docs` and commit the result"


@pytest.fixture
def alembic(database: str):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=ROOT,
            env={**os.environ, "NASMIGRATE_TARGET_DSN": database},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_upgrade_check_and_downgrade_by_hand(alembic, database: str) -> None:
    up = alembic("upgrade", "head")
    assert up.returncode == 0, up.stderr
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        keys = connection.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"
        ).fetchone()
    assert tables == (10,)
    assert keys is not None
    assert keys[0] > 5
    check = alembic("check")
    assert check.returncode == 0, check.stdout + check.stderr
    down = alembic("downgrade", "base")
    assert down.returncode == 0, down.stderr
    with psycopg.connect(database) as connection:
        left = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert left == (0,)


def test_check_finds_a_lost_index(alembic, database: str) -> None:
    assert alembic("upgrade", "head").returncode == 0
    with psycopg.connect(database) as connection:
        name = connection.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE '%UNIQUE%' LIMIT 1"
        ).fetchone()
        assert name is not None
        connection.execute(psycopg.sql.SQL("DROP INDEX {}").format(psycopg.sql.Identifier(name[0])))
    check = alembic("check")
    assert check.returncode != 0
    assert name[0] in check.stdout + check.stderr
