"""An existing compose file, read as it is written: no variables filled in, both forms of every list understood."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nasmigrate.core.errors import ConfigError

LARGEST = 1024**2
"""Bytes; compose files have a few thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `settings` is its mapping as written; what has two forms is read into the other fields.

    Attributes:
        image: such as `postgres:latest`; empty when it is built.
        environment: name -> value, None when taken from the shell.
        ports: as written, `HOST:CONTAINER` or `ADDRESS:HOST:CONTAINER`.
        mounts: (source, path in the container); an anonymous volume has an empty source.
        depends_on: service -> condition; the short form means `service_started`.
        command: command and entrypoint as one text.
    """

    name: str
    settings: Mapping[str, Any]
    image: str
    environment: Mapping[str, str | None]
    ports: tuple[str, ...]
    mounts: tuple[tuple[str, str], ...]
    depends_on: Mapping[str, str]
    command: str

    @property
    def kind(self) -> str:
        """The last part of the image's name without tag: `postgres`, `redis`, `killbill`; else the service's name."""
        return self.image.partition("@")[0].rpartition("/")[2].partition(":")[0] or self.name

    @property
    def tag(self) -> str:
        """The image's tag; empty when there is none."""
        return self.image.partition("@")[0].rpartition("/")[2].partition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeFile:
    """A whole file. `internal_networks` are those marked `internal: true`."""

    path: Path
    services: tuple[Service, ...]
    internal_networks: frozenset[str]

    def of_kind(self, kind: str) -> Iterator[Service]:
        """The services whose image (or name) is `kind`."""
        return (service for service in self.services if service.kind == kind)


def read_compose_file(path: Path) -> ComposeFile:
    """Read and check the shape of a compose file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has no services.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: larger than {LARGEST:,} bytes, which no compose file is", code="NM0534")
        document = yaml.safe_load(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", code="NM0534") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}", code="NM0534") from error
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping) or not services:
        raise ConfigError(f"{path}: no services; not a compose file", code="NM0534")
    networks = document.get("networks")
    return ComposeFile(
        path=path,
        services=tuple(_service(str(name), each) for name, each in services.items() if isinstance(each, Mapping)),
        internal_networks=frozenset(
            str(name)
            for name, each in (networks.items() if isinstance(networks, Mapping) else ())
            if isinstance(each, Mapping) and each.get("internal") is True
        ),
    )


def _service(name: str, settings: Mapping[str, Any]) -> Service:
    return Service(
        name=name,
        settings=settings,
        image=_default_of(str(settings.get("image") or "")),
        environment=_environment(settings.get("environment")),
        ports=tuple(_port(each) for each in _list(settings.get("ports"))),
        mounts=tuple(_mount(each) for each in _list(settings.get("volumes"))),
        depends_on=_depends_on(settings.get("depends_on")),
        command=f"{_words(settings.get('entrypoint'))} {_words(settings.get('command'))}".strip(),
    )


def _default_of(image: str) -> str:
    """`${NAME:-postgres:17}` -> `postgres:17`: what compose uses when nothing is set."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", image)


def _environment(value: object) -> dict[str, str | None]:
    if isinstance(value, Mapping):
        return {str(name): None if each is None else str(each) for name, each in value.items()}
    pairs = (str(line).partition("=") for line in _list(value))
    return {name: text if equals else None for name, equals, text in pairs}


def _port(value: object) -> str:
    if isinstance(value, Mapping):
        address = f"{value['host_ip']}:" if value.get("host_ip") else ""
        return f"{address}{value.get('published', '')}:{value.get('target', '')}"
    return _default_of(str(value))


def _mount(value: object) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return str(value.get("source") or ""), str(value.get("target") or "")
    parts = _default_of(str(value)).split(":")
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])


def _depends_on(value: object) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {
            str(name): str(each.get("condition", "service_started") if isinstance(each, Mapping) else "service_started")
            for name, each in value.items()
        }
    return {str(name): "service_started" for name in _list(value)}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _words(value: object) -> str:
    return " ".join(str(each) for each in value) if isinstance(value, list) else str(value or "")
