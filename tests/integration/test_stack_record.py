"""What the stack does by the record of a cutover in its Postgres, and when nothing is there to be tested."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.postgres.control import RunRow, add_run, create_control
from nasmigrate.postgres.control_row import create_control_row
from nasmigrate.stack.folder import prepare
from nasmigrate.workflows import reboot_test, stack, stack_databases

NEW = "DATABASE=sqlite"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(config=load_config(tmp_path, environ={}).config, base=tmp_path, reporter=Silent())


def recorded(database: str, state: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        create_control(connection)
        run = RunRow(
            run_id="00000000-0000-0000-0000-000000000001",
            command="cutover",
            plan_hash="2",
            plan={},
            source="/app.db",
            source_sha256="3",
            state="copying",
            catalogue=None,
        )
        add_run(connection, run, "1")
        create_control_row(connection, run_id=run.run_id, plan_hash=run.plan_hash, source=run.source)
        connection.execute("UPDATE nasmigrate.control SET state = %s", (state,))


@pytest.mark.parametrize(
    ("state", "engine", "settings"),
    [
        (None, None, NEW),
        ("CLOSED", "sqlite", NEW),
        ("OPEN", "postgres", "DATABASE=postgres"),
        ("DRAINING", None, NEW),
    ],
)
def test_new_settings_of_the_marketplace_follow_a_restored_postgres(
    state: str | None,
    engine: str | None,
    settings: str,
    context: Context,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if state:
        recorded(database, state)
    monkeypatch.setattr(stack_databases, "server_conninfo", lambda *_, **__: database)
    monkeypatch.setattr(stack, "states", lambda _: ())
    compose: Any = SimpleNamespace(folder=tmp_path / "stack")
    prepare(compose.folder, {})
    assert (compose.folder / "marketplace_web.env").stat().st_mode & 0o777 == 0o600
    assert stack_databases.engine_on_record(compose, ()) == engine
    stack._follow_the_record(context, compose)
    lines = (compose.folder / "marketplace_web.env").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [settings]


def test_nothing_is_taken_down_where_a_store_does_not_run(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of no store would find every marker."""
    for running, missing in (((), "postgres and redis"), (("postgres",), "redis")):
        containers = tuple(SimpleNamespace(service=name, ready=True) for name in running)
        monkeypatch.setattr(reboot_test, "states", lambda _, found=containers: found)
        monkeypatch.setattr(reboot_test, "stack_down", lambda *_: pytest.fail("taken down"))
        nothing: Any = SimpleNamespace(folder=tmp_path)
        line = reboot_test.reboot_test(context, nothing, nothing)
        assert (line.status, line.evidence) == ("fail", f"not tested: {missing} did not run")


def test_an_old_reboot_test_does_not_stand_for_one_that_failed(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / reboot_test.FILE).write_text('{"tested_at": "2026-01-01T00:00:00+00:00", "stores": ["postgres"]}')
    assert reboot_test.last_reboot_test(tmp_path).status == "ok"
    containers = tuple(SimpleNamespace(service=name, ready=True) for name in ("postgres", "redis"))
    monkeypatch.setattr(reboot_test, "states", lambda _: containers)
    for name in ("_write", "stack_down", "_remove"):
        monkeypatch.setattr(reboot_test, name, lambda *_: ("postgres", "redis"))
    monkeypatch.setattr(reboot_test, "stack_up", lambda *_: None)
    monkeypatch.setattr(reboot_test, "_read", lambda *_: None)
    nothing: Any = SimpleNamespace(folder=tmp_path)
    assert reboot_test.reboot_test(context, nothing, nothing).status == "fail"
    assert reboot_test.last_reboot_test(tmp_path).status == "unknown"


def test_the_marketplaces_folder_belongs_to_whom_its_container_runs_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: owners.__setitem__(Path(path).name, (uid, gid)))
    prepare(tmp_path / "a", {})
    assert owners == {"marketplace_data": (1000, 1000)}
    prepare(tmp_path / "b", {"NASMIGRATE_MARKETPLACE_USER": "1026:100", "NASMIGRATE_POSTGRES_DATA": "./pg"})
    assert owners == {"marketplace_data": (1026, 100), "pg": (999, 999)}
