"""The lines of the verification checklist that can be read off the containers, the folder and the network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nasmigrate.core.errors import ConfigError
from nasmigrate.stack.containers import Container
from nasmigrate.stack.secrets import private_again, read_secret, secret_files, secret_problems
from nasmigrate.stack.waiting import describe

Status = Literal["ok", "fail", "unknown"]
LOOPBACK = ("127.0.0.1", "::1")
DATA_FOLDERS = {"postgres": "/var/lib/postgresql", "redis": "/data", "marketplace_web": "/data"}
UNREACHED_BY_ALL = ("postgres", "redis")
"""What must be on the internal network; a service that publishes a port is on another one as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: whether it holds, the evidence, and what to do when it does not."""

    name: str
    status: Status
    evidence: str
    fix: str | None = None


def running(containers: Sequence[Container], services: Sequence[str]) -> Iterator[Line]:
    """One line for each service: it runs and is healthy."""
    found = {each.service: each for each in containers}
    for service in services:
        container = found.get(service)
        if container is None:
            yield Line(name=service, status="fail", evidence="no container", fix="nasmigrate stack up")
            continue
        yield Line(
            name=service,
            status="ok" if container.ready and container.health else "fail",
            evidence=describe(container) if container.health else "runs, and has no health check",
            fix=f"nasmigrate stack logs {service}; nasmigrate stack up",
        )


def restart_policies(containers: Sequence[Container]) -> Line:
    """Whether every container is back after a reboot."""
    wrong = [each.service for each in containers if each.restart_policy not in ("unless-stopped", "always")]
    return Line(
        name="back after a reboot",
        status="fail" if wrong or not containers else "ok",
        evidence=f"no restart policy: {', '.join(wrong)}"
        if wrong
        else f"restart policy on {len(containers)} containers",
        fix="restart: unless-stopped; nasmigrate stack up",
    )


def data_is_kept(containers: Sequence[Container]) -> Line:
    """Whether what holds data keeps it outside its container."""
    kept, lost = [], []
    for each in containers:
        folder = DATA_FOLDERS.get(each.service)
        if folder is None:
            continue
        mount = next((mount for mount in each.mounts if mount.destination == folder), None)
        if mount is None:
            lost.append(each.service)
        else:
            kept.append(f"{each.service} in {mount.source}")
    return Line(
        name="data outside the containers",
        status="fail" if lost or not kept else "ok",
        evidence=f"inside its container: {', '.join(lost)}" if lost else "; ".join(kept) or "nothing holds data",
        fix="mount a volume (see compose.yaml)",
    )


def ports(containers: Sequence[Container]) -> Line:
    """Whether nothing is published but on loopback."""
    published = [(each.service, port) for each in containers for port in each.ports]
    public = [f"{service} on {port.address}:{port.host}" for service, port in published if port.address not in LOOPBACK]
    return Line(
        name="ports on loopback only",
        status="fail" if public else "ok",
        evidence=f"published to the network: {', '.join(public)}"
        if public
        else ", ".join(f"{service} 127.0.0.1:{port.host}" for service, port in published) or "none published",
        fix='ports: ["127.0.0.1:HOST:CONTAINER"]',
    )


def network(containers: Sequence[Container], internal: Mapping[str, bool]) -> Line:
    """Whether the services talk on a network without a way out.

    Args:
        containers: the stack's.
        internal: network -> whether it is internal.
    """
    outside = [
        each.service
        for each in containers
        if each.service in UNREACHED_BY_ALL and not any(internal.get(name) for name in each.networks)
    ]
    names = sorted(name for name, flag in internal.items() if flag)
    return Line(
        name="internal network",
        status="fail" if outside or not names else "ok",
        evidence=f"not on an internal network: {', '.join(outside)}" if outside else ", ".join(names) or "none",
        fix="networks: {backend: {internal: true}} for every service",
    )


def secrets_apart(folder: Path, containers: Sequence[Container]) -> Line:
    """Whether every secret is a private file of its own, and in no container's environment."""
    problems = list(secret_problems(folder))
    values: dict[str, str] = {}
    for path in secret_files(folder) if folder.is_dir() else ():
        try:
            secret = read_secret(folder, path.name)
        except ConfigError as error:
            problems.append(error.message)
            continue
        if secret in values:
            problems.append(f"{path.name} and {values[secret]} are the same")
        values[secret] = path.name
    problems += [
        f"{values[secret]} is in the environment of {each.service} (docker inspect shows it)"
        for each in containers
        for secret in values
        if any(secret in value for value in each.environment.values())
    ]
    owner = "" if not folder.is_dir() or folder.stat().st_uid in (0, os.geteuid()) else "; the folder is another user's"
    return Line(
        name="secrets apart and private",
        status="fail" if problems or not values or owner else "ok",
        evidence=("; ".join(problems) or f"{len(values)} files in a folder with mode 0700, all different") + owner,
        fix=f"{private_again(folder)}; one secret for each purpose",
    )


def marketplace_health(status: int | None, text: str, url: str, *, on_record: str | None = None) -> Line:
    """Whether the marketplace's own health says how many integrations there are, and on which database it is.

    `on_record` is the engine that serves by Postgres' control row; None where nothing is known.
    """
    name = "marketplace health"
    if status != 200:
        return Line(
            name=name,
            status="fail",
            evidence=f"{url}: {status or 'no answer'}: {' '.join(text.split())[:200]}",
            fix="nasmigrate stack logs marketplace_web",
        )
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("integrations_registered"), int):
        return Line(
            name=name,
            status="fail",
            evidence=f"{url}: 200, but no integrations_registered in it",
            fix="let /api/health count what is registered (compose/marketplace_web/routes/index.js does)",
        )
    database = document.get("database")
    engine = database.get("engine") if isinstance(database, dict) else None
    if engine in ("sqlite", "postgres") and on_record not in (None, engine):
        return Line(
            name=name,
            status="fail",
            evidence=f"{url}: runs on {engine}, but {on_record} is what serves by the record of cutover and rollback",
            fix="stop it, then `nasmigrate status`: two engines may take writes",
        )
    return Line(
        name=name,
        status="ok" if engine in ("sqlite", "postgres") else "fail",
        evidence=f"{url}: {document['integrations_registered']} integrations registered, "
        + (f"runs on {engine}" if engine else "does not say which database it runs on"),
        fix='let /api/health say {"database": {"engine": …}} from the connection it really uses',
    )


def page(name: str, url: str, status: int | None, text: str, *, fix: str) -> Line:
    """Whether a page answers 200."""
    said = "" if status == 200 else f": {' '.join(text.split())[:200]}"
    return Line(
        name=name, status="ok" if status == 200 else "fail", evidence=f"{url}: {status or 'no answer'}{said}", fix=fix
    )
