"""`nasmigrate init`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand


@subcommand("init")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--source", type=click.Path(path_type=Path), metavar="PATH", help="The SQLite file to move.")
@click.pass_obj
def command(app: App, directory: Path | None, source: Path | None) -> int:
    """Write nasmigrate.toml for a folder.

    DIRECTORY [.] is searched for a SQLite file. An existing nasmigrate.toml is never overwritten.
    """
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.redaction import printable
    from nasmigrate.workflows.init import init

    app.check_options()
    outcome = init(
        app.cwd / (directory or Path()).expanduser(),
        source=app.cwd / source.expanduser() if source else None,
    )
    if app.json or app.json_events:
        print_json(
            {
                "file": str(outcome.file),
                "source": None if outcome.source is None else str(outcome.source),
                "candidates": [str(candidate.path) for candidate in outcome.candidates],
            }
        )
        return 0
    click.echo(printable(f"wrote {outcome.file}"))
    if outcome.source is None:
        click.echo("no SQLite file found: set source.path there")
    else:
        click.echo(printable(f"source {outcome.source}"))
    click.echo("next: nasmigrate doctor")
    return 0
