"""Who can reach the stack, and where its secrets can be read."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from support.stack import SERVICES, Stack, docker


def listening(port: int) -> set[str]:
    return {
        each.laddr.ip for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port == port
    }


def test_ports_listen_on_loopback_only(stack: Stack) -> None:
    for name in ("postgres", "killbill", "marketplace"):
        assert listening(stack.port(name)) == {"127.0.0.1"}, name
    published = {
        service: [place["HostIp"] for places in stack.inspect(service)["NetworkSettings"]["Ports"].values() if places
                  for place in places]
        for service in SERVICES
    }  # fmt: skip
    assert published["redis"] == []
    assert {address for addresses in published.values() for address in addresses} == {"127.0.0.1"}


def test_databases_have_no_way_out_but_the_edge(stack: Stack) -> None:
    redis = stack.inspect("redis")["NetworkSettings"]["Networks"]
    assert list(redis) == [f"{stack.project}_backend"]
    assert json.loads(docker("network", "inspect", f"{stack.project}_backend"))[0]["Internal"] is True


def addresses(stack: Stack, service: str) -> list[str]:
    found = [network["IPAddress"] for network in stack.inspect(service)["NetworkSettings"]["Networks"].values()]
    assert all(ipaddress.ip_address(address).is_private for address in found)
    return found


def test_postgres_refuses_a_wrong_password_at_every_address(stack: Stack) -> None:
    places = [("127.0.0.1", stack.port("postgres")), *((address, 5432) for address in addresses(stack, "postgres"))]
    for user in ("postgres", "killbill", "marketplace_app"):
        for host, port in places:
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(
                    host=host, port=port, user=user, password="wrong", dbname="postgres", connect_timeout=10
                )


def test_redis_refuses_without_its_password(stack: Stack) -> None:
    said = docker(
        "exec", stack.container("redis"), "redis-cli", "-h", addresses(stack, "redis")[0], "ping", check=False
    )
    assert "NOAUTH" in said


def test_killbill_refuses_its_default_password(stack: Stack) -> None:
    done = subprocess.run(
        ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "-u", "admin:password",
         f"http://127.0.0.1:{stack.port('killbill')}/1.0/kb/tenants?apiKey=none"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "401"


def test_no_secret_can_be_read_from_outside_its_file(stack: Stack) -> None:
    secrets = {path.name: path.read_text() for path in (stack.folder / "secrets").iterdir()}
    shown = {
        "docker inspect": docker("inspect", *(stack.container(service) for service in SERVICES)),
        "logs": "".join(docker("logs", stack.container(service), check=False) for service in SERVICES),
        "compose config": docker(
            "compose", "--project-directory", str(stack.folder), "-p", stack.project, "config"
        ),
        "argv of every process": "".join(
            " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        ),
        "stack logs": "".join(stack.must("stack", "logs", service).out for service in SERVICES),
        "images": docker("history", "--no-trunc", "nasmigrate-test/killbill:0.22.26"),
    }  # fmt: skip
    found = [(name, place) for name, secret in secrets.items() for place, text in shown.items() if secret in text]
    assert found == []


def test_environment_of_postgres_holds_no_password(stack: Stack) -> None:
    """The server's own environment may be read by whoever can run a command as its user."""
    pid = stack.inspect("postgres")["State"]["Pid"]
    assert stack.secret("postgres_password") not in Path(f"/proc/{pid}/environ").read_text()
