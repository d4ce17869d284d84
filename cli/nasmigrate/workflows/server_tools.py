"""Which pg_dump and pg_restore go with a server: those of its version here, else those inside the stack's container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from nasmigrate.backup.tools import Tools, local_tools
from nasmigrate.core.context import Context
from nasmigrate.core.errors import StackError, ToolMissing
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import ServerFacts, connected
from nasmigrate.stack.containers import read_containers
from nasmigrate.stack.runner import Subprocesses
from nasmigrate.stack.server_tools import container_at, container_tools
from nasmigrate.stack.tools import find_tools, path_for_children

ToolsFor = Callable[[ServerFacts], Tools]
"""Gives the tools for a server."""


def server_tools(context: Context, target: Target, environ: Mapping[str, str]) -> ToolsFor:
    """How to find the tools for this target.

    Args:
        context: settings: [backup] tools, and the stack's project.
        target: a database of the server.
        environ: PATH is searched for docker.
    """

    def find(facts: ServerFacts) -> Tools:
        given = context.base / Path(context.config.backup.tools).expanduser() if context.config.backup.tools else None
        try:
            return local_tools(target.conninfo, facts.version_number, given=given)
        except ToolMissing:
            found = None if given is not None else _in_container(context, target, environ, facts)
            if found is None:
                raise
            return found

    return find


def _in_container(context: Context, target: Target, environ: Mapping[str, str], facts: ServerFacts) -> Tools | None:
    runner = Subprocesses({**environ, "PATH": path_for_children(environ)})
    with suppress(ToolMissing, StackError):
        docker = find_tools(runner, environ).docker
        container = container_at(read_containers(runner, docker, project=context.config.stack.project), target.conninfo)
        if container is not None:
            with connected(target.conninfo, purpose="nasmigrate backup") as connection:
                row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
            return container_tools(
                runner, docker, container, major=facts.version_number // 10000, identifier=int(row[0]) if row else 0
            )
    return None
