"""A stack of the test images in a folder, a project and on ports of its own, driven through the command line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

IMAGES = {
    "NASMIGRATE_POSTGRES_IMAGE": "nasmigrate-test/postgres:17",
    "NASMIGRATE_REDIS_IMAGE": "nasmigrate-test/redis:8",
    "NASMIGRATE_KILLBILL_IMAGE": "nasmigrate-test/killbill:0.22.26",
    "NASMIGRATE_MARKETPLACE_IMAGE": "nasmigrate-test/marketplace_web:1",
}
PORTS = ("NASMIGRATE_POSTGRES_PORT", "NASMIGRATE_KILLBILL_PORT", "NASMIGRATE_MARKETPLACE_PORT")
SERVICES = ("postgres", "redis", "killbill", "marketplace_web")
TIMEOUT = 900.0
UP_TIMEOUT = 800.0
"""Seconds for a stack to become healthy: Kill Bill's start takes minutes where many share two processors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> dict:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """`home` has nasmigrate.toml, `home/stack` is what `stack up` makes."""

    home: Path
    project: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.home / "stack"

    def nasmigrate(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "nasmigrate", *arguments],
            cwd=self.home,
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Ran(code=done.returncode, out=done.stdout, err=done.stderr)

    def up(self) -> Ran:
        return self.nasmigrate("stack", "up")

    def must(self, *arguments: str) -> Ran:
        """A command that has to end with 0; what it said is in the failure."""
        ran = self.nasmigrate(*arguments)
        assert ran.code == 0, f"nasmigrate {' '.join(arguments)}: exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        label = "label=com.docker.compose"
        found = docker(
            "ps", "-aq", "--no-trunc", "--filter", f"{label}.project={self.project}", "--filter",
            f"{label}.service={service}",
        ).split()  # fmt: skip
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def inspect(self, service: str) -> dict:
        return json.loads(docker("inspect", self.container(service)))[0]

    def superuser(self, database: str) -> psycopg.Connection:
        """A connection to one of the stack's databases that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port("postgres"),
            user="postgres",
            password=self.secret("postgres_password"),
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What a query brings from one of the stack's databases, as the superuser."""
        with self.superuser(database) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def secret(self, name: str) -> str:
        return (self.folder / "secrets" / name).read_text()

    def port(self, name: str) -> int:
        return int(self.variables[f"NASMIGRATE_{name.upper()}_PORT"])

    def set_variables(self, **changes: str) -> None:
        """Write .env anew with these changes."""
        self.variables.update(changes)
        self.folder.mkdir(exist_ok=True)
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))


@contextmanager
def new_stack(home: Path, services: Sequence[str] = SERVICES, *, project: str | None = None) -> Iterator[Stack]:
    """A folder ready for `stack up`; at the end everything of it is gone from the engine."""
    assert_engine()
    name = project or f"nasmigrate-test-{uuid.uuid4().hex[:8]}"
    home.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(f'"{service}"' for service in services)
    (home / "nasmigrate.toml").write_text(
        f'[stack]\nproject = "{name}"\nservices = [{listed}]\ntimeout = {UP_TIMEOUT}\n'
    )
    (home / "nasmigrate.toml").chmod(0o600)
    stack = Stack(home=home, project=name)
    stack.set_variables(**IMAGES, **{port: str(free_port()) for port in PORTS})
    try:
        yield stack
    finally:
        remove_project(name)


def assert_engine() -> None:
    """Fail, never skip: without an engine these tests say nothing."""
    done = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"no Docker engine: run `make stack`\n{done.stderr}"


def remove_project(project: str) -> None:
    label = f"label=com.docker.compose.project={project}"
    for kind, listing, removal in (
        ("container", ("ps", "-aq"), ("rm", "--force", "--volumes")),
        ("network", ("network", "ls", "-q"), ("network", "rm")),
        ("volume", ("volume", "ls", "-q"), ("volume", "rm")),
    ):
        found = docker(*listing, "--filter", label).split()
        if found:
            docker(*removal, *found)
        assert not docker(*listing, "--filter", label).split(), f"{kind} left behind"


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout + (done.stderr if not check else "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
