"""The container goes to Postgres and home again while requests arrive: what was acknowledged is there, nothing else."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from support.stack import Stack, new_stack


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
            self._register(f"load{number}@example.org")
            time.sleep(0.1)

    def _register(self, email: str) -> None:
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
        stored = Counter(self.stored())
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


def test_there_and_back_under_load(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["postgres", "redis", "marketplace_web"]) as stack:
        stack.must("stack", "up")
        agreed = ("--yes", "--confirm", "marketplace")
        with Load(stack) as load:
            stack.must("rehearse")
            before = len(load.acknowledged)
            stack.must("cutover", *agreed)
            assert engine_of(stack) == "postgres"
            time.sleep(2)
            there = len(load.acknowledged)
            stack.must("rollback", *agreed)
            assert engine_of(stack) == "sqlite"
            time.sleep(2)
        assert 0 < before < there < len(load.acknowledged), load.outcomes
        load.check()
        # The application answers 503 while it cannot write, and nothing worse.
        assert set(load.outcomes) <= {"201", "503", "no answer"}, load.outcomes
