"""What the migrating commands share: which source, which target, and how a result is shown."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.core.errors import UsageProblem
from nasmigrate.core.target import looks_like_target, resolve_target

if TYPE_CHECKING:
    from nasmigrate.commands._app import App
    from nasmigrate.core.config import LoadedConfig
    from nasmigrate.core.result import Document, Result
    from nasmigrate.core.target import Target


def source_path(app: App, loaded: LoadedConfig, given: str | None) -> Path:
    """The source: as given (from the current folder), else of the settings (from their folder).

    Raises:
        UsageProblem: neither, or a target where the source belongs.
    """
    if given:
        if looks_like_target(given):
            raise UsageProblem(
                "SOURCE is the SQLite file, but a target was given",
                hint="give the file first, or set source.path in nasmigrate.toml (nasmigrate init)",
            )
        return app.cwd / Path(given).expanduser()
    if loaded.config.source.path:
        return loaded.resolve(loaded.config.source.path)
    raise UsageProblem(
        "no source: give the SQLite file, or set source.path in nasmigrate.toml",
        hint="nasmigrate init writes nasmigrate.toml for this folder",
    )


def source_and_target(source: str | None, target: str | None, option: str | None) -> tuple[str | None, str | None]:
    """Sort the arguments of `[SOURCE] [TARGET] [--target DSN]`; a lone target may stand first.

    Raises:
        UsageProblem: two targets.
    """
    if source and target is None and looks_like_target(source):
        source, target = None, source
    if target and option:
        raise UsageProblem("the target was given twice: as TARGET and as --target", hint="keep one")
    return source, target or option


def target_of(app: App, loaded: LoadedConfig, given: str | None, password_file: Path | None) -> Target:
    """The target: as given on the command line, else of the settings.

    Raises:
        ConfigError: it cannot be read, or holds a password in argv.
        UsageProblem: no target anywhere.
    """
    if given:
        return resolve_target(
            given,
            environ=loaded.environ,
            password_file=app.cwd / password_file.expanduser() if password_file else None,
            argv=("nasmigrate", *app.argv),
        )
    settings = loaded.config.target
    if not settings.dsn:
        raise UsageProblem(
            "no target: give its DSN, or set target.dsn in nasmigrate.toml",
            hint="postgresql://user@host:5432/dbname, or env:NAME to take it from the environment",
        )
    if password_file is None and settings.password_file:
        password_file = loaded.resolve(settings.password_file)
    elif password_file is not None:
        password_file = app.cwd / password_file.expanduser()
    return resolve_target(
        settings.dsn,
        environ=loaded.environ,
        password_file=password_file,
        origin=f"target.dsn ({loaded.origins['target.dsn']})",
        from_argv=False,
    )


def show(app: App, result: Result) -> int:
    """Print the result on stdout: the report's text, or the document with --json. Returns the exit code."""
    app.close()
    if app.json_events:
        click.echo(json.dumps({"kind": "result", "result": result.model_dump(mode="json")}))
    elif app.json:
        echo_json(result, indent=2)
    else:
        click.echo(text_report(app, result))
    return result.exit_code


def text_report(app: App, result: Result) -> str:
    """The report as text, as wide as the terminal and coloured if it may be."""
    from nasmigrate.report import text

    color = sys.stdout.isatty() if app.color is None else app.color
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    return text.render(result, width=width, color=color).rstrip("\n")


def echo_json(document: Document, *, indent: int | None = None) -> None:
    """Print a document as JSON in ASCII: a name may hold what moves a cursor or turns the reading direction."""
    click.echo(json.dumps(document.model_dump(mode="json"), indent=indent))


def print_json(document: dict[str, object]) -> None:
    """Print a document of a command that has no Result, tagged with the format version."""
    from nasmigrate.core.result import FORMAT_VERSION

    click.echo(json.dumps({"format_version": FORMAT_VERSION, **document}, indent=2))
