"""Docker Compose for one folder: v2 and v1 alike, always with the project's name and folder said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nasmigrate.core.errors import StackError
from nasmigrate.stack.advice import explain
from nasmigrate.stack.folder import COMPOSE_FILE
from nasmigrate.stack.runner import Done, Runner
from nasmigrate.stack.tools import Tools

UP_TIMEOUT = 600.0
"""Seconds for `up` itself, which does not wait for health here."""
PULL_TIMEOUT = 3600.0
SHORT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """One stack: the tools, its folder and its project name."""

    tools: Tools
    runner: Runner
    folder: Path
    project: str
    profiles: tuple[str, ...] = ()

    def run(self, *arguments: str, timeout: float, show: bool = False) -> Done:
        """Run one compose command for this stack; see `Runner.run`."""
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        return self.runner.run(
            [
                *self.tools.compose,
                "--project-directory",
                str(self.folder),
                "--file",
                str(self.folder / COMPOSE_FILE),
                "--project-name",
                self.project,
                *profiles,
                *arguments,
            ],
            timeout=timeout,
            cwd=self.folder,
            show=show,
        )

    def definition(self) -> Mapping[str, Any]:
        """compose.yaml as compose understands it: variables filled in, shapes made long.

        Raises:
            StackError: compose does not accept the file.
        """
        done = self.run("config", timeout=SHORT_TIMEOUT)
        if done.code != 0:
            raise StackError(
                f"{self.folder / COMPOSE_FILE}: compose does not accept it: {done.stderr.strip()}", code="NM1013"
            )
        definition: Mapping[str, Any] = yaml.safe_load(done.stdout)
        return definition

    def up(self, services: Sequence[str]) -> Done:
        """Start services in the background, those they depend on not included."""
        return self.run("up", "-d", "--no-deps", "--no-build", *services, timeout=UP_TIMEOUT)

    def has_image(self, image: str) -> bool:
        """Whether the engine has the image already."""
        done = self.runner.run([self.tools.docker, "image", "inspect", image], timeout=SHORT_TIMEOUT)
        return done.code == 0

    def obtain(self, service: str, *, build: bool, show: bool) -> None:
        """Build or pull the image of one service, with docker's own progress on stderr if `show`.

        Raises:
            StackError: it is not to be had.
        """
        verb = "build" if build else "pull"
        done = self.run(verb, service, timeout=PULL_TIMEOUT, show=show)
        if done.code == 0:
            return
        said = (done.stderr + done.stdout).strip()
        advice = explain(said)
        raise StackError(
            f"{service}: {verb} failed: {advice.problem if advice else _tail(said)}",
            hint=advice.fix if advice else "the lines above say why",
            lines=said.splitlines()[-12:],
            code="NM1014",
        )


def _tail(text: str, *, lines: int = 1) -> str:
    return "\n".join(text.splitlines()[-lines:]) or "no reason given"
