"""The known defects of compose files of the plan's form, and their corrections. See docs/stack.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nasmigrate.core.envfile import read_env_file
from nasmigrate.core.errors import ConfigError
from nasmigrate.stack.compose_file import ComposeFile, Service, read_compose_file

__all__ = ["Defect", "find_defects", "read_compose_file"]

_SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN)$")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOOPBACK_PORT = re.compile(r"^(127\.0\.0\.1|localhost|\[::1\]):")
_STATEFUL = {"postgres": "/var/lib/postgresql", "redis": "/data"}
_MIN_GRACE = 30.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One defect. `where` is the service and the key, `what` its consequence, `correction` what to write instead."""

    code: str
    where: str
    what: str
    correction: str


Check = Callable[[ComposeFile], Iterator[Defect]]


def find_defects(file: ComposeFile) -> tuple[Defect, ...]:
    """Every known defect of the file, in the order of docs/stack.md."""
    return tuple(defect for check in _CHECKS for defect in check(file))


def _killbill_variables(file: ComposeFile) -> Iterator[Defect]:
    for service in file.of_kind("killbill"):
        wrong = sorted(name for name in service.environment if name.startswith("KILLBILL_DATABASE_"))
        if wrong:
            yield Defect(
                code="KILLBILL_VARIABLES",
                where=f"{service.name}: {', '.join(wrong)}",
                what="read by nothing: Kill Bill starts on an H2 database inside its container, all checks are green, "
                "and every account is lost when the container is made anew",
                correction="KILLBILL_DAO_URL, KILLBILL_DAO_USER, KILLBILL_DAO_PASSWORD; prove it with node_infos",
            )
        url = service.environment.get("KILLBILL_DAO_URL")
        if not wrong and (url is None or "postgresql" not in url):
            yield Defect(
                code="KILLBILL_ON_H2",
                where=f"{service.name}: KILLBILL_DAO_URL",
                what=f"is {url!r}: Kill Bill runs on its embedded database",
                correction="KILLBILL_DAO_URL: jdbc:postgresql://postgres:5432/killbill",
            )


def _tags(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        if not service.image or "@sha256:" in service.image or service.tag not in ("", "latest"):
            continue
        consequence = {
            "killbill": "downloads the newest Kill Bill at each start, away from the tables it was given",
            "postgres": "the next pull brings another major version, which refuses the data of this one",
        }.get(service.kind, "each pull may bring another version")
        pinned = {"killbill": "killbill/killbill:0.24.21", "postgres": "postgres:17-bookworm"}
        yield Defect(
            code="IMAGE_NOT_PINNED",
            where=f"{service.name}: image {service.image}",
            what=consequence,
            correction=f"a tag, better a digest: {pinned.get(service.kind, service.kind + ':VERSION')}@sha256:…",
        )


def _postgres_mount(file: ComposeFile) -> Iterator[Defect]:
    for service in file.of_kind("postgres"):
        mounted = {target for _, target in service.mounts}
        major = re.match(r"\d+", service.tag)
        new = major is None or int(major[0]) >= 18
        if new and "/var/lib/postgresql/data" in mounted and "PGDATA" not in service.environment:
            yield Defect(
                code="POSTGRES_MOUNT",
                where=f"{service.name}: /var/lib/postgresql/data",
                what="from version 18 on the image refuses to start with a volume there, and restarts for ever",
                correction="mount /var/lib/postgresql and set PGDATA: /var/lib/postgresql/17/docker",
            )


def _databases(file: ComposeFile) -> Iterator[Defect]:
    for postgres in file.of_kind("postgres"):
        superuser = postgres.environment.get("POSTGRES_USER") or "postgres"
        database = postgres.environment.get("POSTGRES_DB") or superuser
        if superuser != "postgres":
            yield Defect(
                code="SUPERUSER_APPLICATION",
                where=f"{postgres.name}: POSTGRES_USER {superuser}",
                what="the application's role is a superuser: no GRANT or REVOKE can hold it, so no cutover can either",
                correction="POSTGRES_USER: postgres; nasmigrate makes an owner and a role that owns nothing",
            )
        for service in file.of_kind("killbill"):
            user = _first(service, "KILLBILL_DAO_USER", "KILLBILL_DATABASE_USER")
            url = _first(service, "KILLBILL_DAO_URL", "KILLBILL_DATABASE_URL") or ""
            if user == superuser:
                yield Defect(
                    code="KILLBILL_SUPERUSER",
                    where=f"{service.name}: user {user}",
                    what="Kill Bill's tables begin with DROP TABLE IF EXISTS users, invoices, payments: as this role "
                    "one wrong address drops the marketplace's",
                    correction="a role killbill, NOSUPERUSER, and REVOKE CONNECT ON DATABASE marketplace FROM PUBLIC",
                )
            if url.partition("?")[0].rpartition("/")[2] != database:
                continue
            yield Defect(
                code="KILLBILL_SHARED_DATABASE",
                where=f"{service.name}: database {database}",
                what="Kill Bill and the marketplace have tables of the same names",
                correction="a database killbill of its own, with an owner of its own",
            )
            if not any("initdb" in target or "ddl" in target.lower() for _, target in postgres.mounts):
                yield Defect(
                    code="KILLBILL_NO_TABLES",
                    where=postgres.name,
                    what="nothing makes Kill Bill's database and its tables; Kill Bill makes neither on Postgres",
                    correction="nasmigrate stack up makes them, from the DDL in Kill Bill's own image",
                )


def _published(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        for port in service.ports:
            if not _LOOPBACK_PORT.match(port):
                yield Defect(
                    code="PORT_PUBLIC",
                    where=f"{service.name}: ports {port}",
                    what="published on every address of the machine, past its firewall",
                    correction=f'"127.0.0.1:{port}", or no port at all: containers reach {service.name} by its name',
                )
    if not file.internal_networks:
        yield Defect(
            code="NETWORK_NOT_INTERNAL",
            where="networks",
            what="the databases' containers can reach the internet, and whatever is on the same bridge reaches them",
            correction="networks: {backend: {internal: true}, edge: {}}; edge only for what publishes a port",
        )


def _redis(file: ComposeFile) -> Iterator[Defect]:
    for service in file.of_kind("redis"):
        if "requirepass" not in service.command:
            yield Defect(
                code="REDIS_OPEN",
                where=service.name,
                what="no password, and the image switches the protected mode off: whoever reaches it may do anything",
                correction="requirepass from a secret file, given on standard input (see compose.yaml)",
            )


def _volumes(file: ComposeFile) -> Iterator[Defect]:
    for kind, path in _STATEFUL.items():
        for service in file.of_kind(kind):
            if not any(source and target.startswith(path) for source, target in service.mounts):
                yield Defect(
                    code="NO_VOLUME",
                    where=service.name,
                    what="its data is lost when the container is made anew",
                    correction=f"a volume at {path}",
                )


def _order(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        started = sorted(name for name, condition in service.depends_on.items() if condition == "service_started")
        if started:
            yield Defect(
                code="DEPENDS_ON_STARTED",
                where=f"{service.name}: depends_on {', '.join(started)}",
                what="waits until they were started, not until they answer",
                correction=f"depends_on: {{{started[0]}: {{condition: service_healthy}}}}",
            )
        if service.kind == "killbill" and not service.depends_on:
            yield Defect(
                code="NO_DEPENDS_ON",
                where=service.name,
                what="starts before Postgres answers, and ends",
                correction="depends_on: {postgres: {condition: service_healthy}}",
            )


def _health(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        if "profiles" in service.settings:
            continue  # started by hand, and for its own sake
        check = service.settings.get("healthcheck")
        if check is None:
            yield Defect(
                code="NO_HEALTHCHECK",
                where=service.name,
                what="`up --wait` is content as soon as its process runs",
                correction="a healthcheck that asks the service itself (see compose.yaml)",
            )
        elif service.kind == "killbill" and re.search(r":8080/?[\"'\]\s]*(\||$)", str(check.get("test", ""))):
            yield Defect(
                code="KILLBILL_ROOT_PAGE",
                where=f"{service.name}: healthcheck",
                what="Kill Bill's / is 404, and /index.html says nothing of its database",
                correction="curl -fsS -m 5 http://127.0.0.1:8080/1.0/healthcheck",
            )
        if service.settings.get("restart") in (None, "no", False):
            yield Defect(
                code="NO_RESTART",
                where=service.name,
                what="is not back after a crash or a reboot",
                correction="restart: unless-stopped",
            )


def _limits(file: ComposeFile) -> Iterator[Defect]:
    for service in file.of_kind("postgres"):
        if "shm_size" not in service.settings:
            yield Defect(
                code="SHM_SIZE",
                where=service.name,
                what="64 MB of shared memory: parallel queries fail with `could not resize shared memory segment`",
                correction="shm_size: 256m",
            )
        if _seconds(service.settings.get("stop_grace_period")) < _MIN_GRACE:
            yield Defect(
                code="STOP_GRACE",
                where=service.name,
                what="killed 10 s after it is asked to stop, in the middle of its checkpoint",
                correction="stop_grace_period: 2m",
            )
    for service in file.of_kind("killbill"):
        if not any(name.endswith("DAO_MAX_ACTIVE") for name in service.environment):
            yield Defect(
                code="POOLS",
                where=service.name,
                what="its pools take 3 x 100 connections, Postgres has 100: `too many clients`",
                correction='KILLBILL_DAO_MAX_ACTIVE: "20", KILLBILL_OSGI_DAO_MAX_ACTIVE: "10"',
            )
    for service in file.services:
        if not {"mem_limit", "deploy"} & set(service.settings):
            yield Defect(
                code="NO_MEMORY_LIMIT",
                where=service.name,
                what="may take all of a small machine's memory, and the kernel then ends whatever it likes",
                correction="mem_limit: (see compose.yaml)",
            )
        if "logging" not in service.settings:
            yield Defect(
                code="NO_LOG_ROTATION",
                where=service.name,
                what="its log grows until the disk is full",
                correction='logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}',
            )


def _secrets(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        shown = sorted(name for name, value in service.environment.items() if _SECRET.search(name) and value != "")
        if shown:
            yield Defect(
                code="SECRET_IN_ENVIRONMENT",
                where=f"{service.name}: {', '.join(shown)}",
                what="shown by `docker inspect` and `docker compose config`, and kept in every backup of the file",
                correction="a file secret: NAME_FILE where the image honours it, else read in the entrypoint",
            )


def _addresses(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        values: dict[str, str | None] = dict(service.environment)
        entries = service.settings.get("env_file")
        for entry in [entries] if isinstance(entries, str) else entries or ():
            path = file.path.parent / str(entry.get("path") if isinstance(entry, dict) else entry)
            try:
                values |= read_env_file(path) if path.is_file() else {}
            except ConfigError:
                continue  # what cannot be read is compose's to report
        if values.get("PGHOST") in _LOOPBACK:
            yield Defect(
                code="HOST_IS_LOOPBACK",
                where=f"{service.name}: PGHOST {values['PGHOST']}",
                what="inside a container that is the container itself, not Postgres",
                correction="PGHOST: postgres",
            )


def _build(file: ComposeFile) -> Iterator[Defect]:
    for service in file.services:
        build = service.settings.get("build")
        if build is None:
            continue
        context = file.path.parent / str(build.get("context", ".") if isinstance(build, dict) else build)
        name = str(build.get("dockerfile", "Dockerfile") if isinstance(build, dict) else "Dockerfile")
        if not (context / name).is_file():
            yield Defect(
                code="NO_DOCKERFILE",
                where=f"{service.name}: build {build if isinstance(build, str) else build.get('context', '.')}",
                what=f"there is no {name}, so it cannot be built",
                correction="write one (compose/marketplace_web/Dockerfile is an example), or let it run on the host",
            )


def _first(service: Service, *names: str) -> str | None:
    return next((value for name in names if (value := service.environment.get(name))), None)


def _seconds(value: object) -> float:
    """`1m30s` -> 90.0; 0.0 when absent or unreadable."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", str(value or "")))


_CHECKS: tuple[Check, ...] = (
    _build,
    _killbill_variables,
    _tags,
    _postgres_mount,
    _databases,
    _published,
    _redis,
    _volumes,
    _order,
    _health,
    _limits,
    _secrets,
    _addresses,
)
