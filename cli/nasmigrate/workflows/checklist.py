"""`nasmigrate checklist`: the deployment's verification checklist, each line with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError, StackError, TargetError
from nasmigrate.core.redaction import redact
from nasmigrate.stack import checklist as lines
from nasmigrate.stack.checklist import Line
from nasmigrate.stack.compose import Compose
from nasmigrate.stack.containers import Container, internal_networks
from nasmigrate.stack.folder import SECRETS
from nasmigrate.workflows.reboot_test import last_reboot_test, reboot_test
from nasmigrate.workflows.stack import Surroundings, open_stack, states
from nasmigrate.workflows.stack_databases import KILLBILL, MARKETPLACE, engine_on_record, prove_killbill

ANSWER_TIMEOUT = 10.0
OLDEST_BACKUP = timedelta(days=1)
BACKUP = "backup younger than a day"
KILLBILL_INSIDE = 8080
MARKETPLACE_INSIDE = 3101


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """The lines, in a fixed order. `holds`: every one is ok; `failed`: at least one is not."""

    lines: tuple[Line, ...]

    @property
    def holds(self) -> bool:
        """Every line is ok."""
        return all(line.status == "ok" for line in self.lines)

    @property
    def failed(self) -> bool:
        """A line is known not to hold."""
        return any(line.status == "fail" for line in self.lines)


def checklist(
    context: Context, around: Surroundings, *, reboot: bool = False, now: datetime | None = None
) -> Checklist:
    """Check everything; no line stops the others.

    Args:
        context: settings.
        around: the machine.
        reboot: write a marker, take the stack down and up again, and read it back. Everything is away for a minute.
        now: the time, for a test.

    Raises:
        ToolMissing: no docker.
        StackError: there is no stack here, or the engine does not answer.
    """
    moment = now or datetime.now(UTC)
    compose = open_stack(context, around)
    tested = (
        (lambda: [reboot_test(context, around, compose)]) if reboot else (lambda: [last_reboot_test(compose.folder)])
    )
    persistence = _guarded("data persists", tested)
    containers = states(compose)
    services = context.config.stack.services
    found: list[Line] = [*lines.running(containers, services)]
    if "killbill" in services:
        found += _killbill(compose, containers)
    found += _guarded("marketplace health", lambda: [_marketplace(context, compose, containers)])
    found += persistence
    found.append(lines.data_is_kept(containers))
    found.append(lines.restart_policies(containers))
    found.append(lines.secrets_apart(compose.folder / SECRETS, containers))
    found.append(lines.network(containers, internal_networks(compose.runner, compose.tools.docker, containers)))
    found.append(lines.ports(containers))
    found += _guarded(BACKUP, lambda: [backup_line(context, moment)])
    return Checklist(lines=tuple(replace(line, fix=None) if line.status == "ok" else line for line in found))


def _guarded(name: str, check: Callable[[], Iterable[Line]]) -> list[Line]:
    """What the check says; one of our errors is a line that fails, with its hint."""
    try:
        return list(check())
    except NasmigrateError as error:
        return [Line(name=name, status="fail", evidence=redact(error.message), fix=error.hint)]


def _killbill(compose: Compose, containers: Sequence[Container]) -> list[Line]:
    from nasmigrate.killbill.probe import get

    base = _address(containers, "killbill", KILLBILL_INSIDE)
    if base is None:
        return [Line(name="kill bill", status="fail", evidence="publishes no port", fix="nasmigrate stack up")]
    found = []
    # `/` is 404 on Tomcat; the welcome page is static, so the health check and the proof come with it.
    for name, path in (("kill bill page", "/index.html"), ("kill bill health", "/1.0/healthcheck")):
        answer = get(base + path, timeout=ANSWER_TIMEOUT)
        fix = "nasmigrate stack logs killbill"
        found.append(lines.page(name, base + path, answer.status, answer.text, fix=fix))

    def on_postgres() -> list[Line]:
        booted = prove_killbill(compose, containers)
        return [Line(name="kill bill on postgres", status="ok", evidence=f"node_infos: {booted}")]

    return found + _guarded("kill bill on postgres", on_postgres)


def _marketplace(context: Context, compose: Compose, containers: Sequence[Container]) -> Line:
    from nasmigrate.killbill.probe import get

    url = context.config.app.health_url
    if url is None:
        base = _address(containers, "marketplace_web", MARKETPLACE_INSIDE)
        if base is None:
            return Line(
                name="marketplace health",
                status="unknown",
                evidence="it runs on the host, and its address is not known",
                fix='[app] health_url = "http://127.0.0.1:3101/api/health"',
            )
        url = f"{base}/api/health"
    answer = get(url, timeout=ANSWER_TIMEOUT)
    on_record = None
    if "postgres" in context.config.stack.services:
        with suppress(StackError, TargetError):  # that it cannot be asked is another line
            on_record = engine_on_record(compose, containers)
    return lines.marketplace_health(answer.status, answer.text, url, on_record=on_record)


def _address(containers: Sequence[Container], service: str, inside: int) -> str | None:
    for container in containers:
        for port in container.ports:
            if container.service == service and port.container == inside:
                return f"http://{port.address}:{port.host}"
    return None


def backup_line(context: Context, now: datetime) -> Line:
    """Whether the newest proven backup is there, younger than a day, and of the stack's databases.

    Raises:
        BackupRefused: the backup that last-backup.json names has no manifest, or a changed one.
    """
    from nasmigrate.backup.last import NAME, read_last
    from nasmigrate.backup.manifest import read_manifest

    folder = context.base / Path(context.config.backup.directory).expanduser()
    last = read_last(folder)
    if last is None:
        return _backup(f"{folder / NAME}: none was ever made")
    if last.exit_code or last.last_proven is None:
        return _backup(f"{last.finished_at}: failed: {last.error}")
    manifest = read_manifest(folder / last.last_proven)
    finished = datetime.fromisoformat(manifest.finished_at)
    age = now - finished
    said = f"{finished:%Y-%m-%d %H:%M} UTC, {age.total_seconds() / 3600:.1f} hours ago: {last.last_proven}"
    services = context.config.stack.services
    wanted = {name for name, service in ((MARKETPLACE, "postgres"), (KILLBILL, "killbill")) if service in services}
    if missing := sorted(wanted - {database.name for database in manifest.databases}):
        return _backup(f"{said}, without {' and '.join(missing)}")
    if age < timedelta():
        return _backup(f"{said}: made in the future, so this clock or that one was wrong")
    return _backup(f"{said}, restored and compared", good=age <= OLDEST_BACKUP)


def _backup(evidence: str, *, good: bool = False) -> Line:
    return Line(
        name=BACKUP,
        status="ok" if good else "fail",
        evidence=evidence,
        fix="nasmigrate backup, every day from the Task Scheduler",
    )
