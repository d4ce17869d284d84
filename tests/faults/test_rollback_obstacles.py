"""What stands in a rollback's way stops it while Postgres serves, is named, and leaves nothing switched off."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.night import LIMIT, Night
from support.processes import environment

from nasmigrate.postgres.control import latest_run
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.rollback.shape import drift_since

NOBODY = 65534


def with_page(night: Night) -> Path:
    """Settings with a maintenance page: the file is there while it is on."""
    page = night.folder / "maintenance"
    night.write_settings(
        app=f'maintenance_on = "touch {page}"\nmaintenance_off = "rm -f {page}"', cutover="lock_wait = 1.0"
    )
    return page


def test_new_tables_readers_and_another_owner(night: Night) -> None:
    page = with_page(night)
    night.source.chmod(0o666)
    assert night.run("cutover").returncode == 0
    with closing(sqlite3.connect(night.source)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    writer_role = sql.Identifier(f"{night.database}_rw")
    with psycopg.connect(night.dsn) as connection:
        connection.execute("CREATE SCHEMA extra; CREATE TABLE extra.lost (a int); CREATE TABLE extra_lost (b int)")
        connection.execute("CREATE TABLE heir () INHERITS (products)")
        connection.execute("ALTER TABLE tags RENAME tag TO label")
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA extra TO {}").format(writer_role))
        connection.execute(sql.SQL("GRANT INSERT ON extra.lost TO {}").format(writer_role))

    # The dry run names all of it, a column that is gone too.
    preview = night.document("rollback", "--dry-run")
    assert preview["code"] == 3, preview
    said = "\n".join(preview["did"])  # type: ignore[call-overload]
    for words in ('"tags"."tag" is gone', "table extra.lost came", "table heir came after the cutover and inherits"):
        assert words in said
    with psycopg.connect(night.dsn) as connection:
        connection.execute("ALTER TABLE tags RENAME label TO tag")
    refused = night.run("rollback")
    assert refused.returncode == 3, refused.stderr
    assert "extra.lost" in refused.stderr

    # What may not be locked and read is known before anything is held up, with what is lacking.
    with psycopg.connect(night.dsn) as connection:
        recorded = latest_run(connection)
        assert recorded is not None
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(night.role)))
        drift = drift_since(connection, Plan.model_validate(recorded.plan), recorded.catalogue or {})
        assert drift.blocking
        assert any("GRANT SELECT, UPDATE ON TABLE public.heir TO" in line for line in drift.lines), drift.lines

    # A reader of a file with a rollback journal would keep the commit from being made.
    with closing(sqlite3.connect(night.source, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM products").fetchone()
        stopped = night.run("rollback", "--leave-behind")
        assert stopped.returncode == 12, stopped.stdout + stopped.stderr
        assert "Postgres serves as before" in stopped.stderr
        assert not page.exists()
        assert night.meaning() == "Postgres serves"

    # A table that is left behind is locked like the others: a write that is under way is waited for.
    with psycopg.connect(night.as_application) as writer:
        writer.execute("INSERT INTO extra.lost VALUES (41)")
        stopped = night.run("rollback", "--leave-behind")
        assert stopped.returncode == 12, stopped.stdout + stopped.stderr
        assert not page.exists()
    night.wait_for_writes()

    # The file belongs to another user, who alone may change its permissions.
    night.source.chmod(0o666)
    os.chown(night.source, NOBODY, -1)
    setpriv = shutil.which("setpriv")
    assert setpriv
    done = subprocess.run(
        [
            *(setpriv, "--inh-caps=-fowner", "--bounding-set=-fowner", sys.executable, "-m", "nasmigrate"),
            *("rollback", "--leave-behind", "--yes", "--confirm", night.database),
        ],
        cwd=night.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = {path.name: path.read_text() for path in night.folder.glob(".nasmigrate/runs/*rollback*/left-behind/*")}
    assert kept == {"extra_lost.csv": "a\n41\n", "extra_lost-2.csv": "b\n", "heir.csv": kept["heir.csv"]}
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_the_page_is_off_after_an_interrupt_and_after_an_abort(night: Night) -> None:
    page = with_page(night)
    assert night.run("cutover").returncode == 0
    interrupted = night.drive("rollback", "R1:begin", signal.SIGINT)
    assert interrupted.wait(LIMIT) != 0
    assert not page.exists()
    assert night.meaning() == "Postgres serves"
    night.drive("rollback", "R3:committed")
    assert page.exists()
    done = night.document("abort")
    assert done["code"] == 0, done
    assert any("sessions of role" in line for line in done["did"])  # type: ignore[attr-defined]
    assert not page.exists()
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_no_other_role_writes_on_after_a_rollback(night: Night) -> None:
    """The settings name another role than the one that writes; a service has a role of its own."""
    assert night.run("cutover").returncode == 0
    settings, other, worker = night.folder / "nasmigrate.toml", f"{night.database}_other", f"{night.database}_worker"
    with psycopg.connect(night.dsn) as connection:
        for role in (other, worker):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        writer = sql.Identifier(f"{night.database}_rw")
        connection.execute(sql.SQL("GRANT {} TO {}").format(writer, sql.Identifier(worker)))
    right = settings.read_text()
    try:
        for named in (other, f"{night.database}_nobody"):
            settings.write_text(right.replace(f'role = "{night.role}"', f'role = "{named}"'))
            for flags in ((), ("--dry-run",)):
                refused = night.run("rollback", *flags)
                assert refused.returncode == 5, refused.stdout + refused.stderr
                assert night.role in refused.stderr
                assert "serves as before" in refused.stderr
        settings.write_text(right)
        with closing(psycopg.connect(make_conninfo(night.dsn, user=worker), autocommit=True)) as service:
            service.execute("INSERT INTO tags VALUES (1, 'of the worker')")
            done = night.run("rollback")
            assert done.returncode == 0, done.stdout + done.stderr
            assert worker in done.stderr
            with pytest.raises(psycopg.OperationalError):
                service.execute("INSERT INTO tags VALUES (2, 'too late')")
        with (
            closing(psycopg.connect(make_conninfo(night.dsn, user=worker))) as service,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            service.execute("INSERT INTO tags VALUES (2, 'too late')")
        assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"
    finally:
        with psycopg.connect(night.dsn) as connection:
            for role in (other, worker):
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def with_page_and_jobs(night: Night) -> tuple[Path, Path]:
    """Settings with a maintenance page and jobs: a file is there while the page is on, one while jobs are paused."""
    page, paused = night.folder / "maintenance", night.folder / "paused"
    night.write_settings(
        app=f'maintenance_on = "touch {page}"\nmaintenance_off = "rm -f {page}"\n'
        f'cron_pause = "touch {paused}"\ncron_resume = "rm -f {paused}"'
    )
    return page, paused


@pytest.mark.parametrize(
    ("what", "point", "serves"), [("cutover", "P4:begin", "SQLite"), ("rollback", "R1:begin", "Postgres")]
)
def test_what_a_killed_run_had_switched_off_is_told_and_switched_on_again(
    what: str, point: str, serves: str, night: Night
) -> None:
    page, paused = with_page_and_jobs(night)
    if what == "rollback":
        assert night.run("cutover").returncode == 0
    assert "maintenance page" not in str(night.document("status")["left"])

    # The machine went down, the watchdog with it: `status` tells what may be off, `resume` switches it on.
    assert night.drive(what, point).returncode == -signal.SIGKILL
    assert page.exists()
    status = night.document("status")
    assert status["meaning"] == f"{serves} serves"
    assert "the maintenance page may be on" in str(status["left"])
    assert ("the jobs may be paused" in str(status["left"])) == (serves == "SQLite")
    assert str(status["next_step"]).startswith("nasmigrate resume")
    assert night.run("resume").returncode in (0, 4)
    assert not page.exists()
    assert paused.exists() == (serves == "Postgres")
    status = night.document("status")
    assert "may be" not in str(status["left"])
    assert not str(status["next_step"]).startswith("nasmigrate resume")

    # Only the tool died: the watchdog does it.
    assert night.drive(what, point, watchdog=True).returncode == -signal.SIGKILL
    limit = time.monotonic() + LIMIT
    while page.exists():
        assert time.monotonic() < limit, "the page stays on"
        time.sleep(0.2)
    assert night.assert_one_serves_and_nothing_is_lost() == serves


def test_the_page_is_off_and_jobs_run_once_postgres_is_given_up(night: Night) -> None:
    page, paused = with_page_and_jobs(night)
    assert night.drive("cutover", "P6:committed").returncode == -signal.SIGKILL
    assert page.exists()
    assert paused.exists()
    gone = make_conninfo(night.dsn, host=str(night.folder))
    done = night.run("resume", "--postgres-is-gone", "--yes", "--confirm", night.database, "--target", gone)
    assert done.returncode in (0, 4), done.stdout + done.stderr
    assert not page.exists()
    assert not paused.exists()
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"
