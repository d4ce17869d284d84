"""Where `docker` and compose are: on PATH, or where Synology's packages put them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import StackError, ToolMissing
from nasmigrate.stack.advice import explain
from nasmigrate.stack.runner import Runner

PLACES = (
    "/usr/local/bin",
    "/usr/bin",
    "/var/packages/ContainerManager/target/usr/bin",  # DSM 7.2 and later
    "/var/packages/Docker/target/usr/bin",  # DSM before 7.2
)
"""Looked at after PATH: DSM's Task Scheduler and its sudo have a PATH without /usr/local/bin."""

ANSWER_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The programs that answered.

    Attributes:
        docker: path of the client.
        compose: how compose begins: `docker compose`, or `docker-compose` where that is all there is.
        compose_version: such as `2.26.1`.
        engine_version: the daemon's, such as `20.10.24`.
    """

    docker: str
    compose: tuple[str, ...]
    compose_version: str
    engine_version: str


def find_tools(runner: Runner, environ: Mapping[str, str]) -> Tools:
    """Find both, and ask the engine its version.

    Raises:
        ToolMissing: no docker, or no compose.
        StackError: the engine does not answer.
    """
    docker = _find("docker", environ)
    if docker is None:
        raise ToolMissing(
            "docker: not found on PATH nor where DSM puts it",
            hint="install Docker (on DSM: Container Manager in the Package Center)",
        )
    compose, version = _compose(docker, runner, environ)
    answer = runner.run([docker, "version", "--format", "{{.Server.Version}}"], timeout=ANSWER_TIMEOUT)
    if answer.code != 0:
        advice = explain(answer.stderr + answer.stdout)
        raise StackError(
            f"the Docker engine does not answer: {_last_line(answer.stderr) or 'no reason given'}",
            hint=advice.fix if advice else "start the Docker service, then try again",
            code="NM1012",
        )
    return Tools(docker=docker, compose=compose, compose_version=version, engine_version=answer.stdout.strip())


def _compose(docker: str, runner: Runner, environ: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    plugin = runner.run([docker, "compose", "version", "--short"], timeout=ANSWER_TIMEOUT)
    if plugin.code == 0:
        return (docker, "compose"), plugin.stdout.strip().removeprefix("v")
    single = _find("docker-compose", environ)
    if single is not None:
        answer = runner.run([single, "version", "--short"], timeout=ANSWER_TIMEOUT)
        if answer.code == 0:
            return (single,), answer.stdout.strip().removeprefix("v")
    raise ToolMissing(
        "Docker Compose: neither `docker compose` nor `docker-compose` works",
        hint="install the compose plugin (Debian: docker-compose or docker-compose-plugin)",
    )


def _find(name: str, environ: Mapping[str, str]) -> str | None:
    path = environ.get("PATH", "")
    return shutil.which(name, path=":".join((path, *PLACES)) if path else ":".join(PLACES))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def path_for_children(environ: Mapping[str, str]) -> str:
    """PATH with DSM's folders at its end, so that docker finds its own plugins and helpers."""
    present = [place for place in PLACES if Path(place).is_dir()]
    return ":".join([part for part in (environ.get("PATH", ""), *present) if part])
