"""`nasmigrate abort`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import both_ends, subcommand


@subcommand("abort")
@both_ends
@click.pass_obj
def command(app: App, source: str | None, target: str | None, password_file: Path | None) -> int:
    """Put back a cutover or rollback that is undecided.

    SOURCE is the SQLite file [source.path]. Before Postgres was opened, SQLite serves again; in a rollback whose rows
    are not home yet, Postgres does. Once it is decided, `rollback` or `resume` is the command. What was copied stays.
    """
    from nasmigrate.commands._night import show_status, survive_hangup
    from nasmigrate.commands._run import source_path, target_of

    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    from nasmigrate.workflows.cutover.options import Options
    from nasmigrate.workflows.recover import abort

    survive_hangup(app)
    return show_status(app, abort(app.context(loaded), path, chosen, Options(environ=loaded.environ)))
