"""`nasmigrate finalize`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import both_ends, confirmation, subcommand


@subcommand("finalize")
@both_ends
@confirmation("--confirm and --no-way-back")
@click.option("--no-way-back", is_flag=True, help="The second answer: no rollback will be possible.")
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    password_file: Path | None,
    yes: bool,
    confirm: str | None,
    no_way_back: bool,
) -> int:
    """End the time in which a rollback is possible. Asks twice.

    SOURCE is the SQLite file [source.path]; it stays as it is, fenced, as the last backup from before.
    """
    from nasmigrate.commands._night import confirm as ask
    from nasmigrate.commands._night import database_name, show_status
    from nasmigrate.commands._run import source_path, target_of
    from nasmigrate.core.errors import UsageProblem

    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)
    ask(app, f"make the cutover to {chosen.display} final", database_name(chosen), yes=yes, given=confirm)
    if yes and not no_way_back:
        raise UsageProblem("finalize asks twice", hint="the second answer is --no-way-back")
    if not yes and not no_way_back:
        click.confirm("No rollback will be possible after this. Really", abort=True, err=True)

    from nasmigrate.workflows.finalize import finalize

    return show_status(app, finalize(app.context(loaded), path, chosen))
