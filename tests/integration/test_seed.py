"""`nasmigrate seed` end to end, on a real Postgres and a double of Kill Bill; the real one is in tests/stack."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.killbill_double import PASSWORD, Double, killbill_double

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import ConfigError, ExitCode, KillBillError, PreflightError, RunLocked
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.killbill.client import AUTO_INVOICING_OFF
from nasmigrate.postgres.seeded import begin_seeding
from nasmigrate.workflows.rehearse import rehearse
from nasmigrate.workflows.run import running
from nasmigrate.workflows.seed import check_people, seed, seed_within, undo_seed

PEOPLE = """
CREATE TABLE users (id bigint PRIMARY KEY, email text, full_name text, phone text);
INSERT INTO users SELECT i, 'user' || i || '@example.org', 'Ümlaut ' || i, CASE WHEN i % 2 = 0 THEN '+49 ' || i END
FROM generate_series(1, 40) AS i;
"""


class Project:
    """A folder with settings, a migrated database, and a Kill Bill."""

    def __init__(self, folder: Path, database: str, double: Double) -> None:
        self.folder, self.database, self.double = folder, database, double
        self.settings = {
            "url": double.url,
            "password_file": "admin",
            "api_secret_file": "tenant",
            "currency": "EUR",
            "locale": "de_DE",
            "time_zone": "Asia/Calcutta",
            "timeout": 2.0,
        }
        self.accept: list[str] = []
        self.more = ""
        (folder / "admin").write_text(PASSWORD)
        (folder / "admin").chmod(0o600)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def write(self, **changed: object) -> None:
        self.settings |= changed
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.settings.items()]
        text = f"[plan]\naccept = {json.dumps(self.accept)}\n[killbill]\n" + "\n".join(lines) + "\n"
        (self.folder / "nasmigrate.toml").write_text(text + self.more)

    def context(self) -> Context:
        self.write()
        return Context(config=load_config(self.folder, environ={}).config, base=self.folder, reporter=Silent())

    def seed(self) -> Result:
        return seed(self.context(), Target(conninfo=self.database, display="shop"))

    def undo(self) -> Result:
        return undo_seed(self.context(), Target(conninfo=self.database, display="shop"))

    def states(self) -> dict[str, int]:
        rows = self.sql("SELECT state, count(*)::int FROM nasmigrate.seeded GROUP BY state")
        return {str(state): int(str(count)) for state, count in rows}


@pytest.fixture
def project(tmp_path: Path, database: str) -> Iterator[Project]:
    with killbill_double() as double:
        made = Project(tmp_path, database, double)
        made.sql(PEOPLE)
        yield made


def gates(result: Result) -> dict[str, str]:
    return {gate.name: gate.status for gate in result.gates}


def test_everyone_is_seeded_compared_and_recorded(project: Project) -> None:
    result = project.seed()
    assert result.exit_code == 0
    assert gates(result) == dict.fromkeys(("accounts", "fields", "decisions", "invoicing-off"), "pass")
    assert result.fingerprint
    account = project.double.accounts["2"]
    assert {
        name: account[name] for name in ("name", "email", "phone", "currency", "locale", "timeZone", "isMigrated")
    } == {
        "name": "Ümlaut 2",
        "email": "user2@example.org",
        "phone": "+49 2",
        "currency": "EUR",
        "locale": "de_DE",
        "timeZone": "Asia/Kolkata",
        "isMigrated": True,
    }
    assert all(tags == {AUTO_INVOICING_OFF} for tags in project.double.tags.values())
    assert project.states() == {"seeded": 40}
    assert (project.folder / "tenant").stat().st_mode & 0o777 == 0o600


def test_again_sends_nothing_and_newcomers_are_added(project: Project) -> None:
    project.seed()
    sent = project.double.count("POST", "/accounts")
    assert project.seed().exit_code == 0
    assert project.double.count("POST", "/accounts") == sent
    project.sql("INSERT INTO users VALUES (99, NULL, 'New', NULL)")
    assert project.seed().exit_code == 0
    assert project.double.count("POST", "/accounts") == sent + 1


def test_a_tag_taken_off_because_billing_is_wanted_is_not_put_back(project: Project) -> None:
    project.seed()
    project.double.tags.clear()
    assert project.seed().exit_code == 0
    assert not project.double.tags


def test_killed_in_the_middle_and_run_again_everyone_has_one_account(project: Project) -> None:
    project.write()
    project.double.delay = 0.03
    command = [sys.executable, "-m", "nasmigrate", "seed", "env:TARGET", "--quiet"]
    environment = {**os.environ, "TARGET": project.database}
    process = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(project.double.accounts) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    # A request that was under way still arrives; Kill Bill does not know that its sender is gone.
    time.sleep(0.2)
    made = len(project.double.accounts)
    assert 12 <= made < 40
    assert project.states().get("planned", 0) > 0
    project.double.delay = 0
    done = subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(project.double.accounts) == 40
    assert project.double.count("POST", "/accounts") <= 40 + 4
    assert project.states() == {"seeded": 40}
    assert len(project.double.tags) == 40


def test_all_violations_are_listed_and_nobody_is_sent(project: Project) -> None:
    project.sql("UPDATE users SET full_name = repeat('x', 101) WHERE id = 3")
    project.sql("UPDATE users SET phone = repeat('1', 26) WHERE id = 4")
    with pytest.raises(PreflightError) as raised:
        project.seed()
    assert raised.value.checks == (
        "'3': name has 101 characters, at most 100 fit",
        "'4': phone has 26 characters, at most 25 fit",
    )
    assert project.double.requests == []


def test_a_difference_is_a_finding_and_never_overwritten(project: Project) -> None:
    project.double.tenants["marketplace"] = "s"
    (project.folder / "tenant").write_text("s")
    (project.folder / "tenant").chmod(0o600)
    project.double.put("7", name="Somebody else", email="user7@example.org", isMigrated=True)
    result = project.seed()
    assert result.exit_code == ExitCode.DIFFERENCES
    found = {finding.identity for finding in result.findings}
    assert "ACCOUNT_DIFFERS:accounts.name" in found
    assert [difference.key for difference in result.differences if difference.column == "name"] == ["7"]
    assert "Somebody" not in result.model_dump_json()
    assert project.double.accounts["7"]["name"] == "Somebody else"
    assert project.states() == {"seeded": 39}
    project.accept = sorted(found)
    again = project.seed()
    assert again.exit_code == 0
    assert gates(again)["fields"] == "pass"
    assert again.fingerprint is None


def test_undoing_closes_exactly_what_was_made_and_a_closed_account_is_a_finding(project: Project) -> None:
    project.double.tenants["marketplace"] = "s"
    (project.folder / "tenant").write_text("s")
    (project.folder / "tenant").chmod(0o600)
    others = project.double.put("stranger")
    project.seed()
    undone = project.undo()
    assert project.undo().exit_code == 0  # there is nothing left to close
    assert (undone.exit_code, gates(undone)) == (0, {"closed": "pass"})
    assert len(project.double.closed) == 40
    assert others not in project.double.closed
    again = project.seed()
    assert again.exit_code == ExitCode.DIFFERENCES
    assert {finding.identity for finding in again.findings if finding.open} == {"ACCOUNT_CLOSED:accounts"}
    assert {finding.code: finding.count for finding in again.findings} == {"ACCOUNT_CLOSED": 40, "ACCOUNT_EXTRA": 1}


def test_a_kill_bill_made_anew_is_seeded_anew(project: Project) -> None:
    """The ledger is no proof that an account exists: Kill Bill's database may have been dropped since."""
    project.seed()
    project.undo()
    project.double.accounts.clear()
    assert project.seed().exit_code == 0
    assert len(project.double.accounts) == 40


def test_without_the_ledger_everyone_is_found_and_equal(project: Project) -> None:
    project.seed()
    project.sql("DROP SCHEMA nasmigrate CASCADE")
    sent = project.double.count("POST", "/accounts")
    assert project.seed().exit_code == 0
    assert project.double.count("POST", "/accounts") == sent
    project.undo()
    assert not project.double.closed


def test_a_failure_ends_with_exit_10_and_the_same_command_goes_on(project: Project) -> None:
    project.write(workers=1)
    project.double.fail("POST", "/tags", 400)
    with pytest.raises(KillBillError) as raised:
        project.seed()
    assert raised.value.exit_code == ExitCode.EXTERNAL_TOOL
    assert project.seed().exit_code == 0
    assert len(project.double.tags) == 40


def test_a_tenant_whose_secret_is_not_here_is_refused(project: Project) -> None:
    project.double.tenants["marketplace"] = "unknown"
    with pytest.raises(KillBillError, match="is in Kill Bill already"):
        project.seed()
    assert not (project.folder / "tenant").exists()
    assert not project.double.accounts


def test_a_tenant_whose_answer_was_lost_is_gone_on_with(project: Project) -> None:
    project.double.fail("POST", "/tenants", 500, applied=True)
    assert project.seed().exit_code == 0
    assert (project.folder / "tenant").read_text() == project.double.tenants["marketplace"]


def test_nobody_is_not_success(project: Project) -> None:
    project.sql("DELETE FROM users")
    result = project.seed()
    assert (result.exit_code, gates(result)["accounts"]) == (ExitCode.INCONCLUSIVE, "inconclusive")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT id AS externalkey FROM users", "'externalkey' is no field"),
        ("SELECT full_name AS name FROM users", "needs a column external_key"),
        ("SELECT id AS external_key, nosuch FROM users", "Postgres refuses it"),
        ("SELECT 1 AS external_key; DELETE FROM users", "Postgres refuses it"),
        ("DELETE FROM users RETURNING id AS external_key", "Postgres refuses it"),
        ("SET work_mem = '4MB'", "gives no rows"),
    ],
)
def test_a_query_that_gives_no_people_is_refused(project: Project, query: str, said: str) -> None:
    project.write(query=query)
    with pytest.raises(ConfigError, match=said):
        project.seed()
    assert project.sql("SELECT count(*) FROM users") == [(40,)]


def test_values_of_other_types_duplicates_and_nulls_are_named(project: Project) -> None:
    project.write(query="SELECT NULLIF(id / 2, 0) AS external_key, id AS name FROM users WHERE id < 4")
    with pytest.raises(PreflightError) as raised:
        project.seed()
    assert raised.value.checks == (
        "row 1: external_key is NULL",
        "'1': name is of Python's type int; cast it in the query",
        "'1': name is of Python's type int; cast it in the query",
        "'1': external_key of 2 rows",
    )


def test_times_and_uuids_come_across(project: Project) -> None:
    project.write(
        query="SELECT gen_random_uuid() AS external_key, timestamp '2020-01-02 03:04:05.678' AS reference_time"
        " FROM users WHERE id = 1"
    )
    assert project.seed().exit_code == 0
    (account,) = project.double.accounts.values()
    assert account["referenceTime"] == "2020-01-02T03:04:05.678Z"


def test_a_rehearsal_checks_the_mapping_and_says_that_nothing_was_sent(project: Project) -> None:
    gate = check_people(project.context(), project.database)
    assert (gate.name, gate.status, gate.checked) == ("seed-planned", "pass", 40)
    assert "planned, not done" in gate.detail
    assert project.double.requests == []


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, full_name TEXT, phone TEXT);"
        "INSERT INTO users (full_name) VALUES ('Ada'), ('Grace'), ('Edsger');"
    )
    connection.close()
    return path


def test_a_rehearsal_with_the_stack_seeds_a_tenant_of_its_own(project: Project, source: Path) -> None:
    project.more = "[rehearse]\ncutover = false\n"
    target = Target(conninfo=project.database, display="server")
    result = rehearse(project.context(), source, target=target, with_stack=True)
    assert result.exit_code == 0, result.gates
    assert gates(result)["seed"] == "pass"
    (tenant,) = project.double.tenants
    assert tenant.startswith("rehearsal-")
    assert {account["name"] for account in project.double.accounts.values()} == {"Ada", "Grace", "Edsger"}
    assert not (project.folder / "tenant").exists()


def test_a_rehearsal_without_it_checks_who_would_not_fit(project: Project, source: Path) -> None:
    project.more = "[rehearse]\ncutover = false\n[cutover]\nseed = true\n"
    target = Target(conninfo=project.database, display="server")
    result = rehearse(project.context(), source, target=target)
    assert gates(result)["seed-planned"] == "pass"
    connection = sqlite3.connect(source)
    connection.execute("UPDATE users SET full_name = hex(zeroblob(60)) WHERE id = 2")
    connection.commit()
    connection.close()
    result = rehearse(project.context(), source, target=target)
    (gate,) = (gate for gate in result.gates if gate.name == "seed-planned")
    assert (result.exit_code, gate.status) == (ExitCode.DIFFERENCES, "fail")
    assert "'2': name has 120 characters" in gate.detail
    assert project.double.requests == []


def test_seeding_within_a_cutover_never_raises(project: Project) -> None:
    """Kill Bill is no reason to go back: its failure is a gate without a verdict."""
    project.double.fail("POST", "/accounts", 400)
    context = project.context()
    with running(context, "cutover") as run:
        target = Target(conninfo=project.database, display="shop")
        gate = seed_within(run, context, target, again="nasmigrate seed goes on")
    assert gate.status == "inconclusive"
    assert "nasmigrate seed goes on" in gate.detail
    assert project.seed().exit_code == 0


def test_two_seedings_at_once_are_one_too_many(project: Project) -> None:
    with psycopg.connect(project.database) as connection:
        begin_seeding(connection)
        with pytest.raises(RunLocked):
            project.seed()


@pytest.mark.parametrize("words", [("--undo",), ("--undo", "--confirm", "other"), ("--undo", "--check")])
def test_undoing_needs_the_tenants_name(project: Project, words: tuple[str, ...]) -> None:
    project.write()
    done = subprocess.run(
        [sys.executable, "-m", "nasmigrate", "seed", "env:TARGET", *words],
        cwd=project.folder,
        env={**os.environ, "TARGET": project.database},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == ExitCode.USAGE
    assert project.double.requests == []
