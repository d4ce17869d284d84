"""What went wrong with a container, from what Docker and the service said, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A known trouble: `problem` in one line, `fix` as an instruction."""

    problem: str
    fix: str


_MORE_MEMORY = (
    "stop what else runs; or lower NASMIGRATE_KILLBILL_HEAP, or raise the service's NASMIGRATE_…_MEMORY limit, in .env"
)
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"permission denied while trying to connect to the docker daemon|docker\.sock.*permission denied",
        "this user may not talk to the Docker engine",
        "run nasmigrate with sudo (on DSM the engine's socket belongs to root)",
    ),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|error during connect",
        "the Docker engine is not running",
        "start it (DSM: Package Center, Container Manager, Run; Debian: systemctl start docker), then try again",
    ),
    (
        r"port is already allocated|address already in use|ports are not available",
        "a port on 127.0.0.1 is taken by another program",
        "find it with `ss -ltnp`, or choose another port in .env beside compose.yaml: NASMIGRATE_POSTGRES_PORT, "
        "NASMIGRATE_KILLBILL_PORT or NASMIGRATE_MARKETPLACE_PORT",
    ),
    (
        r"archive/tar: invalid tar header|unsupported.*zstd",
        "this engine is too old for the image's compressed layers",
        "update Container Manager; or save the image elsewhere with `docker save` and `docker load` it here",
    ),
    (
        r"pull access denied|manifest unknown|manifest for .* not found|no such image|repository does not exist"
        r"|failed to resolve reference|unable to find image",
        "an image is neither here nor to be had",
        "check the name in .env (NASMIGRATE_…_IMAGE) and the network; without one: docker load < IMAGE.tar",
    ),
    (
        r"(dial tcp|lookup) .*(no such host|i/o timeout|connection refused|network is unreachable|server misbehaving)"
        r"|tls handshake timeout|client\.timeout exceeded",
        "the image registry cannot be reached",
        "check the network and DNS of this machine; without them: docker load < IMAGE.tar",
    ),
    (
        r"no space left on device",
        "the disk is full",
        "free space where Docker keeps its data (docker system df), then try again",
    ),
    (
        r"password authentication failed",
        "the password of the secret file is not the one the volume was made with",
        "put the former password back into secrets/; or change it in Postgres (ALTER ROLE … PASSWORD) to match. "
        "A new file alone changes nothing: Postgres reads it on an empty volume only",
    ),
    (
        r"database files are incompatible with server|initialized by postgresql version|in 18\+, these docker images",
        "the volume holds the data of another major version of Postgres",
        "set NASMIGRATE_POSTGRES_IMAGE in .env to that version; moving to another is a dump and a restore",
    ),
    (
        r"bind mount failed|bind source path does not exist|no such file or directory.*mount",
        "a folder to be mounted does not exist",
        "nasmigrate stack up makes the folders of .env; make others by hand (mkdir -p)",
    ),
    (
        r"permission denied for (table|view|schema|sequence|database|function|relation|column)",
        "a role lacks a right in Postgres",
        "`nasmigrate doctor` names the rights that are missing; before the cutover the application's role has none, "
        "`nasmigrate status` says who serves",
    ),
    (
        r"could not change permissions of directory|operation not permitted|permission denied|wrong ownership",
        "a container may not write its volume",
        "give the folder the container's owner (Postgres and Redis: chown -R 999:999; marketplace: 1000:1000, or "
        "NASMIGRATE_MARKETPLACE_USER of .env) and keep "
        "it outside folders that DSM shares or indexes (their ACLs stop chown)",
    ),
    (
        r"cannot allocate memory|outofmemoryerror|could not resize shared memory|out of memory|insufficient memory",
        "there is not enough memory",
        _MORE_MEMORY,
    ),
    (
        r"has active endpoints|pool overlaps with other one|could not find an available.*address pool",
        "Docker has no free address range for the stack's networks",
        "remove unused networks: docker network prune",
    ),
)
KILLED = 137
"""The exit code of a process that SIGKILL ended."""
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), problem, fix) for pattern, problem, fix in _KNOWN)


def explain(text: str, *, out_of_memory: bool = False, exit_code: int | None = None) -> Advice | None:
    """The first known trouble that `text` (stderr or a log) tells of, or None.

    Args:
        text: what docker, compose or the service wrote.
        out_of_memory: the kernel ended the container for its memory (`State.OOMKilled`).
        exit_code: of the container's last end, if known. `KILLED` counts where nothing else is known: the mark
            `State.OOMKilled` is an event beside the end, which the engine may miss.
    """
    if out_of_memory:
        text = "out of memory"
    for pattern, problem, fix in _PATTERNS:
        match = pattern.search(text)
        if match:
            port = re.search(r"127\.0\.0\.1:(\d+)", text) if "port" in problem else None
            named = problem.replace("a port on 127.0.0.1", f"port {port[1]} on 127.0.0.1") if port else problem
            return Advice(problem=named, fix=fix)
    if exit_code == KILLED:
        return Advice(problem="it was killed, as the kernel does where there is not enough memory", fix=_MORE_MEMORY)
    return None
