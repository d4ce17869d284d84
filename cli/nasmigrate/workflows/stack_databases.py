"""What `stack up` makes and proves inside the stack's Postgres, from the host, over the published port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from psycopg.conninfo import make_conninfo

from nasmigrate.core.errors import StackError, TargetError
from nasmigrate.killbill.database import SetUp, nodes, set_up_database
from nasmigrate.killbill.ddl import read_ddl
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control_row import State, read_control
from nasmigrate.postgres.databases import NewDatabase, ensure_database
from nasmigrate.postgres.roles import role_names, set_up_roles
from nasmigrate.stack.advice import explain
from nasmigrate.stack.compose import Compose
from nasmigrate.stack.containers import Container
from nasmigrate.stack.folder import SECRETS
from nasmigrate.stack.secrets import read_secret
from nasmigrate.stack.war import war_of_image

MARKETPLACE = "marketplace"
KILLBILL = "killbill"
SUPERUSER = "postgres"
INSIDE = 5432
CLOCK_SLACK = timedelta(seconds=5)
"""Kill Bill's clock is the engine's, but is read a little before the row is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackDatabases:
    """What was made now. `killbill` is None when Kill Bill is not part of the stack."""

    marketplace_made: bool
    roles: tuple[str, ...]
    killbill: SetUp | None
    killbill_version: str | None


def server_conninfo(compose: Compose, containers: Sequence[Container], *, database: str = SUPERUSER) -> str:
    """How to reach the stack's Postgres from this host, as the superuser. Holds the password.

    Raises:
        StackError: Postgres has no container, or publishes no port.
    """
    for container in containers:
        if container.service == "postgres":
            for port in container.ports:
                if port.container == INSIDE:
                    return make_conninfo(
                        host=port.address,
                        port=port.host,
                        user=SUPERUSER,
                        dbname=database,
                        password=read_secret(compose.folder / SECRETS, "postgres_password"),
                        connect_timeout=10,
                    )
            raise StackError(
                "postgres publishes no port on this host, so its databases cannot be set up",
                hint='compose.yaml: networks [backend, edge] and ports ["127.0.0.1:5433:5432"]',
                code="NM1019",
            )
    raise StackError("postgres has no container", hint="nasmigrate stack up", code="NM1019")


def set_up_databases(
    compose: Compose, containers: Sequence[Container], *, killbill_image: str | None
) -> StackDatabases:
    """Make the databases, owners and roles that are absent, and Kill Bill's tables from its own image. Repeatable.

    Raises:
        TargetError: Postgres refuses; among the reasons, that the volume was made with another password.
        PreflightError: a database is there and is not as it must be.
        KillBillError: Kill Bill's tables could not be made.
    """
    server = server_conninfo(compose, containers)
    secrets = compose.folder / SECRETS
    with _advised():
        made = ensure_database(server, NewDatabase(name=MARKETPLACE, owner=role_names(MARKETPLACE).owner))
    with connected(make_conninfo(server, dbname=MARKETPLACE), purpose="nasmigrate set-up") as connection:
        password = read_secret(secrets, "marketplace_app_password")
        roles = set_up_roles(connection, role_names(MARKETPLACE), password=password)
        connection.commit()
    if killbill_image is None:
        return StackDatabases(marketplace_made=made, roles=roles, killbill=None, killbill_version=None)
    with war_of_image(compose.runner, compose.tools.docker, killbill_image) as war:
        ddl = read_ddl(war)
    done = set_up_database(server, ddl, password=read_secret(secrets, "killbill_database_password"))
    return StackDatabases(marketplace_made=made, roles=roles, killbill=done, killbill_version=ddl.version)


def engine_on_record(compose: Compose, containers: Sequence[Container]) -> Literal["sqlite", "postgres"] | None:
    """Which engine the marketplace is to run on by its control row; None where no cutover or no state says so.

    Raises:
        StackError, TargetError: Postgres cannot be asked.
    """
    with connected(server_conninfo(compose, containers, database=MARKETPLACE)) as connection:
        control = read_control(connection)
    if control is None or control.state is State.DRAINING:
        return None
    return "postgres" if control.state is State.OPEN else "sqlite"


def prove_killbill(compose: Compose, containers: Sequence[Container]) -> str:
    """Ask Postgres whether this very Kill Bill runs on it: its row in `node_infos`, written at its start.

    Returns:
        The evidence, in a few words.

    Raises:
        StackError: it does not: it fell back to the H2 database inside its container, where everything is lost when
            the container is made anew. Its health check is green all the same.
    """
    container = next(each for each in containers if each.service == "killbill")
    server = server_conninfo(compose, containers, database=KILLBILL)
    with _advised(), connected(server, purpose="nasmigrate proof") as connection:
        found = nodes(connection)
    started = container.started_at
    for node in found:
        if started is None or node.booted.replace(tzinfo=started.tzinfo) >= started - CLOCK_SLACK:
            return f"{node.name} booted {node.booted:%Y-%m-%d %H:%M:%S}"
    url = container.environment.get("KILLBILL_DAO_URL")
    raise StackError(
        "killbill: healthy, but not on Postgres: "
        + (f"its last start there was {found[0].booted}" if found else "node_infos in Postgres has no row"),
        hint=f"KILLBILL_DAO_URL is {url!r}; it must name postgres and database killbill. "
        "KILLBILL_DATABASE_URL and the like are read by nothing: Kill Bill then runs on H2, and loses it all",
        code="NM1020",
    )


@contextmanager
def _advised() -> Iterator[None]:
    """What Postgres refuses, said in the stack's words: a wrong password means an old volume."""
    try:
        yield
    except TargetError as error:
        advice = explain(error.message)
        if advice is None:
            raise
        raise TargetError(f"postgres: {advice.problem}", hint=advice.fix, code=error.code) from error
