"""Two stacks must never work on the same data: who else mounts what this stack is going to mount?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasmigrate.stack.containers import Container


def data_sources(definition: Mapping[str, Any], project: str) -> dict[str, str]:
    """Writable volumes and folders of the stack -> the service that mounts them.

    Args:
        definition: compose.yaml as `compose config` shows it, by v2 (long form) or v1 (short form).
        project: the project's name, which compose puts before a volume's.
    """
    volumes: Mapping[str, Any] = definition.get("volumes") or {}
    found: dict[str, str] = {}
    for service, settings in (definition.get("services") or {}).items():
        for entry in settings.get("volumes") or ():
            source, read_only = _source(entry)
            if source is None or read_only:
                continue
            if source in volumes:
                source = (volumes[source] or {}).get("name") or f"{project}_{source}"
            else:
                source = os.path.realpath(source)
            found[source] = str(service)
    return found


def conflicts(containers: Sequence[Container], *, project: str, folder: Path, data: Mapping[str, str]) -> Iterator[str]:
    """Why this stack may not be started, one sentence each: another copy owns its name or its data.

    Args:
        containers: those of every compose project on the engine.
        project: the name of this stack.
        folder: where this stack lives.
        data: see `data_sources`.
    """
    here = os.path.realpath(folder)
    for each in containers:
        if each.project == project:
            if each.folder and os.path.realpath(each.folder) != here:
                yield f"{each.name} belongs to project {project} in {each.folder}, another folder than {here}"
            continue
        for mount in each.mounts:
            source = os.path.realpath(mount.source) if mount.kind == "bind" else mount.source
            if source in data and each.service != "nasmigrate":
                yield f"{each.name} of project {each.project} ({each.state}) uses {source}, the data of {data[source]}"


def _source(entry: object) -> tuple[str | None, bool]:
    """The source of one entry of `volumes`, and whether it is mounted read-only."""
    if isinstance(entry, Mapping):
        return entry.get("source"), bool(entry.get("read_only"))
    parts = str(entry).split(":")
    return (parts[0], parts[-1] == "ro") if len(parts) > 1 else (None, False)
