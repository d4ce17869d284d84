"""Waiting until services are healthy, by asking the engine: `up --wait` may succeed at its time-out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nasmigrate.core.errors import StackError
from nasmigrate.stack.advice import explain
from nasmigrate.stack.containers import Container

ENDED = ("exited", "dead", "removing")
POLL = 1.0
"""Seconds between two looks."""
GIVE_UP_RESTARTS = 3
UNHEALTHY_GRACE = 90.0
"""Seconds from the start of the wait until `unhealthy` counts: the mark may be of an outage that is just over, and goes
at the next check that succeeds (two of Kill Bill's, the slowest); Compose does not restart for it."""
ENDED_GRACE = 10.0
"""Seconds after which a container that was restarted before, and is seen as ended all the time, is not being restarted:
between two restarts the engine shows it so for a moment."""
LOG_LINES = 12


class Watch(Protocol):
    """Is shown the containers at every look; draws a table, writes a line, or does nothing."""

    def look(self, containers: Sequence[Container], *, waiting_for: Collection[str], elapsed: float) -> None:
        """The containers as they are now, `elapsed` seconds after the wait began."""


class Unwatched:
    """A watch that shows nothing."""

    def look(self, containers: Sequence[Container], *, waiting_for: Collection[str], elapsed: float) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time from outside, so that a test need not wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_until_ready(
    services: Collection[str],
    *,
    read: Callable[[], Sequence[Container]],
    log: Callable[[Container], Sequence[str]],
    timeout: float,
    watch: Watch,
    clock: Clock,
) -> tuple[Container, ...]:
    """Look every second until every service is running and healthy; returns the last look.

    Args:
        services: who is waited for.
        read: gives the project's containers as they are.
        log: gives the last lines of a container's log.
        timeout: seconds until the wait is given up.
        watch: is shown every look.
        clock: the time.

    Raises:
        StackError: a service ended, keeps restarting, stays unhealthy, or the time is up. Carries its last lines.
    """
    begun = clock.now()
    restarts_before: dict[str, int] = {}
    ended_since: dict[str, float] = {}
    while True:
        containers = tuple(read())
        elapsed = clock.now() - begun
        watch.look(containers, waiting_for=services, elapsed=elapsed)
        found = {each.service: each for each in containers}
        for each in containers:
            restarts_before.setdefault(each.id, each.restarts)
            if each.state in ENDED:
                ended_since.setdefault(each.id, elapsed)
            else:
                ended_since.pop(each.id, None)
        for service in services:
            trouble = _trouble(
                found.get(service), restarts_before=restarts_before, ended_since=ended_since, elapsed=elapsed
            )
            if trouble:
                raise failure(service, found.get(service), trouble, log)
        waiting = [service for service in services if not found[service].ready]
        if not waiting:
            return containers
        if elapsed > timeout:
            slow = waiting[0]
            raise failure(slow, found[slow], f"not healthy after {timeout:.0f} s", log)
        clock.sleep(POLL)


def describe(container: Container) -> str:
    """How it is, in a few words: `healthy`, `starting`, `exited (exit code 1)`, `restarting, 2 restarts`."""
    state = (container.health or "running") if container.state == "running" else container.state
    if container.state == "exited":
        state += f" (exit code {container.exit_code})"
    return state + (f", {container.restarts} restarts" if container.restarts else "")


def failure(
    service: str, container: Container | None, trouble: str, log: Callable[[Container], Sequence[str]]
) -> StackError:
    """The error for a service in trouble: the last lines of its log, and what to do where that is known."""
    lines = log(container) if container else ()
    said = "\n".join([container.error if container else "", *lines])
    advice = explain(said, out_of_memory=bool(container and container.out_of_memory))
    reason = f": {advice.problem}" if advice else ""
    return StackError(
        f"{service}: {trouble}{reason}",
        hint=advice.fix if advice else f"nasmigrate stack logs {service}",
        lines=lines[-LOG_LINES:],
        details={"service": service},
        code="NM1015",
    )


def _trouble(
    container: Container | None,
    *,
    restarts_before: Mapping[str, int],
    ended_since: Mapping[str, float],
    elapsed: float,
) -> str | None:
    """Why waiting on is pointless, or None.

    Args:
        container: as it is now.
        restarts_before: container id -> its restarts when the wait first saw it. The engine's count is for life, so
            those of an outage long over are in it.
        ended_since: container id -> seconds of the wait at which it was first seen ended, and never otherwise since.
        elapsed: seconds since the wait began.
    """
    if container is None:
        return "has no container"
    if container.ready:
        return None
    if container.state in ENDED and (not container.restarts or elapsed - ended_since[container.id] >= ENDED_GRACE):
        return f"ended (exit code {container.exit_code})"
    if container.state == "restarting" or container.restarts:
        again = container.restarts - restarts_before[container.id]
        enough = 1 if container.state == "restarting" else GIVE_UP_RESTARTS
        if container.restarts >= GIVE_UP_RESTARTS and again >= enough:
            return f"ended {container.restarts} times (exit code {container.exit_code})"
    if container.state == "paused":
        return "is paused (docker unpause)"
    return "is unhealthy" if container.health == "unhealthy" and elapsed >= UNHEALTHY_GRACE else None
