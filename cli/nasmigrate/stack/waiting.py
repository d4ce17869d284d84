"""Waiting until services are healthy, by asking the engine: `up --wait` may succeed at its time-out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
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


@dataclass(slots=True)
class _Seen:
    """What the looks so far have shown of one container.

    Attributes:
        restarts: when the wait first saw it. The engine's count is for life, so those of an outage long over are in it.
        ended: seconds of the wait at which it was first seen ended, if it was never otherwise since.
        exit_code: of its last end that a look fell upon, if one did; the engine says 0 of one that runs again.
        out_of_memory: the kernel has ended it for its memory.
    """

    restarts: int
    ended: float | None = None
    exit_code: int | None = None
    out_of_memory: bool = False

    def look(self, container: Container, elapsed: float) -> None:
        """Take in how it is now, `elapsed` seconds after the wait began."""
        if container.state not in ENDED:
            self.ended = None
        elif self.ended is None:
            self.ended = elapsed
        if container.state != "running":
            self.exit_code = container.exit_code
        self.out_of_memory |= container.out_of_memory


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
    seen: dict[str, _Seen] = {}
    while True:
        containers = tuple(read())
        elapsed = clock.now() - begun
        watch.look(containers, waiting_for=services, elapsed=elapsed)
        found = {each.service: each for each in containers}
        for each in containers:
            seen.setdefault(each.id, _Seen(each.restarts)).look(each, elapsed)
        for service in services:
            container = found.get(service)
            if container is None:
                raise StackError(
                    f"{service}: has no container", hint="nasmigrate stack up makes it", details={"service": service},
                    code="NM1015",
                )  # fmt: skip
            trouble = _trouble(container, seen[container.id], elapsed)
            if trouble:
                raise _failure(container, seen[container.id], trouble, log)
        waiting = [service for service in services if not found[service].ready]
        if not waiting:
            return containers
        if elapsed > timeout:
            slow = found[waiting[0]]
            raise _failure(slow, seen[slow.id], f"not healthy after {timeout:.0f} s", log)
        clock.sleep(POLL)


def describe(container: Container) -> str:
    """How it is, in a few words: `healthy`, `starting`, `exited (exit code 1)`, `restarting, 2 restarts`."""
    state = (container.health or "running") if container.state == "running" else container.state
    if container.state == "exited":
        state += f" (exit code {container.exit_code})"
    return state + (f", {container.restarts} restarts" if container.restarts else "")


def _failure(container: Container, seen: _Seen, trouble: str, log: Callable[[Container], Sequence[str]]) -> StackError:
    """The error for a service in trouble: the last lines of its log, and what to do where that is known."""
    lines = log(container)
    advice = explain("\n".join([container.error, *lines]), out_of_memory=seen.out_of_memory, exit_code=seen.exit_code)
    reason = f": {advice.problem}" if advice else ""
    return StackError(
        f"{container.service}: {trouble}{reason}",
        hint=advice.fix if advice else f"nasmigrate stack logs {container.service}",
        lines=lines[-LOG_LINES:],
        details={"service": container.service},
        code="NM1015",
    )


def _trouble(container: Container, seen: _Seen, elapsed: float) -> str | None:
    """Why waiting on is pointless, or None.

    Args:
        container: as it is now.
        seen: what the looks up to this one have shown of it.
        elapsed: seconds since the wait began.
    """
    if container.ready:
        return None
    code = "" if seen.exit_code is None else f" (exit code {seen.exit_code})"
    if container.state in ENDED and (not container.restarts or elapsed - (seen.ended or 0.0) >= ENDED_GRACE):
        return f"ended{code}"
    if container.state == "restarting" or container.restarts:
        again = container.restarts - seen.restarts
        enough = 1 if container.state == "restarting" else GIVE_UP_RESTARTS
        if container.restarts >= GIVE_UP_RESTARTS and again >= enough:
            return f"ended {container.restarts} times{code}"
    if container.state == "paused":
        return "is paused (docker unpause)"
    return "is unhealthy" if container.health == "unhealthy" and elapsed >= UNHEALTHY_GRACE else None
