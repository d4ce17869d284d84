"""`nasmigrate stack up|down|status|logs|import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import global_options, subcommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nasmigrate.core.context import Context
    from nasmigrate.stack.containers import Container
    from nasmigrate.workflows.stack import StackUp, Surroundings


@click.group("stack")
@global_options(hidden=True)
def command() -> None:
    """Run Postgres, Redis, Kill Bill and the marketplace in containers."""


@subcommand("up")
@click.pass_obj
def up_command(app: App) -> int:
    """Bring the stack up and prove it: healthy, its databases made, Kill Bill on Postgres.

    The first time, compose.yaml, its settings and its secrets are written to the folder of stack.directory [stack].
    Again is "already running". Exit 0 only if every service is healthy.
    """
    from nasmigrate.commands._stack_watch import given
    from nasmigrate.workflows.stack import stack_up

    context, around = given(app)
    outcome = stack_up(context, around)
    app.close()
    filled = _fill_in_settings(app, context, around)
    if app.json or app.json_events:
        _print({"already_running": outcome.already_running, "services": _facts(outcome.containers)})
        return 0
    _say_up(outcome)
    if filled:
        click.echo(f"nasmigrate.toml now has {', '.join(filled)} of this stack")
    return 0


@subcommand("down")
@click.option(
    "--remove-volume",
    "remove_volumes",
    multiple=True,
    metavar="NAME",
    help="Remove this volume, and all data in it, for good. Repeatable.",
)
@click.pass_obj
def down_command(app: App, remove_volumes: tuple[str, ...]) -> int:
    """Stop and remove the containers. Data stays: volumes are removed only if each is named."""
    from nasmigrate.commands._stack_watch import given
    from nasmigrate.workflows.stack import stack_down

    context, around = given(app)
    removed = stack_down(context, around, remove_volumes=remove_volumes)
    app.close()
    if app.json or app.json_events:
        _print({"removed_volumes": list(removed)})
        return 0
    click.echo("down; " + (f"removed for good: {', '.join(removed)}" if removed else "all data is kept"))
    return 0


@subcommand("status")
@click.pass_obj
def status_command(app: App) -> int:
    """Show each service's state, health and ports. Exit 0 if all are healthy, else 3."""
    from nasmigrate.commands._stack_watch import given
    from nasmigrate.core.errors import ExitCode
    from nasmigrate.workflows.stack import stack_status

    context, around = given(app)
    status = stack_status(context, around)
    app.close()
    if app.json or app.json_events:
        _print({"ready": status.ready, "services": _facts(status.containers), "missing": list(status.missing)})
    else:
        for container in status.containers:
            click.echo(_line(container))
        for service in status.missing:
            click.echo(f"{service:<16} no container")
    return int(ExitCode.OK if status.ready else ExitCode.DIFFERENCES)


@subcommand("logs")
@click.argument("service")
@click.option("--lines", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many of the last.")
@click.pass_obj
def logs_command(app: App, service: str, lines: int) -> int:
    """Show the last lines of SERVICE's log, passwords masked."""
    from nasmigrate.commands._stack_watch import given
    from nasmigrate.core.redaction import printable, redact
    from nasmigrate.workflows.stack import stack_log

    context, around = given(app)
    written = stack_log(context, around, service, lines=lines)
    app.close()
    for line in written:
        click.echo(printable(redact(line.expandtabs(8))))
    return 0


@subcommand("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def import_command(app: App, file: Path) -> int:
    """Read an existing compose FILE and say which of the known defects it has, each with its correction.

    Nothing is changed. Exit 0 if there is none, else 3.
    """
    from nasmigrate.core.errors import ExitCode
    from nasmigrate.core.redaction import printable, redact
    from nasmigrate.stack.defects import find_defects, read_compose_file

    app.check_options()
    defects = find_defects(read_compose_file(file))
    if app.json or app.json_events:
        facts = [{"code": d.code, "where": d.where, "what": d.what, "correction": d.correction} for d in defects]
        _print({"file": str(file), "defects": facts})
    else:
        for defect in defects:
            label = click.style(f"{defect.code:<22}", fg="yellow")
            click.echo(f"{label} {printable(redact(defect.where))}: {printable(redact(defect.what))}")
            click.echo(f"{'':<22} -> {defect.correction}")
        click.echo(f"{len(defects)} defects" if defects else "none of the known defects")
        if defects:
            click.echo("compose.yaml of `nasmigrate stack up` has none of them; see docs/stack.md")
    return int(ExitCode.DIFFERENCES if defects else ExitCode.OK)


for _subcommand in (up_command, down_command, status_command, logs_command, import_command):
    command.add_command(_subcommand)


def _fill_in_settings(app: App, context: Context, around: Surroundings) -> tuple[str, ...]:
    """Point the settings at the stack's source and target where they name none yet; returns the keys written."""
    from nasmigrate.core.config import FILE_NAME
    from nasmigrate.core.config_edit import fill_in
    from nasmigrate.workflows.stack_settings import settings_of_stack

    file = app.cwd / app.config if app.config else context.base / FILE_NAME
    wanted = settings_of_stack(context, around.environ)
    return fill_in(file, wanted) if wanted and file.is_file() else ()


def _say_up(outcome: StackUp) -> None:
    from nasmigrate.core.redaction import printable

    for name in outcome.prepared.written:
        click.echo(f"wrote {printable(str(outcome.prepared.folder / name))}")
    for name in outcome.prepared.differs:
        click.echo(f"note: {name} in {outcome.prepared.folder} is not as shipped; it was left as it is", err=True)
    made = outcome.databases
    if made is not None:
        if made.marketplace_made:
            click.echo("made database marketplace, and its roles")
        if made.killbill is not None and made.killbill.ran_modules:
            click.echo(f"made database killbill: {made.killbill.tables} tables of Kill Bill {made.killbill_version}")
    for container in outcome.containers:
        click.echo(_line(container))
    click.echo("already running" if outcome.already_running else "up: every service is healthy")


def _line(container: Container) -> str:
    from nasmigrate.core.redaction import printable

    ports = " ".join(f"{port.address}:{port.host}->{port.container}" for port in container.ports)
    health = container.health or "no health check"
    state = container.state if container.state != "running" else health
    ended = f" (exit code {container.exit_code})" if container.state == "exited" else ""
    color = "green" if container.ready else "red"
    status = click.style(f"{state}{ended}", fg=color)
    return printable(f"{container.service:<16} ") + f"{status}  {printable(f'{container.image}  {ports}'.rstrip())}"


def _facts(containers: Sequence[Container]) -> list[dict[str, object]]:
    return [
        {
            "service": each.service,
            "name": each.name,
            "image": each.image,
            "state": each.state,
            "health": each.health or None,
            "exit_code": each.exit_code,
            "restarts": each.restarts,
            "ports": [{"address": port.address, "host": port.host, "container": port.container} for port in each.ports],
        }
        for each in containers
    ]


def _print(document: dict[str, object]) -> None:
    from nasmigrate.commands._run import print_json

    print_json(document)
