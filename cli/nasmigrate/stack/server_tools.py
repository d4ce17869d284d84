"""The server's own pg_dump and pg_restore inside the stack's Postgres container, which fit it by nature.

Inside, they come as the superuser over the container's own socket, so no password is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nasmigrate.backup.tools import Tools
from nasmigrate.core.errors import StackError
from nasmigrate.stack.containers import Container
from nasmigrate.stack.runner import Runner

INSIDE = 5432
TIMEOUT = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def container_at(containers: Sequence[Container], conninfo: str) -> Container | None:
    """The Postgres container that publishes the port this conninfo leads to, on this machine."""
    words = conninfo_to_dict(conninfo)
    if words.get("host") not in _LOOPBACK and words.get("hostaddr") not in _LOOPBACK:
        return None
    wanted = str(words.get("port") or INSIDE)
    for container in containers:
        if container.service == "postgres" and any(
            port.container == INSIDE and str(port.host) == wanted for port in container.ports
        ):
            return container
    return None


def container_tools(runner: Runner, docker: str, container: Container, *, major: int, identifier: int) -> Tools:
    """The tools in a container, once it is certain that its server is the one that was asked.

    Args:
        runner: starts docker.
        docker: path of the client.
        container: that runs Postgres.
        major: of the server.
        identifier: the server's `system_identifier`, as a connection to it said.

    Raises:
        StackError: psql does not answer there, or says that it is another server.
    """
    conninfo = make_conninfo("", user=container.environment.get("POSTGRES_USER", "postgres"), dbname="postgres")
    prefix = (docker, "exec", "-i", container.id)
    query = "SELECT system_identifier FROM pg_control_system()"
    done = runner.run([*prefix, "psql", f"--dbname={conninfo}", "-XAtc", query], timeout=TIMEOUT)
    if done.code != 0:
        raise StackError(f"{container.name}: psql inside it does not answer: {done.stderr.strip()}", code="NM1021")
    if done.stdout.strip() != str(identifier):
        raise StackError(
            f"{container.name}: another server than the one behind its port: {done.stdout.strip()} is not {identifier}",
            code="NM1021",
        )
    return Tools(prefix=prefix, conninfo=conninfo, major=major)
