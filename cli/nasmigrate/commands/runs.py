"""`nasmigrate runs list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import global_options, subcommand

if TYPE_CHECKING:
    from nasmigrate.core.result import Result
    from nasmigrate.core.rundir import RunDirectory


@click.group("runs")
@global_options(hidden=True)
def command() -> None:
    """List past runs and show what they left."""


@subcommand("list")
@click.pass_obj
def list_command(app: App) -> int:
    """List the runs of this folder, the oldest first."""
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.rundir import list_runs

    base = app.load().base
    rows = [(run, read_result(run)) for run in list_runs(base)]
    if app.json or app.json_events:
        print_json({"runs": [_facts(run, result) for run, result in rows]})
        return 0
    for run, result in rows:
        verdict = f"{result.verdict:<12} exit {result.exit_code:<3} {result.seconds:8.1f} s" if result else "no result"
        click.echo(f"{run.name:<36} {verdict}".rstrip())
    if not rows:
        click.echo("no runs yet", err=True)
    return 0


@subcommand("show")
@click.argument("name", default="latest")
@click.pass_obj
def show_command(app: App, name: str) -> int:
    """Show one run: its verdict and its files. NAME [latest] may be the beginning of a name."""
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.redaction import printable
    from nasmigrate.core.rundir import RunDirectory

    run = RunDirectory.find(app.load().base, name)
    result = read_result(run)
    files = sorted(path for path in run.root.rglob("*") if path.is_file() and not path.is_symlink())
    sizes = {str(path.relative_to(run.root)): path.stat().st_size for path in files}
    if app.json or app.json_events:
        print_json({**_facts(run, result), "files": sizes})
        return 0
    click.echo(printable(str(run.root)))
    if result is None:
        click.echo("no result: the run was interrupted or failed before its end")
    else:
        click.echo(printable(f"{result.command}: {result.source} -> {result.target}"))
        click.echo(f"verdict {result.verdict}, exit {result.exit_code}, {result.seconds:.1f} s")
    for file, size in sizes.items():
        click.echo(f"{size:>14,}  {printable(file)}")
    return 0


command.add_command(list_command)
command.add_command(show_command)


def read_result(run: RunDirectory) -> Result | None:
    """The run's result.json, or None when it has none that can be read."""
    from pydantic import ValidationError

    from nasmigrate.core.result import Result

    try:
        return Result.model_validate_json(run.path("result.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _facts(run: RunDirectory, result: Result | None) -> dict[str, object]:
    return {
        "name": run.name,
        "path": str(run.root),
        "command": result.command if result else None,
        "verdict": result.verdict if result else None,
        "exit_code": result.exit_code if result else None,
        "seconds": result.seconds if result else None,
    }
