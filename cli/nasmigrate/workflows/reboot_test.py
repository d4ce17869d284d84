"""The nearest to a reboot that can be tried: a marker in each store, the stack down and up, and the marker is back."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from nasmigrate.core.context import Context
from nasmigrate.core.errors import StackError
from nasmigrate.core.result import Document
from nasmigrate.core.rundir import write_atomic
from nasmigrate.postgres.connect import connected
from nasmigrate.stack.checklist import Line
from nasmigrate.stack.compose import Compose
from nasmigrate.stack.containers import Container
from nasmigrate.workflows.stack import TUNNEL, TUNNEL_PROFILE, Surroundings, stack_down, stack_up, states
from nasmigrate.workflows.stack_databases import server_conninfo

NAME = "data persists"
FILE = "last-reboot-test.json"
STORES = ("postgres", "redis")
REDIS_KEY = "nasmigrate:reboot-marker"
_REDIS = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli -h 127.0.0.1 "$@"'


class RebootTest(Document):
    """The last test: when, and where the markers were read back from."""

    tested_at: str
    stores: tuple[str, ...]


def reboot_test(context: Context, around: Surroundings, compose: Compose) -> Line:
    """Write markers, `stack down`, `stack up`, read them back. Everything is away for as long as that takes.

    Raises:
        StackError: the stack does not come up again, or Docker refuses.
        TargetError: Postgres refuses.
    """
    before = states(compose)
    wanted = [store for store in STORES if store in context.config.stack.services]
    if missing := [store for store in wanted if not any(each.service == store and each.ready for each in before)]:
        evidence = f"not tested: {' and '.join(missing)} did not run"
        return Line(name=NAME, status="fail", evidence=evidence, fix="nasmigrate stack up")
    (compose.folder / FILE).unlink(missing_ok=True)  # what it said is no longer known
    marker = secrets.token_hex(16)
    stores = _write(compose, before, marker)
    stack_down(context, around)
    stack_up(context, around)
    if any(each.service == TUNNEL for each in before):
        _start_tunnel(compose)
    containers = states(compose)
    found = {store: _read(compose, containers, store) for store in stores}
    lost = [store for store, value in found.items() if value != marker]
    _remove(compose, containers, stores)
    if lost:
        return Line(
            name=NAME,
            status="fail",
            evidence=f"the marker was gone after down and up: {', '.join(lost)}",
            fix="a volume for its data (see compose.yaml)",
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    document = RebootTest(tested_at=now, stores=stores)
    write_atomic(compose.folder / FILE, (document.model_dump_json(indent=2) + "\n").encode())
    return _line(document)


def last_reboot_test(folder: Path) -> Line:
    """What the last test said; `unknown` when there was none."""
    try:
        return _line(RebootTest.model_validate_json((folder / FILE).read_bytes()))
    except (OSError, ValidationError):
        return Line(name=NAME, status="unknown", evidence="never tested", fix="nasmigrate checklist --reboot-test")


def _start_tunnel(compose: Compose) -> None:
    """What `stack down` took away and `stack up` does not bring back."""
    done = replace(compose, profiles=(TUNNEL_PROFILE,)).up([TUNNEL])
    if done.code != 0:
        raise StackError(f"{TUNNEL} does not start again: {done.stderr.strip()}", code="NM1015")


def _line(test: RebootTest) -> Line:
    read = f"markers in {' and '.join(test.stores)} were there after down and up"
    return Line(name=NAME, status="ok", evidence=f"{read}, {test.tested_at}")


def _write(compose: Compose, containers: Sequence[Container], marker: str) -> tuple[str, ...]:
    """Put the marker into every store that runs; returns their names."""
    stores = []
    for container in containers:
        if container.service == "postgres":
            with connected(server_conninfo(compose, containers), autocommit=True) as connection:
                connection.execute("DROP TABLE IF EXISTS nasmigrate_reboot_marker")
                connection.execute("CREATE TABLE nasmigrate_reboot_marker (marker text)")
                connection.execute("INSERT INTO nasmigrate_reboot_marker VALUES (%s)", (marker,))
            stores.append(container.service)
        elif container.service == "redis":
            _redis(compose, container, "SET", REDIS_KEY, marker)
            stores.append(container.service)
    return tuple(stores)


def _read(compose: Compose, containers: Sequence[Container], store: str) -> str | None:
    if store == "redis":
        return _redis(compose, _of(containers, store), "GET", REDIS_KEY)
    with connected(server_conninfo(compose, containers), autocommit=True) as connection:
        there = connection.execute("SELECT to_regclass('nasmigrate_reboot_marker') IS NOT NULL").fetchone()
        if not there or not there[0]:
            return None
        row = connection.execute("SELECT marker FROM nasmigrate_reboot_marker").fetchone()
    return str(row[0]) if row else None


def _remove(compose: Compose, containers: Sequence[Container], stores: Sequence[str]) -> None:
    if "postgres" in stores:
        with connected(server_conninfo(compose, containers), autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS nasmigrate_reboot_marker")
    if "redis" in stores:
        _redis(compose, _of(containers, "redis"), "DEL", REDIS_KEY)


def _redis(compose: Compose, container: Container, *words: str) -> str:
    """One command, inside the container: the password stays in its file."""
    done = compose.runner.run(
        [compose.tools.docker, "exec", container.id, "sh", "-c", _REDIS, "redis-cli", *words], timeout=30.0
    )
    if done.code != 0:
        raise StackError(f"redis: {done.stderr.strip() or done.stdout.strip()}", code="NM1015")
    return done.stdout.strip()


def _of(containers: Sequence[Container], service: str) -> Container:
    return next(each for each in containers if each.service == service)
