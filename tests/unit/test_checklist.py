"""The lines of the checklist that are read off containers, folder and network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nasmigrate.stack import checklist
from nasmigrate.stack.containers import Container, Mount, Port
from nasmigrate.stack.secrets import secret_problems


def container(service: str = "postgres", **changes: object) -> Container:
    made = Container(
        id=service,
        name=f"p-{service}-1",
        project="p",
        service=service,
        folder="/here",
        image=f"{service}:1",
        state="running",
        health="healthy",
        exit_code=0,
        out_of_memory=False,
        error="",
        restarts=0,
        restart_policy="unless-stopped",
        started_at=None,
        ports=(Port(address="127.0.0.1", host=5433, container=5432),),
        mounts=(Mount(kind="volume", source="p_pgdata", destination="/var/lib/postgresql"),),
        networks=("p_backend", "p_edge"),
        environment={"POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"},
    )
    return replace(made, **changes)


def test_all_is_well() -> None:
    containers = [container()]
    assert [line.status for line in checklist.running(containers, ["postgres"])] == ["ok"]
    assert checklist.restart_policies(containers).status == "ok"
    assert checklist.data_is_kept(containers).evidence == "postgres in p_pgdata"
    assert checklist.ports(containers).status == "ok"
    assert checklist.network(containers, {"p_backend": True, "p_edge": False}).status == "ok"


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        ({"state": "exited", "exit_code": 137}, "exited (exit code 137)"),
        ({"health": "unhealthy"}, "unhealthy"),
        ({"health": ""}, "has no health check"),
        ({"state": "restarting", "restarts": 4}, "restarting, 4 restarts"),
    ],
)
def test_a_service_that_is_not_well(changes: dict[str, object], evidence: str) -> None:
    (line,) = checklist.running([container(**changes)], ["postgres"])
    assert line.status == "fail"
    assert evidence in line.evidence


def test_a_service_that_is_not_there() -> None:
    (line,) = checklist.running([], ["postgres"])
    assert (line.status, line.evidence) == ("fail", "no container")


def test_a_port_open_to_the_network() -> None:
    line = checklist.ports([container(ports=(Port(address="0.0.0.0", host=5432, container=5432),))])
    assert (line.status, line.evidence) == ("fail", "published to the network: postgres on 0.0.0.0:5432")


def test_data_inside_the_container() -> None:
    assert checklist.data_is_kept([container(mounts=())]).status == "fail"
    assert checklist.data_is_kept([]).status == "fail"


def test_not_back_after_a_reboot() -> None:
    assert "postgres" in checklist.restart_policies([container(restart_policy="no")]).evidence
    assert checklist.restart_policies([]).status == "fail"


def test_database_with_a_way_out() -> None:
    assert checklist.network([container()], {"p_backend": False, "p_edge": False}).status == "fail"
    assert checklist.network([], {}).status == "fail"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    for name in ("postgres_password", "redis_password"):
        (folder / name).write_text(f"secret of {name}")
        (folder / name).chmod(0o444)
    return folder


def test_secrets_apart(secrets: Path) -> None:
    line = checklist.secrets_apart(secrets, [container()])
    assert (line.status, line.evidence) == ("ok", "2 files in a folder with mode 0700, all different")


def test_what_dsm_puts_into_folders_is_no_secret(secrets: Path) -> None:
    (secrets / "@eaDir").mkdir()
    assert checklist.secrets_apart(secrets, [container()]).evidence.startswith("2 files")
    assert secret_problems(secrets) == ()
    (secrets / "other").mkdir()
    assert secret_problems(secrets) == (f"{secrets / 'other'}: not a plain file",)


def test_one_secret_for_two_purposes(secrets: Path) -> None:
    (secrets / "redis_password").chmod(0o600)
    (secrets / "redis_password").write_text((secrets / "postgres_password").read_text())
    line = checklist.secrets_apart(secrets, [])
    assert "redis_password and postgres_password are the same" in line.evidence
    assert line.status == "fail"


def test_a_secret_in_an_environment(secrets: Path) -> None:
    leaking = container(environment={"URL": "redis://:secret of redis_password@redis"})
    line = checklist.secrets_apart(secrets, [leaking])
    assert line.status == "fail"
    assert "redis_password is in the environment of postgres" in line.evidence
    assert "secret of" not in line.evidence


def test_a_folder_that_others_may_enter(secrets: Path) -> None:
    secrets.chmod(0o755)
    assert checklist.secrets_apart(secrets, []).status == "fail"
    assert checklist.secrets_apart(secrets / "absent", []).status == "fail"


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (200, {"integrations_registered": 3, "database": {"engine": "postgres"}}, "ok"),
        (200, {"integrations_registered": 3}, "fail"),
        (200, {"ok": True, "db": "connected"}, "fail"),
        (200, ["no object"], "fail"),
        (503, {"integrations_registered": 3, "database": {"engine": "postgres"}}, "fail"),
    ],
)
def test_health_of_the_marketplace(status: int, document: object, expected: str) -> None:
    assert checklist.marketplace_health(status, json.dumps(document), "http://x/api/health").status == expected


@pytest.mark.parametrize(("on_record", "expected"), [(None, "ok"), ("sqlite", "ok"), ("postgres", "fail")])
def test_a_marketplace_on_another_engine_than_the_one_that_serves(on_record: str | None, expected: str) -> None:
    document = json.dumps({"integrations_registered": 3, "database": {"engine": "sqlite"}})
    line = checklist.marketplace_health(200, document, "u", on_record=on_record)
    assert line.status == expected
    assert ("but postgres is what serves" in line.evidence) == (expected == "fail")


def test_health_that_is_not_there() -> None:
    assert checklist.marketplace_health(None, "connection refused", "u").evidence == "u: no answer: connection refused"
    assert checklist.marketplace_health(200, "<html>", "u").status == "fail"
