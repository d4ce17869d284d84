"""What an operator, the application and the machine can do to a cutover: it is refused, waits or goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support import cases
from support.night import LIMIT, Night, night_on
from support.processes import nasmigrate

from nasmigrate.core.phases import CUTOVER, ROLLBACK
from nasmigrate.core.result import Result
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.postgres.server_programs import find_programs
from nasmigrate.report.reading import headline

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def journal(night: Night) -> list[dict[str, str]]:
    """The journal's lines."""
    return [json.loads(line) for line in (night.folder / ".nasmigrate" / "journal.jsonl").read_text().splitlines()]


def test_there_and_back_and_there_again(night: Night) -> None:
    before = night.env_file.read_text()
    for _ in range(2):
        done = night.document("cutover")
        assert done["code"] == 0, done
        night.wait_for_writes()
        assert night.as_application in night.env_file.read_text()
        assert night.env_file.read_text().startswith("PORT=3101\n")
        assert night.env_file.stat().st_mode & 0o777 == 0o600
        back = night.document("rollback")
        assert back["code"] == 0, back
        night.wait_for_writes()
        assert night.env_file.read_text() == before
    done = night.run("cutover")
    assert done.returncode == 0, done.stderr
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"
    phases = [entry["phase"] for entry in journal(night) if entry["kind"] == "begin" and entry["command"] == "cutover"]
    assert phases == [phase.key for phase in CUTOVER if phase.key != "P10"] * 3
    phases = [entry["phase"] for entry in journal(night) if entry["kind"] == "begin" and entry["command"] == "rollback"]
    assert phases == [phase.key for phase in ROLLBACK] * 2


def test_the_prediction_stands_beside_the_outcome(night: Night) -> None:
    done = night.document("cutover")
    rates = done["rates"]
    assert isinstance(rates, dict)
    assert 0 < rates["freeze_seconds"] < 4.0
    assert rates["freeze_predicted_seconds"] > 0
    assert {gate["name"] for gate in done["gates"]} >= {"freeze", "route", "round-trip"}  # type: ignore[attr-defined]
    kept = Result.model_validate_json((night.folder / ".nasmigrate/runs/latest/result.json").read_text())
    assert headline(kept).contradictions == ()
    assert headline(kept).answer == "Yes, and it is proven."


def test_after_a_cutover_doctor_looks_at_what_the_application_may_do(night: Night) -> None:
    """As in a database restored on a server whose roles are there, but not what the cutover gave."""

    def told() -> dict[str, str]:
        checks = json.loads(night.run("doctor", "--json").stdout)["checks"]
        (role,) = (check for check in checks if check["name"] == "application's role")
        assert isinstance(role, dict)
        return role

    assert night.run("cutover").returncode == 0
    assert told()["status"] == "ok"
    writer = sql.Identifier(f"{night.database}_rw")
    with psycopg.connect(night.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(writer, sql.Identifier(night.role)))
        without = told()
        assert without["status"] == "warn"
        assert "may not write to" in without["detail"]
        connection.execute(without["fix"].encode())
    assert told()["status"] == "ok"


def test_a_dry_run_prints_the_phases_and_does_nothing(night: Night) -> None:
    done = night.run("cutover", "--dry-run")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:1] in "P" and line[1:2].isdigit()] == [
        phase.key for phase in CUTOVER if phase.key != "P10"
    ]
    assert "commit point" in done.stdout
    shown = json.loads(night.run("cutover", "--dry-run", "--json").stdout)
    jsonschema.validate(shown, json.loads((SCHEMAS / "cutover-dry-run.schema.json").read_text()))
    assert [step["phase"] for step in shown["steps"]] == [phase.key for phase in CUTOVER if phase.key != "P10"]
    assert night.meaning() == "no cutover was begun"


def test_all_failed_checks_are_named_at_once(night: Night) -> None:
    night.write_settings(app='route = "command"\nstart = "true"\ncompose_file = "x"')
    night.env_file.unlink()
    with psycopg.connect(night.dsn) as connection:
        connection.execute("CREATE TABLE already (a int)")
        connection.execute(f"GRANT ALL ON already TO {night.role}")
    for result in night.folder.glob(".nasmigrate/runs/*/result.json"):
        result.unlink()
    done = night.run("cutover")
    assert done.returncode == 6
    for code in ("TARGET_NOT_EMPTY", "NOT_REHEARSED", "ENV_FILE", "ROLE:"):
        assert code in done.stderr, done.stderr
    assert night.takers() == {"SQLite"}


def test_another_role_that_could_write_before_the_opening_is_refused(night: Night) -> None:
    """What it wrote would be in none of the proofs. The first cutover makes the membership's role."""
    assert night.run("cutover").returncode == 0
    assert night.run("rollback").returncode == 0
    service, writer = f"{night.database}_service", f"{night.database}_rw"
    with psycopg.connect(night.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(service)))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(writer), sql.Identifier(service)))
        done = night.run("cutover")
        assert done.returncode == 6, done.stderr
        assert f"ROLE: role '{service}' could write before the opening, as a member of '{writer}'" in done.stderr
        assert night.takers() == {"SQLite"}
        checks = json.loads(night.run("doctor", "--json").stdout)["checks"]
        (role,) = (check for check in checks if check["name"] == "application's role")
        assert (role["status"], service in role["detail"]) == ("warn", True)
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(writer), sql.Identifier(service)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(service)))
    assert night.run("cutover").returncode == 0


def test_what_leads_the_application_to_postgres_is_tried_before_anything_is_written(night: Night) -> None:
    night.write_settings(
        app='route = "command"\nstart = "./restart"\nmaintenance_off = "/nowhere/page off"\ncron_resume = "jobs \'on"',
        cutover='after_rollback = "no-such-program-of-the-shop"',
    )
    settings = night.folder / "nasmigrate.toml"
    settings.write_text(re.sub(r"(?m)^env = .*$", 'env = ["DATABASE=env:SHOP_URL_NOT_SET"]', settings.read_text()))
    done = night.run("cutover")
    assert done.returncode == 6, done.stdout + done.stderr
    for said in (
        "SHOP_URL_NOT_SET is not set",
        "start: there is no program ./restart",
        "maintenance_off: there is no program /nowhere/page",
        "the command of cron_resume cannot be read",
        "after_rollback: there is no program no-such-program-of-the-shop",
    ):
        assert said in done.stderr, done.stderr
    night.write_settings(app='route = "command"\nstart = "./restart"')
    (night.folder / "restart").write_text("#!/bin/sh\n")
    (night.folder / "restart").chmod(0o755)
    night.write_env_file(b"# Schl\xfcssel\n" + night.env_file.read_bytes())
    done = night.run("cutover")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "not UTF-8 text" in done.stderr
    assert "no program" not in done.stderr
    assert night.meaning() == "no cutover was begun"


def test_what_the_operator_may_not_do_is_found_before_anything_is_written(night: Night) -> None:
    name = f"{night.database}_operator"
    with psycopg.connect(night.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE").format(sql.Identifier(name)))
        try:
            done = night.run("cutover", "--target", make_conninfo(night.dsn, user=name))
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    assert done.returncode == 6, done.stderr
    # Neither the copy's rights nor those that the roles need are only found when they are used.
    assert "may not create a schema" in done.stderr
    assert "GRANT CREATE ON DATABASE" in done.stderr
    assert "may not set up the roles" in done.stderr
    assert "GRANT CREATE ON SCHEMA" in done.stderr
    assert night.meaning() == "no cutover was begun"


def test_an_unrehearsed_plan_is_refused_before_anything_is_written(night: Night) -> None:
    with closing(sqlite3.connect(night.source)) as connection:
        connection.execute("ALTER TABLE products ADD COLUMN weight REAL")
    done = night.run("cutover")
    assert done.returncode == 11, done.stderr
    assert "rehearse" in done.stderr
    assert night.meaning() == "no cutover was begun"


def test_ddl_of_the_application_during_the_passes_stops_it(night: Night) -> None:
    hold = night.folder / ".nasmigrate" / "hold-cutover"
    hold.touch()
    process = night.drive("cutover", "never", wait=False)
    wait_for(lambda: any(entry["kind"] == "end" and entry["phase"] == "P3" for entry in journal(night)))
    with closing(sqlite3.connect(night.source, timeout=10)) as connection:
        connection.execute("CREATE TABLE surprise (a)")
    hold.unlink()
    assert process.wait(LIMIT) == 3, (night.folder / "driver.log").read_text()
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_nothing_captures_changes_before_the_fence(night: Night) -> None:
    """No trigger and no log: what changed is found by digests, so no order of transactions can hide a change."""

    def schema() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(night.source, timeout=10)) as connection:
            return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

    before = schema()
    process = night.drive("cutover", "P4:begin", signal.SIGSTOP, wait=False)
    wait_for(lambda: any(entry["kind"] == "begin" and entry["phase"] == "P4" for entry in journal(night)))
    assert schema() == before
    with psycopg.connect(night.dsn) as connection:
        assert connection.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").fetchall() == []
    process.kill()
    assert process.wait(LIMIT) == -signal.SIGKILL
    night.document("resume")
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_vacuum_and_analyze_during_the_passes_do_not_stop_it(night: Night) -> None:
    hold = night.folder / ".nasmigrate" / "hold-cutover"
    hold.touch()
    process = night.drive("cutover", "never", wait=False)
    wait_for(lambda: any(entry["kind"] == "end" and entry["phase"] == "P3" for entry in journal(night)))
    with closing(sqlite3.connect(night.source, timeout=10)) as connection:
        connection.execute("VACUUM")
        connection.execute("ANALYZE")
    hold.unlink()
    assert process.wait(LIMIT) == 0, (night.folder / "driver.log").read_text()
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_an_interrupt_before_the_opening_puts_everything_back(night: Night) -> None:
    flags = night.folder / "maintenance"
    night.write_settings(app=f'maintenance_on = "touch {flags}"\nmaintenance_off = "rm -f {flags}"')
    process = night.drive("cutover", "P5:committed", signal.SIGINT)
    assert process.returncode != 0
    assert not flags.exists()
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_an_interrupt_between_fence_and_opening_is_too_late_and_the_application_follows(night: Night) -> None:
    flags = night.folder / "maintenance"
    night.write_settings(app=f'maintenance_on = "touch {flags}"\nmaintenance_off = "rm -f {flags}"')
    before = night.env_file.read_text()
    process = night.drive("cutover", "P6:committed", signal.SIGINT)
    assert process.returncode == 0, (night.folder / "driver.log").read_text()
    assert night.takers() == {"Postgres"}
    assert night.as_application in night.env_file.read_text()
    assert not flags.exists()
    night.wait_for_writes()
    # The same the other way: once the rows are home, the application is led there.
    process = night.drive("rollback", "R3:committed", signal.SIGINT)
    assert process.returncode == 0, (night.folder / "driver.log").read_text()
    assert night.env_file.read_text() == before
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_what_was_killed_before_it_was_routed_is_told_by_status_and_finished_by_resume(night: Night) -> None:
    night.drive("cutover", "P7:committed")
    night.stop_writers()
    status = night.document("status")
    assert "nasmigrate resume" in str(status["next_step"])
    assert any("has not arrived" in line for line in status["says"])  # type: ignore[attr-defined]
    assert night.document("resume")["code"] == 4  # nobody runs
    night.start_writers(("w2",))
    assert str(night.document("status")["next_step"]).startswith("nothing now")
    # What has arrived is left alone, however often it is resumed.
    restarts = night.folder / "restarts"
    night.write_settings(app=f'route = "command"\nstart = "sh -c \'echo again >> {restarts}\'"')
    for _ in range(2):
        assert night.document("resume")["code"] in (0, 4)
        night.wait_for_writes()
    assert restarts.read_text() == "again\n"
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_hooks_fail_before_the_freeze_and_are_told_after_the_opening(night: Night) -> None:
    night.write_settings(cutover='before_freeze = "false"')
    done = night.run("cutover")
    assert done.returncode == 12, done.stderr
    assert "before_freeze" in done.stderr
    assert night.takers() == {"SQLite"}
    night.write_settings(cutover='after_route = "false"')
    done = night.run("cutover")
    assert done.returncode == 4, done.stderr
    assert "after_route" in done.stdout
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_an_application_whose_start_does_not_end_is_left_running_when_it_has_arrived(night: Night) -> None:
    """A start in the foreground, as `npm start` is. The writers are what arrives."""
    pid = night.folder / "pid"
    night.write_settings(
        app=f'route = "command"\nstart = "sh -c \'echo $$ > {pid}; exec sleep 600\'"\ncommand_timeout = 3.0'
    )
    done = night.run("cutover")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "was left running, as the application serves" in done.stderr
        os.kill(int(pid.read_text()), 0)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_a_session_from_before_the_opening_is_no_arrival(night: Night) -> None:
    night.stop_writers()
    settings = night.folder / "nasmigrate.toml"
    settings.write_text(settings.read_text().replace("arrival_timeout = 10.0", "arrival_timeout = 1.0"))
    with psycopg.connect(night.as_application):
        done = night.document("cutover")
        assert done["code"] == 4, done
        (gate,) = [gate for gate in done["gates"] if gate["name"] == "route"]  # type: ignore[attr-defined]
        assert (gate["status"], gate["checked"]) == ("inconclusive", 0)
        assert "only 1 sessions from before the opening" in gate["detail"]


def test_what_serves_now_is_dumped_at_once(night: Night) -> None:
    settings = night.folder / "nasmigrate.toml"
    settings.write_text(settings.read_text().replace("dump = false", "dump = true"))
    done = night.document("cutover")
    assert done["code"] == 0, done
    (gate,) = [gate for gate in done["gates"] if gate["name"] == "dump"]  # type: ignore[attr-defined]
    assert gate["status"] == "pass", gate
    (dump,) = night.folder.glob(".nasmigrate/runs/2*/target.dump")
    assert dump.stat().st_mode & 0o777 == 0o600
    script = subprocess.run(
        [find_programs() / "bin" / "pg_restore", "--file=-", dump], capture_output=True, text=True, check=True
    ).stdout
    with psycopg.connect(night.dsn) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM orders").fetchone() or (0,)
    (copied,) = re.findall(r"^COPY public.orders .*?;\n(.*?)^\\\.$", script, re.MULTILINE | re.DOTALL)
    assert 0 < len(copied.splitlines()) <= rows


def test_a_dump_without_the_rows_of_a_table_is_not_believed(night: Night) -> None:
    tools = night.folder / "tools"
    tools.mkdir()
    for program in (find_programs() / "bin").iterdir():
        (tools / program.name).symlink_to(program)
    (tools / "pg_dump").unlink()
    (tools / "pg_dump").write_text(
        f'#!/bin/sh\nexec {find_programs() / "bin" / "pg_dump"} "$@" --exclude-table-data=public.orders\n'
    )
    (tools / "pg_dump").chmod(0o755)
    settings = night.folder / "nasmigrate.toml"
    settings.write_text(settings.read_text().replace("dump = false", "dump = true") + '[backup]\ntools = "tools"\n')
    done = night.document("cutover")
    assert done["code"] == 4, done
    (gate,) = [gate for gate in done["gates"] if gate["name"] == "dump"]  # type: ignore[attr-defined]
    assert gate["status"] == "inconclusive"
    assert "target.dump has no rows of public.orders; nasmigrate backup" in gate["detail"]


def test_an_application_that_does_not_answer_at_home_is_told(night: Night) -> None:
    """It is waited for on both ways; whatever it answers, SQLite serves once the rows are home."""
    answers = {"status": 200}

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers["status"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever).start()
    try:
        night.write_settings(app=f'health_url = "http://127.0.0.1:{server.server_port}/health"')
        assert night.run("cutover").returncode == 0
        answers["status"] = 503
        back = night.document("rollback")
    finally:
        server.shutdown()
        server.server_close()
    assert back["code"] == 4, back
    (gate,) = [gate for gate in back["gates"] if gate["name"] == "route"]  # type: ignore[attr-defined]
    assert gate["status"] == "inconclusive"
    for said in ("503", "SQLite serves", "log"):
        assert said in gate["detail"], gate
    assert night.document("status")["meaning"] == "SQLite serves"
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_a_freeze_that_cannot_fit_is_not_begun(night: Night) -> None:
    done = night.run("cutover", "--max-freeze", "0.05")
    assert done.returncode == 12, done.stderr
    assert "--app-stopped" in done.stderr
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_an_application_that_is_said_to_be_stopped_and_runs_is_named(night: Night) -> None:
    done = night.run("cutover", "--app-stopped")
    assert done.returncode == 6
    assert "WRITER_ACTIVE" in done.stderr
    night.stop_writers()
    done = night.run("cutover", "--app-stopped")
    assert done.returncode == 4, done.stderr  # nobody started the application, so it has not arrived
    assert night.takers() == {"Postgres"}


def test_a_stale_server_setting_or_a_foreign_name_is_no_confirmation(night: Night) -> None:
    assert nasmigrate(night.folder, "cutover").returncode == 2
    assert nasmigrate(night.folder, "cutover", "--yes", "--confirm", "other").returncode == 2
    assert night.meaning() == "no cutover was begun"


def test_what_sqlite_cannot_hold_stops_a_rollback_and_names_it(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    with psycopg.connect(night.as_application) as connection:
        connection.execute("UPDATE products SET price = 'NaN' WHERE id = 7")
    preview = night.document("rollback", "--dry-run")
    assert preview["code"] == 3
    assert any("products.price" in line for line in preview["did"])  # type: ignore[attr-defined]
    done = night.run("rollback")
    assert done.returncode == 3, done.stderr
    assert "products.price" in done.stderr
    assert night.takers() == {"Postgres"}
    with psycopg.connect(night.as_application) as connection:
        connection.execute("UPDATE products SET price = 1.5 WHERE id = 7")
    assert night.run("rollback").returncode == 0
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"


def test_what_came_after_the_cutover_is_left_behind_only_on_request(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    with psycopg.connect(night.dsn) as connection:
        connection.execute("CREATE TABLE later (a int); INSERT INTO later VALUES (41)")
        connection.execute("ALTER TABLE products ADD COLUMN weight int DEFAULT 3")
    done = night.run("rollback")
    assert done.returncode == 3, done.stderr
    assert "later" in done.stderr
    assert "weight" in done.stderr
    assert night.takers() == {"Postgres"}
    assert night.run("rollback", "--leave-behind").returncode == 0
    kept = sorted(path.name for path in Path(night.folder).glob(".nasmigrate/runs/*rollback*/left-behind/*"))
    assert kept == ["later.csv", "products.new-columns.csv"]
    # What was left behind stands in Postgres still, and a next cutover says so before it does anything.
    refused = night.run("cutover")
    assert refused.returncode == 6, refused.stderr
    assert "TARGET_CHANGED" in refused.stderr
    assert "later" in refused.stderr
    assert "weight" in refused.stderr
    with psycopg.connect(night.dsn) as connection:
        connection.execute("DROP TABLE later; ALTER TABLE products DROP COLUMN weight")
    assert night.run("cutover").returncode == 0
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_full_text_and_sequences_are_right_after_the_way_home(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    with psycopg.connect(night.as_application) as connection:
        connection.execute("INSERT INTO products VALUES (9001, 'zeppelin', 1.0, '2026-02-02 10:00:00')")
        connection.execute("DELETE FROM tags WHERE product = 3")
        connection.execute("DELETE FROM products WHERE id = 3")
        row = connection.execute("SELECT max(id) FROM orders").fetchone()
    assert row is not None
    assert night.run("rollback").returncode == 0
    night.stop_writers()
    with closing(sqlite3.connect(night.source)) as connection:
        found = connection.execute("SELECT rowid FROM words WHERE words MATCH 'zeppelin'").fetchall()
        assert found == [(9001,)]
        assert connection.execute("SELECT count(*) FROM products WHERE id = 3").fetchone() == (0,)
        (sequence,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'orders'").fetchone()
        assert sequence >= row[0]
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert not any(name.startswith("_nasmigrate_") for name in names)
        assert "products_words" in names


def test_finalize_asks_twice_and_ends_the_way_back(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    assert nasmigrate(night.folder, "finalize", "--yes", "--confirm", night.database).returncode == 2
    done = nasmigrate(night.folder, "finalize", "--yes", "--confirm", night.database, "--no-way-back")
    assert done.returncode == 0, done.stderr
    assert night.run("rollback").returncode == 11
    again = night.run("cutover")
    assert again.returncode == 11
    assert "was made final" in again.stderr
    assert "rollback" not in again.stderr
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def wait_for(condition: object) -> None:
    """Wait until it holds."""
    assert callable(condition)
    until = time.monotonic() + LIMIT
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < until
        time.sleep(0.1)


def test_an_application_with_functions_of_its_own_goes_there_and_back(durable: EmbeddedServer, tmp_path: Path) -> None:
    case = "T92-functions-of-the-application"
    with night_on(durable.dsn, tmp_path, None, f"n{uuid.uuid4().hex[:10]}") as night:
        cases.build(case, night.source)
        settings = night.folder / "nasmigrate.toml"
        accepted = [finding.where for finding in cases.load(case).findings]
        assert accepted == ["people_check1", "posts_slug"]
        settings.write_text(
            settings.read_text()
            .replace("TRIGGER_NOT_CARRIED:products_words", "TRIGGER_NOT_CARRIED:posts_slug")
            .replace("VIRTUAL_TABLE:words", "CHECK_NOT_TRANSLATED:people_check1")
            .replace(', "WAL_ABSENT:app.db"', "")
            .replace("arrival_timeout = 10.0", "arrival_timeout = 0.1")
        )
        rehearsed = night.run("rehearse")
        assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
        done = night.document("cutover")
        assert done["code"] == 4, done  # it was not restarted
        gates: list[dict[str, str]] = done["gates"]  # type: ignore[assignment]
        assert [gate["name"] for gate in gates if gate["status"] in ("fail", "inconclusive")] == ["route"]
        with psycopg.connect(night.as_application) as application:
            application.execute("INSERT INTO people (email) VALUES ('cid@example.org')")
            application.execute("UPDATE posts SET title = 'New'")
        back = night.document("rollback")
        assert back["code"] == 0, back
        with closing(sqlite3.connect(night.source)) as home:
            assert home.execute("SELECT email FROM people WHERE id = 3").fetchall() == [("cid@example.org",)]
            assert home.execute("SELECT title, slug FROM posts").fetchall() == [("New", "first-words")]
            home.create_function("regexp", 2, lambda pattern, text: bool(re.search(pattern, text)))
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                home.execute("INSERT INTO people (email) VALUES ('nobody')")
