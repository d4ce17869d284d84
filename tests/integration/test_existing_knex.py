"""A Knex application from better-sqlite3 to Postgres: its own migrations on both sides, rows by `copy --into-existing`.

Knex itself says whether it arrived: it reads everything on both sides and goes on writing.
"""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from support.copies import target
from support.node_app import NodeApp, install
from support.processes import nasmigrate

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import TargetMismatch
from nasmigrate.core.progress import Silent
from nasmigrate.workflows.into_existing import copy_into_existing

FOLDER = Path(__file__).resolve().parents[1] / "apps" / "knex_shop"


@pytest.fixture(scope="module")
def shop() -> NodeApp:
    """The application with its libraries."""
    return install(FOLDER)


@pytest.fixture(scope="module")
def source(shop: NodeApp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its SQLite file, filled."""
    path = tmp_path_factory.mktemp("knex") / "shop.sqlite3"
    for script in ("migrate.js", "fill.js"):
        run(shop, script, str(path))
    return path


def run(shop: NodeApp, script: str, database: str) -> list[str]:
    """Run a script on one database; the lines it wrote."""
    return shop.run(script, environment={"SHOP_DATABASE": database, "TZ": "UTC"}).splitlines()


def words(dsn: str) -> str:
    """A conninfo as node-pg takes it."""
    names = {"dbname": "database", "user": "user", "password": "password", "host": "host", "port": "port"}
    return json.dumps({names[word]: value for word, value in conninfo_to_dict(dsn).items() if word in names})


def context(base: Path) -> Context:
    return Context(config=load_config(base, environ={}).config, base=base, reporter=Silent())


def test_a_knex_application_moves_and_goes_on(shop: NodeApp, source: Path, database: str, tmp_path: Path) -> None:
    run(shop, "migrate.js", words(database))
    with pytest.raises(TargetMismatch) as unfit:
        copy_into_existing(context(tmp_path), source, target(database))
    assert [check.partition(": the target")[0] for check in unfit.value.checks] == [
        "TARGET_TYPE_MISMATCH: users.last_seen",
        "TARGET_TYPE_MISMATCH: users.created_at",
    ]
    # What the first attempt says is what is pasted.
    (tmp_path / "nasmigrate.toml").write_text((unfit.value.hint or "").partition("\n")[2])
    assert (tmp_path / "nasmigrate.toml").read_text().count("rule = ") == 2
    done = nasmigrate(tmp_path, "copy", str(source), database, "--into-existing", "--round-trip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Left out: knex_migrations, knex_migrations_lock." in done.stdout
    read = run(shop, "dump.js", words(database))
    assert read == run(shop, "dump.js", str(source))
    assert len(read) == 60 + 200 + 2 + 60
    run(shop, "use.js", words(database))


def test_a_schema_that_does_not_fit_is_refused_by_the_exact_column(
    shop: NodeApp, source: Path, database: str, tmp_path: Path
) -> None:
    run(shop, "migrate.js", words(database))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE listings ALTER rating TYPE real, ALTER title TYPE varchar(9)")
        connection.execute("ALTER TABLE users ADD born date NOT NULL")
    (tmp_path / "nasmigrate.toml").write_text(
        '[columns."users.last_seen"]\nrule = "epoch-ms"\n[columns."users.created_at"]\nrule = "naive-as-utc"\n'
    )
    with pytest.raises(TargetMismatch) as unfit:
        copy_into_existing(context(tmp_path), source, target(database))
    assert [": ".join(check.split(": ")[:2]) for check in unfit.value.checks] == [
        "TARGET_TYPE_MISMATCH: listings.rating",
        "TARGET_COLUMN_EXTRA: users",
        "OVERLENGTH: listings.title at id=7",
    ]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM listings").fetchone() == (0,)
