"""A whole Django application from SQLite to Postgres: its own migrations on both sides, rows by `copy --into-existing`.

Django itself says whether it arrived: it reads everything on both sides, logs a user in and goes on writing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from support.copies import target
from support.processes import nasmigrate

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import TargetMismatch, TargetNotEmpty
from nasmigrate.core.progress import Silent
from nasmigrate.workflows.into_existing import copy_into_existing

SHOP = Path(__file__).resolve().parents[1] / "apps" / "django_shop"


def django(database: str, *words: str) -> str:
    """Run Django, or a script of the shop, on one database; what it wrote on stdout."""
    begin = [str(SHOP / words[0])] if words[0].endswith(".py") else ["-m", "django", words[0]]
    done = subprocess.run(
        [sys.executable, *begin, *words[1:]],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("NASMIGRATE_", "PG"))},
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(SHOP),
            "PYTHONUTF8": "1",
            "SHOP_DATABASE": database,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The shop's SQLite file, filled, and the key of a session in it."""
    path = tmp_path_factory.mktemp("django") / "shop.sqlite3"
    django(str(path), "migrate", "--verbosity=0")
    return path, django(str(path), "fill.py")


def context(base: Path) -> Context:
    return Context(config=load_config(base, environ={}).config, base=base, reporter=Silent())


def test_a_django_application_moves_and_goes_on(shop: tuple[Path, str], database: str, tmp_path: Path) -> None:
    source, session = shop
    there = f"postgres:{database}"
    django(there, "migrate", "--verbosity=0")
    # What the first attempts say is what is pasted.
    settings = tmp_path / "nasmigrate.toml"
    with pytest.raises(TargetMismatch) as unfit:
        copy_into_existing(context(tmp_path), source, target(database))
    assert {check.split(": ")[0] for check in unfit.value.checks} == {"TARGET_TYPE_MISMATCH"}
    assert {check.split(": ")[1] for check in unfit.value.checks} == {
        "auth_user.date_joined",
        "auth_user.last_login",
        "django_admin_log.action_time",
        "django_session.expire_date",
        "shop_order.placed",
        "shop_product.changed",
        "shop_product.details",
        "shop_product.uid",
    } - {"auth_user.last_login"}  # nobody has logged in yet
    settings.write_text((unfit.value.hint or "").partition("\n")[2] + "\n")
    with pytest.raises(TargetNotEmpty) as seeded:
        copy_into_existing(context(tmp_path), source, target(database))
    assert {check.split(":")[0] for check in seeded.value.checks} == {"auth_permission", "django_content_type"}
    settings.write_text(settings.read_text() + (seeded.value.hint or "").partition("\n")[2] + "\n")
    done = nasmigrate(tmp_path, "copy", str(source), database, "--into-existing", "--round-trip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Left out: django_migrations." in done.stdout
    read = django(there, "dump.py").splitlines()
    assert read == django(str(source), "dump.py").splitlines()
    assert len(read) > 1_000
    django(there, "use.py", session)
    # Nothing that Django wrote since can be missed.
    assert nasmigrate(tmp_path, "verify", str(source), database).returncode == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE shop_product ALTER price TYPE numeric(6, 2)", "DECIMAL_OVER_TARGET: shop_product.price at id="),
        ("ALTER TABLE shop_product ALTER name TYPE varchar(10)", "OVERLENGTH: shop_product.name at id="),
        ("ALTER TABLE shop_product ALTER views TYPE integer", "INT_OVER_TARGET: shop_product.views at id="),
        ("ALTER TABLE shop_order DROP note", "TARGET_COLUMN_MISSING: shop_order.note"),
        ("ALTER TABLE shop_order ALTER note SET NOT NULL", "TARGET_NOT_NULL: shop_order.note"),
        ("DROP TABLE shop_tag CASCADE", "TARGET_TABLE_MISSING: shop_tag"),
    ],
)
def test_a_schema_of_another_version_is_refused_by_the_exact_column(
    shop: tuple[Path, str], database: str, tmp_path: Path, change: str, words: str
) -> None:
    django(f"postgres:{database}", "migrate", "--verbosity=0")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(change.encode())
    with pytest.raises(TargetMismatch) as unfit:
        copy_into_existing(context(tmp_path), shop[0], target(database))
    others = [check for check in unfit.value.checks if not check.startswith("TARGET_TYPE_MISMATCH")]
    assert len(others) == 1
    assert others[0].startswith(words)
