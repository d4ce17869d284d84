"""What the engine says of the stack's containers. Found by compose's labels: their names differ between v1 and v2."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nasmigrate.core.errors import StackError
from nasmigrate.stack.advice import explain
from nasmigrate.stack.runner import Runner

LABEL_PROJECT = "com.docker.compose.project"
LABEL_SERVICE = "com.docker.compose.service"
LABEL_FOLDER = "com.docker.compose.project.working_dir"
LABEL_ONE_OFF = "com.docker.compose.oneoff"
TIMEOUT = 60.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A volume (`source` is its name) or a bind mount (`source` is the host's folder)."""

    kind: str
    source: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A published port of the host: `address` such as 127.0.0.1."""

    address: str
    host: int
    container: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container as `docker inspect` shows it.

    Attributes:
        state: created, running, restarting, exited, paused, dead.
        health: starting, healthy, unhealthy; empty without a health check.
        exit_code: of its last end.
        restarts: by the restart policy since it was created.
        restart_policy: no, on-failure, always, unless-stopped.
        started_at: the start of its present or last run, or None.
        folder: the folder compose was run for.
        environment: name -> value as configured; secrets are files, so a secret here is a defect.
    """

    id: str
    name: str
    project: str
    service: str
    folder: str
    image: str
    state: str
    health: str
    exit_code: int
    out_of_memory: bool
    error: str
    restarts: int
    restart_policy: str
    started_at: datetime | None
    ports: tuple[Port, ...]
    mounts: tuple[Mount, ...]
    networks: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Running, and healthy if it says anything of its health."""
        return self.state == "running" and self.health in ("", "healthy")


def read_containers(runner: Runner, docker: str, *, project: str | None = None) -> tuple[Container, ...]:
    """The containers of a compose project, or of all of them, sorted by service. One-off ones are left out.

    Raises:
        StackError: the engine does not answer.
    """
    label = LABEL_PROJECT if project is None else f"{LABEL_PROJECT}={project}"
    listed = runner.run([docker, "ps", "-aq", "--no-trunc", "--filter", f"label={label}"], timeout=TIMEOUT)
    _require(listed.code, listed.stderr)
    identifiers = listed.stdout.split()
    if not identifiers:
        return ()
    # One that vanished between the two calls makes inspect exit 1 and still print the others.
    shown = runner.run([docker, "inspect", "--type", "container", *identifiers], timeout=TIMEOUT)
    try:
        documents = json.loads(shown.stdout)
    except json.JSONDecodeError:
        _require(shown.code or 1, shown.stderr)
        raise
    found = (container_of(document) for document in documents)
    return tuple(sorted((each for each in found if each is not None), key=lambda each: (each.project, each.service)))


def read_log(runner: Runner, docker: str, container: Container, *, lines: int) -> tuple[str, ...]:
    """The last lines a container wrote, stdout and stderr in one order, without colours."""
    done = runner.run([docker, "logs", "--timestamps", "--tail", str(lines), container.id], timeout=TIMEOUT)
    stamped = sorted(  # stable, and the time comes first, with all its nine digits
        [*done.stdout.splitlines(), *done.stderr.splitlines()], key=lambda line: line.partition(" ")[0]
    )
    return tuple(_COLOUR.sub("", line.partition(" ")[2]) for line in stamped)[-lines:]


def internal_networks(runner: Runner, docker: str, containers: Sequence[Container]) -> dict[str, bool]:
    """The networks the containers are on -> whether it is internal: without a way out of this machine.

    Raises:
        StackError: the engine does not answer.
    """
    names = sorted({name for each in containers for name in each.networks})
    if not names:
        return {}
    shown = runner.run([docker, "network", "inspect", *names], timeout=TIMEOUT)
    _require(shown.code, shown.stderr)
    return {each["Name"]: bool(each.get("Internal")) for each in json.loads(shown.stdout)}


def container_of(document: Mapping[str, Any]) -> Container | None:
    """One element of `docker inspect`; None for a one-off container of `compose run`."""
    labels: Mapping[str, str] = document["Config"].get("Labels") or {}
    if labels.get(LABEL_ONE_OFF, "False").lower() == "true":
        return None
    state: Mapping[str, Any] = document["State"]
    return Container(
        id=document["Id"],
        name=str(document["Name"]).removeprefix("/"),
        project=labels.get(LABEL_PROJECT, ""),
        service=labels.get(LABEL_SERVICE, ""),
        folder=labels.get(LABEL_FOLDER, ""),
        image=document["Config"].get("Image", ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=state.get("ExitCode", 0),
        out_of_memory=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        restarts=document.get("RestartCount", 0),
        restart_policy=document["HostConfig"]["RestartPolicy"]["Name"],
        started_at=_moment(state.get("StartedAt", "")),
        ports=_ports(document["NetworkSettings"].get("Ports") or {}),
        mounts=tuple(
            Mount(
                kind=each.get("Type", ""),
                source=each.get("Name") or each.get("Source", ""),
                destination=each.get("Destination", ""),
            )
            for each in document.get("Mounts") or ()
        ),
        networks=tuple(sorted(document["NetworkSettings"].get("Networks") or ())),
        environment=_environment(document["Config"].get("Env") or ()),
    )


def _environment(lines: Sequence[str]) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in lines)


def _ports(published: Mapping[str, Sequence[Mapping[str, str]] | None]) -> tuple[Port, ...]:
    return tuple(
        Port(address=each["HostIp"], host=int(each["HostPort"]), container=int(inside.partition("/")[0]))
        for inside, places in sorted(published.items())
        for each in places or ()
    )


def _moment(text: str) -> datetime | None:
    """Docker's RFC 3339 with nanoseconds; `0001-01-01T00:00:00Z` means never."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")


def _require(code: int, stderr: str) -> None:
    if code != 0:
        advice = explain(stderr)
        raise StackError(
            f"docker: {stderr.strip() or 'failed without a reason'}", hint=advice.fix if advice else None, code="NM1012"
        )
