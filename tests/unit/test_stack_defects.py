"""`stack import`: every defect of the plan's compose file is named, and the shipped one has none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from nasmigrate.commands._app import App
from nasmigrate.commands._group import cli
from nasmigrate.core.errors import ConfigError
from nasmigrate.stack.defects import find_defects, read_compose_file
from nasmigrate.stack.folder import shipped_folder

PLAN = Path(__file__).parent.parent / "support" / "plan_compose.yml"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """The plan's file as it lay: with its env file, and with no Dockerfile above it."""
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / ".env.postgres").write_text("PGHOST=127.0.0.1\nPGPORT=5432\n")
    return Path(shutil.copy(PLAN, folder / "docker-compose.yml"))


def test_every_defect_of_the_plan_is_found(plan: Path) -> None:
    found: dict[str, list[str]] = {}
    for defect in find_defects(read_compose_file(plan)):
        found.setdefault(defect.code, []).append(defect.where.partition(":")[0])
    assert found == {
        "NO_DOCKERFILE": ["marketplace_web"],
        "KILLBILL_VARIABLES": ["killbill"],
        "IMAGE_NOT_PINNED": ["postgres", "redis", "killbill"],
        "POSTGRES_MOUNT": ["postgres"],
        "SUPERUSER_APPLICATION": ["postgres"],
        "KILLBILL_SUPERUSER": ["killbill"],
        "KILLBILL_SHARED_DATABASE": ["killbill"],
        "KILLBILL_NO_TABLES": ["postgres"],
        "PORT_PUBLIC": ["marketplace_web", "postgres", "redis", "killbill"],
        "NETWORK_NOT_INTERNAL": ["networks"],
        "REDIS_OPEN": ["redis"],
        "NO_VOLUME": ["redis"],
        "DEPENDS_ON_STARTED": ["marketplace_web"],
        "NO_DEPENDS_ON": ["killbill"],
        "NO_HEALTHCHECK": ["marketplace_web", "postgres", "redis", "killbill"],
        "NO_RESTART": ["marketplace_web"],
        "SHM_SIZE": ["postgres"],
        "STOP_GRACE": ["postgres"],
        "POOLS": ["killbill"],
        "NO_MEMORY_LIMIT": ["marketplace_web", "postgres", "redis", "killbill"],
        "NO_LOG_ROTATION": ["marketplace_web", "postgres", "redis", "killbill"],
        "SECRET_IN_ENVIRONMENT": ["postgres", "killbill"],
        "HOST_IS_LOOPBACK": ["marketplace_web"],
    }


def test_no_secret_of_the_file_is_shown(plan: Path) -> None:
    assert not [each for each in find_defects(read_compose_file(plan)) if "marketpass" in repr(each)]


def test_the_shipped_file_has_none() -> None:
    assert find_defects(read_compose_file(shipped_folder() / "compose.yaml")) == ()


@pytest.mark.parametrize(
    ("killbill", "code"),
    [
        ("{image: killbill/killbill:0.24.21, environment: [KILLBILL_DAO_USER=killbill]}", "KILLBILL_ON_H2"),
        (
            "{image: killbill/killbill:0.24.21, healthcheck: {test: [CMD, curl, -f, 'http://localhost:8080/']}}",
            "KILLBILL_ROOT_PAGE",
        ),
    ],
)
def test_killbill_that_looks_right(tmp_path: Path, killbill: str, code: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(f"services: {{killbill: {killbill}}}")
    assert code in {each.code for each in find_defects(read_compose_file(file))}


@pytest.mark.parametrize("image", ["postgres:16", "postgres:17-alpine", "postgres@sha256:00"])
def test_older_postgres_may_keep_its_mount(tmp_path: Path, image: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(
        f"services: {{db: {{image: '{image}', environment: {{PGDATA: /x}}, volumes: ['d:/var/lib/postgresql/data']}}}}"
    )
    assert "POSTGRES_MOUNT" not in {each.code for each in find_defects(read_compose_file(file))}


@pytest.mark.parametrize("text", ["", "services: []", "a: [", "services: {}", "\x00"])
def test_what_is_no_compose_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_compose_file(file)


def test_command_names_them_and_exits_3(plan: Path) -> None:
    app = App(argv=(), environ={}, cwd=plan.parent)
    result = CliRunner().invoke(cli, ["stack", "import", str(plan)], obj=app, standalone_mode=False)
    assert result.return_value == 3
    assert "KILLBILL_DAO_URL" in result.output
    assert "marketpass" not in result.output
