"""compose.yaml as compose understands it, all profiles in; and the older compose that many a DSM has carries it too."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.stack import docker, new_stack

from nasmigrate.stack.folder import prepare

OFFICIAL = {
    "postgres": "postgres:17-bookworm",
    "redis": "redis:8.0-bookworm",
    "killbill": "killbill/killbill:0.24.21",
    "marketplace_web": "nasmigrate/marketplace_web:1",
    "cloudflared": "cloudflare/cloudflared:2025.8.1",
    "nasmigrate": "nasmigrate/cli:1",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The file as shipped, with the images it names itself."""
    folder = tmp_path_factory.mktemp("stack")
    prepare(folder, {})
    file = ("-f", str(folder / "compose.yaml"))
    return yaml.safe_load(
        docker("compose", "-p", "shipped", *file, "--profile", "tunnel", "--profile", "tools", "config")
    )


def test_every_image_is_pinned(whole: dict) -> None:
    assert {name: service["image"] for name, service in whole["services"].items()} == OFFICIAL


def test_only_what_is_named_starts_without_a_profile(whole: dict) -> None:
    profiles = {name: service["profiles"] for name, service in whole["services"].items() if service.get("profiles")}
    assert profiles == {"cloudflared": ["tunnel"], "nasmigrate": ["tools"]}


def test_the_tunnel_reaches_the_marketplace_alone(whole: dict) -> None:
    """On the internal network it would reach Postgres, Redis and Kill Bill."""
    tunnel = whole["services"]["cloudflared"]
    assert list(tunnel["networks"]) == ["edge"]
    assert "ports" not in tunnel
    assert tunnel["environment"] == {"TUNNEL_TOKEN_FILE": "/run/secrets/tunnel_token"}
    assert [secret["source"] for secret in tunnel["secrets"]] == ["tunnel_token"]
    assert tunnel["restart"] == "unless-stopped"


def test_the_tool_in_a_container_has_neither_a_way_out_nor_the_engine(whole: dict) -> None:
    tool = whole["services"]["nasmigrate"]
    assert list(tool["networks"]) == ["backend"]
    assert whole["networks"]["backend"]["internal"] is True
    assert "ports" not in tool
    assert {mount["target"] for mount in tool["volumes"]} == {"/work", "/data"}
    assert not any("docker.sock" in mount["source"] for mount in tool["volumes"])


@pytest.mark.parametrize("name", OFFICIAL)
def test_limits_and_logs(whole: dict, name: str) -> None:
    service = whole["services"][name]
    assert int(service["mem_limit"]) > 0
    assert service["logging"]["options"] == {"max-file": "3", "max-size": "10m"}
    assert {port["host_ip"] for port in service.get("ports", ())} <= {"127.0.0.1"}


def test_without_the_plugin_docker_compose_carries_the_stack(tmp_path: Path) -> None:
    """The same file, commands and folder; Debian's docker-compose is 1.29.2 in bookworm, as in many a DSM."""
    (tmp_path / "no-plugins").mkdir()
    old = {"DOCKER_CONFIG": str(tmp_path / "no-plugins")}
    with new_stack(tmp_path / "home", ["postgres", "redis"]) as stack:
        assert stack.nasmigrate("stack", "up", environ=old).code == 0
        first = {service: stack.container(service) for service in ("postgres", "redis")}
        again = stack.nasmigrate("stack", "up", "--json", environ=old)
        assert (again.code, again.json()["already_running"]) == (0, True)
        assert stack.nasmigrate("stack", "status", environ=old).code == 0
        docker("kill", first["redis"])
        assert stack.nasmigrate("stack", "up", environ=old).code == 0
        assert stack.container("redis") == first["redis"]
        down = stack.nasmigrate("stack", "down", environ=old)
        assert (down.code, down.out) == (0, "down; all data is kept\n")
        # What one compose left, the other takes over.
        stack.must("stack", "up")
        assert stack.must("stack", "down", "--remove-volume", f"{stack.project}_pgdata").code == 0
