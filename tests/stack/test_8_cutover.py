"""The whole road on the stack, any container killed on the way, while requests arrive.

What was acknowledged is there, nothing else is; each user has one account in Kill Bill; each command that could not do
its work says which one comes next, and that one goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import pytest
from support.stack import Ran, Stack, docker

AGREED = ("--yes", "--confirm", "marketplace")


class Load:
    """Registers one user after another, each once, and remembers what came of it."""

    def __init__(self, stack: Stack) -> None:
        self.base = f"http://127.0.0.1:{stack.port('marketplace')}/api"
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.unanswered: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            self.register(f"load{number}@example.org")
            time.sleep(2)  # each of them is an account to be made

    def register(self, email: str) -> None:
        body = json.dumps({"email": email, "full_name": "Load", "password": "pw"}).encode()
        request = urllib.request.Request(f"{self.base}/users", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.acknowledged.add(json.load(answer)["email"])
                self.outcomes["201"] += 1
        except urllib.error.HTTPError as error:
            self.refused.add(email)
            self.outcomes[str(error.code)] += 1
        except (OSError, ValueError):  # cut off while the container is made anew: it may have been stored or not
            self.unanswered.add(email)
            self.outcomes["no answer"] += 1

    def stored(self) -> list[str]:
        found: list[str] = []
        while True:
            page = f"{self.base}/users?limit=500&offset={len(found)}"
            with urllib.request.urlopen(page, timeout=30) as answer:
                users = json.load(answer)["users"]
            if not users:
                return found
            found += [user["email"] for user in users]

    def check(self) -> None:
        """Every acknowledged user is stored once; no refused one is; others only if nobody heard of them."""
        stored = Counter(email for email in self.stored() if email.startswith("load"))
        assert set(stored.values()) <= {1}
        assert self.acknowledged <= set(stored), f"lost: {self.acknowledged - set(stored)}"
        assert not self.refused & set(stored), f"refused, yet stored: {self.refused & set(stored)}"
        assert set(stored) <= self.acknowledged | self.unanswered


def engine_of(stack: Stack) -> str:
    """Which database the application says it runs on, as soon as it answers again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{stack.port('marketplace')}/api/health", timeout=30
            ) as answer:
                return json.load(answer)["database"]["engine"]
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def account_keys(stack: Stack, tenant: str) -> Counter[str]:
    """The external keys of a tenant's accounts, by Kill Bill's own table."""
    found = stack.rows(
        "killbill",
        "SELECT external_key FROM accounts WHERE tenant_record_id ="
        f" (SELECT record_id FROM tenants WHERE api_key = '{tenant}')",
    )
    return Counter(str(key) for (key,) in found)


def user_keys(stack: Stack) -> Counter[str]:
    return Counter(str(key) for (key,) in stack.rows("marketplace", "SELECT id FROM users"))


def kill(stack: Stack, *services: str) -> str:
    """The command that kills the containers of these services."""
    return " ".join(["docker", "kill", *(stack.container(service) for service in services)])


def rehearse_and_kill(stack: Stack, phase: str, *services: str) -> Ran:
    """`rehearse --with-stack`; the containers are killed as soon as it says that it has come to this phase."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate", "--json-events", "rehearse", "--with-stack"],
        cwd=stack.home,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said, killed = [], False
    for line in process.stdout:
        said.append(line)
        event = json.loads(line)
        if not killed and event.get("kind") == "phase" and event["phase"] == phase:
            docker("kill", *(stack.container(service) for service in services))
            killed = True
    err = process.communicate(timeout=300)[1]
    assert killed, said[-3:]
    return Ran(code=process.returncode, out=said[-1], err=err)


@pytest.fixture(scope="module", autouse=True)
def peopled(stack: Stack) -> None:
    """Someone to be moved, whichever tests ran before."""
    load = Load(stack)
    for number in range(8):
        load.register(f"first{number}@example.org")
    assert load.outcomes == {"201": 8}


@pytest.fixture(scope="module")
def rehearsed(stack: Stack) -> str:
    """The stack's application was rehearsed; the tenant that the rehearsal seeded."""
    before = {str(key) for (key,) in stack.rows("killbill", "SELECT api_key FROM tenants")}
    ran = stack.must("rehearse", "--with-stack", "--json")
    gates = {gate["name"]: gate["status"] for gate in ran.json()["gates"]}
    assert set(gates.values()) == {"pass"}
    assert "seed" in gates
    (tenant,) = {str(key) for (key,) in stack.rows("killbill", "SELECT api_key FROM tenants")} - before
    return tenant


def test_killed_containers_stop_a_rehearsal_and_nothing_else(stack: Stack) -> None:
    """Kill Bill takes the seeding with it, Postgres the rehearsal; the application's file was only read."""
    users = Load(stack).stored()
    without = rehearse_and_kill(stack, "people", "killbill", "redis", "marketplace_web")
    assert without.code == 4, without.err
    (seeding,) = [gate for gate in json.loads(without.out)["result"]["gates"] if gate["name"] == "seed"]
    assert seeding["status"] == "inconclusive"
    assert "nasmigrate stack status, then rehearse again" in seeding["detail"]
    assert without.err == ""
    stack.must("stack", "up")
    without = rehearse_and_kill(stack, "copy", "postgres")
    assert without.code == 8, without.err
    assert "Traceback" not in without.err
    stack.must("stack", "up")
    assert Load(stack).stored() == users


def test_a_rehearsal_seeds_a_tenant_of_its_own_and_leaves_no_database(stack: Stack, rehearsed: str) -> None:
    assert rehearsed.startswith("rehearsal-")
    seeded = account_keys(stack, rehearsed)
    assert len(seeded) == len(Load(stack).stored())
    assert set(seeded.values()) == {1}
    databases = {name for (name,) in stack.rows("postgres", "SELECT datname FROM pg_database")}
    of_other_tests = {name for name in databases if name.startswith("people_")}
    assert databases - of_other_tests == {"postgres", "template0", "template1", "marketplace", "killbill"}


@pytest.mark.usefixtures("rehearsed")
def test_there_and_back_under_load_whatever_is_killed(stack: Stack) -> None:
    before_freeze, after_open = "NASMIGRATE_CUTOVER_BEFORE_FREEZE", "NASMIGRATE_CUTOVER_AFTER_OPEN"
    with Load(stack) as load:
        # Before the freeze nothing has happened to the application.
        ran = stack.nasmigrate("cutover", *AGREED, environ={before_freeze: kill(stack, "postgres")})
        assert ran.code == 12, ran.err
        assert "SQLite serves as before" in ran.err
        assert "nasmigrate stack up" in ran.err
        assert engine_of(stack) == "sqlite"
        stack.must("stack", "up")

        # A dead application is started on Postgres; without Kill Bill everything but its part is done.
        ran = stack.nasmigrate(
            "cutover",
            *AGREED,
            environ={
                before_freeze: kill(stack, "redis", "marketplace_web"),
                after_open: kill(stack, "killbill"),
            },
        )
        assert ran.code == 10, ran.out + ran.err
        assert "Postgres serves; nasmigrate seed goes on" in ran.out
        written = json.loads((stack.home / ".nasmigrate" / "runs" / "latest" / "result.json").read_text())
        (dump,) = [gate for gate in written["gates"] if gate["name"] == "dump"]
        assert dump["status"] == "pass", dump  # by the tools inside the container
        assert dump["detail"].endswith("tables of marketplace")
        assert engine_of(stack) == "postgres"
        stack.must("stack", "up")
        users = user_keys(stack)
        stack.must("seed")
        accounts = account_keys(stack, "marketplace")
        assert users <= accounts
        assert set(accounts.values()) == {1}
        there = len(load.acknowledged)
        ran = stack.must("rollback", *AGREED)
        assert "Kill Bill keeps the accounts" in ran.err
        assert engine_of(stack) == "sqlite"

        # Opened, and gone before the application came: nobody writes until Postgres is back.
        ran = stack.nasmigrate(
            "cutover",
            *AGREED,
            environ={after_open: kill(stack, "postgres"), "NASMIGRATE_APP_ARRIVAL_TIMEOUT": "5"},
        )
        assert ran.code == 4, ran.out + ran.err
        assert "then nasmigrate resume" in ran.out
        stack.must("stack", "up")
        resumed = stack.nasmigrate("resume")
        # 4: what was written since the opening cannot be told from what was wrong.
        assert resumed.code in (0, 4), resumed.out + resumed.err
        assert "sessions of role marketplace_app on Postgres" in resumed.out
        assert "did:  seed: each of" in resumed.out
        assert engine_of(stack) == "postgres"
        # The same people are not seeded twice, those who came home and went again neither.
        accounts = account_keys(stack, "marketplace")
        assert users <= accounts
        assert set(accounts.values()) == {1}
        stack.must("rollback", *AGREED)
        assert engine_of(stack) == "sqlite"
        time.sleep(1)
    assert 0 < there < len(load.acknowledged), load.outcomes
    load.check()
    # The application answers 503 while it cannot write, and nothing worse.
    assert set(load.outcomes) <= {"201", "503", "no answer"}, load.outcomes
