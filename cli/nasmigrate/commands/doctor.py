"""`nasmigrate doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import password_file_option, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from nasmigrate.core.config import LoadedConfig
    from nasmigrate.core.target import Target
    from nasmigrate.workflows.doctor import DoctorCheck

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "bright_black"}


@subcommand("doctor")
@click.argument("source", required=False)
@click.option("--target", metavar="DSN", help="The target to check [target.dsn].")
@password_file_option
@click.pass_obj
def command(app: App, source: str | None, target: str | None, password_file: Path | None) -> int:
    """Check everything a migration needs: this machine, the settings, the source, the target, the application.

    Every check is run; each that fails says what to do. Exit 0 if none failed, else 6.
    """
    from nasmigrate.core.errors import ExitCode, NasmigrateError
    from nasmigrate.workflows.doctor import doctor, failed_check

    app.check_options()
    problems: list[DoctorCheck] = []
    try:
        loaded = app.load()
    except NasmigrateError as error:
        problems.append(failed_check("settings", error))
        loaded = _without_settings(app)
    source_file, chosen = None, None
    if source or loaded.config.source.path:
        try:
            source_file = _source(app, loaded, source)
        except NasmigrateError as error:
            problems.append(failed_check("source", error))
    if target or loaded.config.target.dsn:
        try:
            chosen = _target(app, loaded, target, password_file)
        except NasmigrateError as error:
            problems.append(failed_check("target", error))
    checks = doctor(
        app.context(loaded),
        source=source_file,
        target=chosen,
        problems=problems,
        config_file=loaded.file,
        environ=loaded.environ,
    )
    app.close()
    _show(app, checks)
    return int(ExitCode.PREFLIGHT if any(check.status == "fail" for check in checks) else ExitCode.OK)


def _without_settings(app: App) -> LoadedConfig:
    """Defaults, so that the other checks can still run."""
    from nasmigrate.core.config import Config, LoadedConfig

    app.enter(app.cwd)
    return LoadedConfig(config=Config(), origins={}, file=None, base=app.cwd, environ=app.environ)


def _source(app: App, loaded: LoadedConfig, given: str | None) -> Path:
    from nasmigrate.commands._run import source_path

    return source_path(app, loaded, given)


def _target(app: App, loaded: LoadedConfig, given: str | None, password_file: Path | None) -> Target:
    from nasmigrate.commands._run import target_of

    return target_of(app, loaded, given, password_file)


def _show(app: App, checks: Sequence[DoctorCheck]) -> None:
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.redaction import printable, redact

    if app.json or app.json_events:
        print_json(
            {"checks": [{"name": c.name, "status": c.status, "detail": redact(c.detail), "fix": c.fix} for c in checks]}
        )
        return
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = click.style(f"{check.status:<7}", fg=_COLORS[check.status])
        click.echo(f"{status} {check.name:<{width}}  {printable(redact(' '.join(check.detail.split())))}")
        if check.fix and check.status in ("warn", "fail"):
            for line in check.fix.split("\n"):
                click.echo(f"{'':<7} {'':<{width}}  -> {printable(redact(line))}")
    counts = [f"{sum(c.status == status for c in checks)} {status}" for status in _COLORS]
    click.echo(", ".join(counts))
