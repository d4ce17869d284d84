"""Seeding the real Kill Bill: one account per person through kills of either side; undone for good, and only ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from support.stack import Ran, Stack, docker

PEOPLE = int(os.environ.get("NASMIGRATE_SEED_PEOPLE", "60"))
"""Half of them are more than one record of the ledger (RECORD_EVERY); `make soak` takes 2,000."""


@dataclass(frozen=True, kw_only=True)
class People:
    """A database of the stack with users, to be seeded into a tenant of its own."""

    stack: Stack
    name: str

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PGPASSWORD": self.stack.secret("postgres_password"),
            "NASMIGRATE_TARGET_DSN": f"postgresql://postgres@127.0.0.1:{self.stack.port('postgres')}/{self.name}",
            "NASMIGRATE_TARGET_PASSWORD_FILE": "stack/secrets/postgres_password",
            "NASMIGRATE_KILLBILL_URL": f"http://127.0.0.1:{self.stack.port('killbill')}",
            "NASMIGRATE_KILLBILL_API_KEY": self.name,
            "NASMIGRATE_KILLBILL_API_SECRET_FILE": f"{self.name}.secret",
            "NASMIGRATE_KILLBILL_CURRENCY": "EUR",
            "NASMIGRATE_KILLBILL_TIME_ZONE": "Asia/Calcutta",
            "NASMIGRATE_KILLBILL_LOCALE": "de_DE",
        }

    def seed(self, *words: str) -> Ran:
        return self.stack.nasmigrate("seed", *words, environ=self.environ)

    def started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "nasmigrate", "seed", "--quiet"],
            cwd=self.stack.home,
            env={**os.environ, **self.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def ask(self, query: str, *, database: str | None = None) -> list[tuple[object, ...]]:
        return self.stack.rows(database or self.name, query)

    def accounts(self) -> tuple[int, int]:
        """Kill Bill's own rows: how many accounts this tenant has, and how many different keys."""
        (row,) = self.ask(
            "SELECT count(*), count(DISTINCT external_key) FROM accounts WHERE tenant_record_id ="
            f" (SELECT record_id FROM tenants WHERE api_key = '{self.name}')",
            database="killbill",
        )
        return int(str(row[0])), int(str(row[1]))

    def until(self, wanted: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until Kill Bill has that many accounts of this tenant, while the process goes on."""
        deadline = time.monotonic() + 240 + wanted
        while self.accounts()[0] < wanted:
            assert process.poll() is None, process.communicate()[1].decode()
            assert time.monotonic() < deadline, f"{self.accounts()} of {wanted} accounts"
            time.sleep(0.1)


@contextmanager
def people(stack: Stack, count: int) -> Iterator[People]:
    made = People(stack=stack, name=f"people_{uuid4().hex[:10]}")
    made.ask(f"CREATE DATABASE {made.name} TEMPLATE template0", database="postgres")
    made.ask(
        "CREATE TABLE users (id bigint PRIMARY KEY, email text, full_name text, phone text);"
        " INSERT INTO users SELECT i, 'user' || i || '@example.org', 'Ümlaut ' || i, '+49 ' || i"
        f" FROM generate_series(1, {count}) AS i"
    )
    yield made


def test_killed_in_the_middle_and_run_again_everyone_has_one_account(stack: Stack) -> None:
    with people(stack, PEOPLE) as made:
        process = made.started()
        made.until(PEOPLE // 2, process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert made.accounts()[0] < PEOPLE
        done = made.seed("--json")
        assert done.code == 0, done.err
        assert made.accounts() == (PEOPLE, PEOPLE)
        assert made.ask("SELECT state, count(*)::int FROM nasmigrate.seeded GROUP BY state") == [("seeded", PEOPLE)]
        tagged = made.ask(
            "SELECT count(DISTINCT object_id)::int FROM tags WHERE is_active AND object_type = 'ACCOUNT'"
            " AND tag_definition_id = '00000000-0000-0000-0000-000000000002' AND tenant_record_id ="
            f" (SELECT record_id FROM tenants WHERE api_key = '{made.name}')",
            database="killbill",
        )
        assert tagged == [(PEOPLE,)]
        gates = {gate["name"]: gate["status"] for gate in done.json()["gates"]}
        assert set(gates.values()) == {"pass"}


def test_containers_killed_in_the_middle_are_said_and_the_same_command_goes_on(stack: Stack) -> None:
    """Redis and the marketplace are not missed, Kill Bill is."""
    with people(stack, 24) as made:
        process = made.started()
        made.until(5, process)
        docker("kill", stack.container("redis"), stack.container("marketplace_web"))
        made.until(12, process)
        docker("kill", stack.container("killbill"))
        _, said = process.communicate(timeout=240)
        assert process.returncode == 10, said.decode()
        assert "stack status" in said.decode()
        stack.must("stack", "up")
        done = made.seed()
        assert done.code == 0, done.err
        assert made.accounts() == (24, 24)


def test_postgres_killed_in_the_middle_doubles_and_loses_nobody(stack: Stack) -> None:
    """Without it there is neither Kill Bill nor ledger."""
    with people(stack, 24) as made:
        process = made.started()
        made.until(8, process)
        docker("kill", stack.container("postgres"))
        _, said = process.communicate(timeout=300)
        assert process.returncode in (8, 10), said.decode()
        assert "nasmigrate stack" in said.decode()
        stack.must("stack", "up")
        done = made.seed()
        assert done.code == 0, done.err
        assert made.accounts() == (24, 24)


def test_undone_exactly_ours_are_closed_and_met_again_they_are_a_finding(stack: Stack) -> None:
    with people(stack, 6) as made:
        assert made.seed().code == 0
        undone = made.seed("--undo", "--confirm", made.name)
        assert undone.code == 0, undone.err
        again = made.seed("--json")
        assert again.code == 3
        assert [(found["code"], found["count"]) for found in again.json()["findings"]] == [("ACCOUNT_CLOSED", 6)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE users SET full_name = repeat('x', 101) WHERE id = 2", "name has 101 characters"),
        ("UPDATE users SET phone = repeat('1', 26) WHERE id = 2", "phone has 26 characters"),
    ],
)
def test_what_kill_bill_would_answer_500_to_is_never_sent(stack: Stack, change: str, said: str) -> None:
    with people(stack, 3) as made:
        made.ask(change)
        done = made.seed()
        assert done.code == 6
        assert said in done.err
        assert made.accounts() == (0, 0)
