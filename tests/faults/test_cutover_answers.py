"""Answers that are lost, and a fence that is not what its commit said: the tool looks again before it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql
from support.night import Night

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import GateFailed, RolledBack
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import resolve_target
from nasmigrate.postgres import control_row
from nasmigrate.sqlite.fence import FENCE_TABLE
from nasmigrate.workflows.cutover import opening
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.rollback import RollbackOptions, rollback
from nasmigrate.workflows.rollback import run as rollback_run


def ends(night: Night) -> tuple[Context, object, object]:
    """What the workflows take."""
    loaded = load_config(night.folder, environ=os.environ)
    assert loaded.config.target.dsn
    context = Context(config=loaded.config, base=loaded.base, reporter=Silent())
    return context, night.source, resolve_target(loaded.config.target.dsn, environ=os.environ, from_argv=False)


def cut_over(night: Night, watcher: Callable[[str], None] = lambda _point: None) -> Result:
    """In this process, so that its parts can be disturbed."""
    context, source, target = ends(night)
    return cutover(context, source, target, Options(watcher=watcher))  # type: ignore[arg-type]


def losing(real: Callable[..., None], *, committed: bool) -> Callable[..., None]:
    """The same function, whose first answer is lost: after the commit, or before anything reached the server."""
    calls: list[int] = []

    def wrapped(connection: psycopg.Connection, *arguments: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            real(connection, *arguments)
            return
        if committed:
            real(connection, *arguments)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    return wrapped


class Heard:
    """A watchdog that remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def prepared(self) -> None:
        """See Watchdog."""
        self.stages.append("prepared")

    def frozen(self, _pid: int, _limit: float | None) -> None:
        """See Watchdog."""
        self.stages.append("frozen")

    def fencing(self) -> None:
        """See Watchdog."""
        self.stages.append("fencing")

    def decided(self) -> None:
        """See Watchdog."""
        self.stages.append("decided")


@pytest.mark.parametrize("committed", [True, False])
def test_the_answer_to_the_opening_is_lost(committed: bool, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_target", losing(control_row.open_target, committed=committed))
    assert cut_over(night).exit_code == 0
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


@pytest.mark.parametrize("committed", [True, False])
def test_the_answer_to_the_closing_is_lost(committed: bool, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cut_over(night).exit_code == 0
    night.wait_for_writes()
    monkeypatch.setattr(rollback_run, "drain", losing(control_row.drain, committed=committed))
    heard = Heard()
    monkeypatch.setattr(rollback_run, "start_watchdog", lambda *_arguments: heard)
    context, source, target = ends(night)
    if committed:
        assert rollback(context, source, target, RollbackOptions()).exit_code == 0  # type: ignore[arg-type]
    else:
        with pytest.raises(RolledBack):
            rollback(context, source, target, RollbackOptions())  # type: ignore[arg-type]
        # A refusal is an answer too: there is nothing left that a watchdog would have to settle.
        with psycopg.connect(night.dsn) as connection:
            connection.execute(sql.SQL("GRANT INSERT ON tags TO {}").format(sql.Identifier(night.role)))
        with pytest.raises(RolledBack, match="Postgres serves as before"):
            rollback(context, source, target, RollbackOptions())  # type: ignore[arg-type]
    assert heard.stages == ["fencing", "decided"] * (1 if committed else 2)
    assert night.assert_one_serves_and_nothing_is_lost() == ("SQLite" if committed else "Postgres")


def test_a_copy_that_is_not_proven_leaves_a_report_that_names_the_differences(night: Night) -> None:
    assert cut_over(night).exit_code == 0
    context, source, target = ends(night)
    assert rollback(context, source, target, RollbackOptions()).exit_code == 0  # type: ignore[arg-type]

    def watch(point: str) -> None:
        if point == "P1:begin":  # after the preflight has looked
            with psycopg.connect(night.dsn) as connection:
                connection.execute("CREATE TABLE surprise (a int)")

    with pytest.raises(GateFailed, match="SQLite serves") as caught:
        cut_over(night, watch)
    assert any("surprise" in check for check in caught.value.checks)
    kept = Result.model_validate_json((night.folder / ".nasmigrate/runs/latest/result.json").read_text())
    assert (kept.command, kept.verdict) == ("cutover", "fail")
    assert [difference.table for difference in kept.differences] == ["surprise"]
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_a_fence_that_lets_a_newcomer_write_stops_the_opening(night: Night) -> None:
    drop = (
        f"import apsw; apsw.Connection({str(night.source)!r}).execute('DROP TRIGGER {FENCE_TABLE}_0_insert').fetchall()"
    )

    def watch(point: str) -> None:
        if point == "P6:committed":
            subprocess.run([sys.executable, "-c", drop], check=True)

    with pytest.raises(RolledBack, match="takes writes"):
        cut_over(night, watch)
    assert night.meaning() == "SQLite serves"
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_postgres_lost_between_fence_and_opening_gives_sqlite_back_at_once(night: Night) -> None:
    def watch(point: str) -> None:
        if point == "P6:committed":
            raise ConnectionError("the cable")

    with pytest.raises(ConnectionError):
        cut_over(night, watch)
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"
