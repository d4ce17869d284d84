"""What happens to the stack does not happen to its data: crashes, kills, down and up, a restart of the engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.stack import SERVICES, Stack, docker

HEALTHY_WITHIN = 800.0


def marketplace(stack: Stack, path: str, body: object = None) -> object:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port('marketplace')}/api{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def emails(stack: Stack) -> set[str]:
    """Of all users, page by page: other tests have made many."""
    found: set[str] = set()
    while page := marketplace(stack, f"/users?limit=500&offset={len(found)}")["users"]:
        found |= {each["email"] for each in page}
    return found


def redis(stack: Stack, *words: str) -> str:
    script = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli "$@"'
    return docker("exec", stack.container("redis"), "sh", "-c", script, "-", *words).strip()


@pytest.fixture(scope="module")
def marked(stack: Stack) -> Iterator[Stack]:
    """The stack with something in each of its stores, which must be there at the end of every test."""
    user = {"email": "marker@example.org", "full_name": "Marker", "password": "long enough"}
    assert marketplace(stack, "/users", user)["id"]
    stack.rows("marketplace", "CREATE TABLE marker AS SELECT generate_series(1, 1000) AS n")
    assert redis(stack, "SET", "marker", "here") == "OK"
    yield stack
    stack.rows("marketplace", "DROP TABLE marker")


def assert_all_there(stack: Stack) -> None:
    status = stack.must("stack", "status", "--json").json()
    assert status["ready"] is True
    assert stack.rows("marketplace", "SELECT count(*) FROM marker") == [(1000,)]
    assert stack.rows("killbill", "SELECT count(*) > 0 FROM node_infos") == [(True,)]
    assert redis(stack, "GET", "marker") == "here"
    assert "marker@example.org" in emails(stack)


def wait_until_healthy(stack: Stack) -> None:
    end = time.monotonic() + HEALTHY_WITHIN
    while time.monotonic() < end:
        if stack.nasmigrate("stack", "status").code == 0:
            return
        time.sleep(2)
    raise AssertionError(stack.nasmigrate("stack", "status").out)


def test_crash_of_every_main_process(marked: Stack) -> None:
    """They come back by themselves: nobody calls a command here."""
    for service in SERVICES:
        os.kill(marked.inspect(service)["State"]["Pid"], signal.SIGKILL)
    time.sleep(3)  # until the engine has seen them end: they were healthy a moment ago
    wait_until_healthy(marked)
    assert {service: marked.inspect(service)["RestartCount"] for service in SERVICES} == dict.fromkeys(SERVICES, 1)
    assert_all_there(marked)


def test_killed_containers_are_started_by_the_next_up(marked: Stack) -> None:
    """`docker kill` counts as an order, so the engine leaves them; `status` says so, `up` starts them."""
    docker("kill", *(marked.container(service) for service in SERVICES))
    status = marked.nasmigrate("stack", "status")
    assert status.code == 3
    assert status.out.count("exited (exit code 137)") == len(SERVICES)
    marked.must("stack", "up")
    assert_all_there(marked)


def test_kills_during_up_after_down(marked: Stack) -> None:
    """Each kill either goes unnoticed or is told with what to do; the next `up` goes on from there."""
    marked.must("stack", "down")
    assert docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={marked.project}") == ""
    for service in sorted(SERVICES, key=("redis", "marketplace_web").__contains__):  # first what keeps Kill Bill down
        stop = threading.Event()
        killer = threading.Thread(target=kill_once, args=(marked, service, stop))
        killer.start()
        ran = marked.up()
        stop.set()
        killer.join()
        if ran.code != 0:
            assert ran.code in (8, 10), ran.err
            assert "hint:" in ran.err
            assert "Traceback" not in ran.err
    marked.must("stack", "up")
    assert_all_there(marked)


def kill_once(stack: Stack, service: str, stop: threading.Event) -> None:
    """Kill the service as soon as it runs."""
    label = f"label=com.docker.compose.service={service}"
    while not stop.is_set():
        found = docker(
            "ps", "-q", "--filter", f"label=com.docker.compose.project={stack.project}", "--filter", label
        ).split()
        if found:
            docker("kill", *found, check=False)
            return
        time.sleep(0.05)


@pytest.mark.alone
def test_restart_of_the_engine(marked: Stack) -> None:
    restart_engine(marked)
    wait_until_healthy(marked)
    assert_all_there(marked)


def restart_engine(stack: Stack) -> None:
    """Stop and start the tests' own engine; one that was there before us is left alone, its containers restarted."""
    own = os.environ.get("NASMIGRATE_TEST_ENGINE")
    if own is None:
        docker("restart", *(stack.container(service) for service in SERVICES))
        return
    pidfile = Path(own) / "docker.pid"
    os.kill(int(pidfile.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + 60
    while pidfile.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not pidfile.exists(), "the engine did not stop"
    script = Path(__file__).parent.parent / "support" / "images" / "dockerd"
    # In the background of a shell: the engine outlives this test.
    subprocess.run(["sh", "-c", 'sh "$0" "$1" >> "$1/dockerd.log" 2>&1 &', str(script), own], check=True)
    while time.monotonic() < deadline + 60:
        with suppress(AssertionError):
            docker("info")
            return
        time.sleep(0.5)
    raise AssertionError("the engine did not start again")
