"""Runs that others took over from, a watchdog left alone, authorities that were lost: nothing is written twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from support.night import LIMIT, Night

from nasmigrate.core.envfile_edit import backup_path, keep_backup, set_lines


def until_stopped(pid: int) -> None:
    """Wait until the process has suspended itself."""
    limit = time.monotonic() + LIMIT
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("T", "t"):
        assert time.monotonic() < limit, "it never came to the point"
        time.sleep(0.05)


@pytest.mark.parametrize("point", ["P5:committed", "P6:committed", "R3:committed"])
def test_a_suspended_run_wakes_after_resume_and_changes_nothing(point: str, night: Night) -> None:
    what = "cutover" if point.startswith("P") else "rollback"
    if what == "rollback":
        assert night.run("cutover").returncode == 0
    process = night.drive(what, point, signal.SIGSTOP, wait=False)
    try:
        until_stopped(process.pid)
        if what == "rollback":
            # Its SQLite transaction is open, so nobody else can bring the rows home, and nobody may reopen Postgres.
            refused = night.document("resume")
            assert refused["code"] in (12, 13, 7), refused
            assert night.takers() == set()
        else:
            resumed = night.document("resume")
            assert resumed["code"] == 0, resumed
            assert night.takers() == {"SQLite"}
            night.wait_for_writes()
    finally:
        process.send_signal(signal.SIGCONT)
    code = process.wait(LIMIT)
    if what == "cutover":
        assert code in (7, 11, 12, 13), (night.folder / "driver.log").read_text()
    else:
        assert night.document("resume")["code"] in (0, 4)
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


@pytest.mark.parametrize("what", ["resume", "abort"])
def test_a_suspended_run_that_has_changed_nothing_is_named_and_may_go_on(what: str, night: Night) -> None:
    process = night.drive("cutover", "P1:end", signal.SIGSTOP, wait=False)
    try:
        until_stopped(process.pid)
        refused = night.run(what)
        assert refused.returncode == 11, refused.stderr
        assert f"cutover (process {process.pid} on " in refused.stderr
        assert f"kill -CONT {process.pid}" in refused.stderr
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.wait(LIMIT) == 0, (night.folder / "driver.log").read_text()
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


@pytest.mark.parametrize(("point", "serves"), [("P6:committed", "SQLite"), ("P7:committed", "Postgres")])
def test_the_watchdog_settles_a_dead_run_by_itself(point: str, serves: str, night: Night) -> None:
    killed = night.drive("cutover", point, watchdog=True)
    assert killed.returncode == -signal.SIGKILL
    limit = time.monotonic() + LIMIT
    while night.takers() != {serves}:
        assert time.monotonic() < limit, "nobody settled it"
        time.sleep(0.3)
    night.wait_for_writes(seconds=60.0)
    assert night.assert_one_serves_and_nothing_is_lost() == serves


def test_forward_opens_what_was_fenced(night: Night) -> None:
    night.drive("cutover", "P6:committed")
    refused = night.run("resume", "--forward")
    assert refused.returncode == 2
    done = night.document("resume", "--forward", "--yes", "--confirm", night.database)
    assert done["code"] in (0, 4), done
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_abort_lets_postgres_serve_again_while_rows_are_not_home(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    night.drive("rollback", "R3:committed")
    assert night.document("status")["writer"] == "neither"
    done = night.document("abort")
    assert done["code"] == 0, done
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"
    assert night.run("abort").returncode == 11


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
def test_the_journal_is_no_authority(damage: str, night: Night) -> None:
    night.drive("cutover", "P7:committed")
    journal = night.folder / ".nasmigrate" / "journal.jsonl"
    if damage == "deleted":
        shutil.rmtree(night.folder / ".nasmigrate")
    else:
        data = bytearray(journal.read_bytes())
        for place in range(10, len(data), 97):
            data[place] ^= 0x55
        journal.write_bytes(data)
    assert night.document("resume")["code"] in (0, 4)
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_a_source_that_was_replaced_after_the_fence_raises_the_alarm(night: Night) -> None:
    kept = night.folder / "kept.db"
    with psycopg.connect(night.dsn):
        pass
    assert night.run("cutover").returncode == 0
    shutil.copy2(night.source, kept)
    night.stop_writers()
    fenced = night.source.read_bytes()
    # What an operator does who restores last night's backup.
    backup = next(night.folder.glob(".nasmigrate/runs/*cutover*/fenced.db"))
    night.source.unlink()
    shutil.copy2(backup, night.source)
    status = night.document("status")
    assert (status["code"], status["writer"]) == (11, "both")
    assert night.run("rollback").returncode == 11
    assert night.run("resume").returncode == 11
    night.source.write_bytes(fenced)
    assert night.document("status")["code"] == 0


def test_postgres_gone_for_good_gives_sqlite_back_on_request_only(night: Night) -> None:
    night.drive("cutover", "P6:committed")
    # As if it had been opened and the application led there; only Postgres knows.
    before = night.env_file.read_text()
    keep_backup(night.env_file)
    set_lines(night.env_file, {"DATABASE": night.as_application})
    with psycopg.connect(night.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(night.database)))
    doubt = night.document("resume")
    assert doubt["code"] == 4, doubt
    assert night.takers() == set()
    done = night.document("resume", "--postgres-is-gone", "--yes", "--confirm", night.database)
    assert night.takers() == {"SQLite"}, done
    assert night.env_file.read_text() == before
    night.wait_for_writes()
    with psycopg.connect(night.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(night.database)))
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_resume_leads_the_application_back_wherever_a_rollback_ended(night: Night) -> None:
    before = night.env_file.read_text()
    assert night.run("cutover").returncode == 0
    led, kept = night.env_file.read_text(), backup_path(night.env_file)
    assert kept.read_text() == before
    # Killed before routing, and after it with the control row not closed yet.
    night.drive("rollback", "R4:end")
    assert night.meaning() == "a rollback has brought everything home"
    night.write_env_file(before.encode())
    kept.unlink()
    assert night.document("resume")["code"] == 0
    assert night.env_file.read_text() == before
    assert night.meaning() == "SQLite serves"
    # The control row closed, and the env file as the cutover left it.
    night.write_env_file(led.encode())
    kept.write_text(before)
    assert any("not put back" in line for line in night.document("status")["left"])  # type: ignore[attr-defined]
    refused = night.document("cutover")
    assert refused["code"] == 11, refused
    assert "resume" in str(refused["stderr"])
    assert night.document("resume")["code"] == 0
    assert night.env_file.read_text() == before
    assert not kept.exists()


def test_a_copy_of_the_env_file_from_an_earlier_night_is_not_restored(night: Night) -> None:
    before = night.env_file.read_text()
    backup_path(night.env_file).write_text("PORT=1\nDATABASE=of-last-year.db\n")
    assert night.run("cutover").returncode == 0
    assert night.run("rollback").returncode == 0
    assert night.env_file.read_text() == before


def test_another_target_neither_opens_nor_unfences(night: Night) -> None:
    night.drive("cutover", "P6:committed")
    other = night.database + "_b"
    with psycopg.connect(night.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(other)))
    try:
        target = f"{night.dsn} dbname={other}"
        for what in ("status", "resume", "abort"):
            done = night.run(what, "--target", target)
            assert done.returncode == 11, (what, done.stdout, done.stderr)
        assert night.takers() == set()
    finally:
        with psycopg.connect(night.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(other)))
    assert night.document("resume")["code"] == 0
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


@pytest.mark.parametrize(
    ("command", "point", "serves"),
    [
        ("cutover", "P6:committed", "SQLite"),
        ("cutover", "P7:committed", "Postgres"),
        ("rollback", "R3:committed", "SQLite"),
    ],
)
def test_a_restored_database_is_adopted_and_then_settled(command: str, point: str, serves: str, night: Night) -> None:
    """The database is lost and comes back from a copy: the fence stands for the lost one until it is told otherwise."""
    if command == "rollback":
        assert night.run("cutover").returncode == 0
        night.wait_for_writes()
    night.drive(command, point)
    restored(night, night.database + "_lost")
    assert night.document("status")["writer"] == "neither"
    refused = night.run("resume")
    assert refused.returncode == 11, refused.stderr
    assert "--adopt" in refused.stderr
    assert night.run("resume", "--adopt").returncode == 2  # nobody agreed
    done = night.document("resume", "--adopt", "--yes", "--confirm", night.database)
    assert done["code"] in (0, 4), done
    assert "the fence stands for this database now" in done["did"]  # type: ignore[operator]
    assert night.assert_one_serves_and_nothing_is_lost() == serves
    again = night.document("resume", "--adopt", "--yes", "--confirm", night.database)
    assert again["code"] in (0, 4), again
    if serves == "Postgres":
        assert night.run("rollback").returncode == 0
        assert night.takers() == {"SQLite"}


def test_only_the_database_that_was_restored_is_adopted(night: Night) -> None:
    """Not an empty one, and not a copy beside the one that may serve."""
    night.drive("cutover", "P7:committed")
    night.stop_writers()
    empty, twin = night.database + "_empty", night.database + "_twin"
    names = {"empty": sql.Identifier(empty), "twin": sql.Identifier(twin), "one": sql.Identifier(night.database)}
    with psycopg.connect(night.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {empty} TEMPLATE template0").format(**names))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (night.database,)
        )
        connection.execute(sql.SQL("CREATE DATABASE {twin} TEMPLATE {one}").format(**names))
    try:
        for other, said in ((empty, "does not hold the run"), (twin, "is still there")):
            target = ("--target", f"{night.dsn} dbname={other}")
            done = night.run("resume", "--adopt", "--yes", "--confirm", other, *target)
            assert done.returncode == 11, (other, done.stdout, done.stderr)
            assert said in done.stderr, done.stderr
    finally:
        with psycopg.connect(night.dsn, dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {empty} WITH (FORCE)").format(**names))
            connection.execute(sql.SQL("DROP DATABASE {twin} WITH (FORCE)").format(**names))
    assert night.document("resume")["code"] in (0, 4)
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def restored(night: Night, lost: str) -> None:
    """The night's database goes, and a copy of it takes its name: the same rows and rights under another oid."""
    night.stop_writers()
    names = {"one": sql.Identifier(night.database), "lost": sql.Identifier(lost)}
    with psycopg.connect(night.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (night.database,)
        )
        connection.execute(sql.SQL("ALTER DATABASE {one} RENAME TO {lost}").format(**names))
        connection.execute(sql.SQL("CREATE DATABASE {one} TEMPLATE {lost}").format(**names))
        connection.execute(sql.SQL("DROP DATABASE {lost} WITH (FORCE)").format(**names))


def test_two_at_once_are_refused(night: Night) -> None:
    process = night.drive("cutover", "P3:begin", signal.SIGSTOP, wait=False)
    try:
        until_stopped(process.pid)
        done = night.run("cutover")
        assert done.returncode == 11, done.stderr
        assert "is working on this file" in done.stderr
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert process.wait(LIMIT) == 0, (night.folder / "driver.log").read_text()
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"
