"""`nasmigrate verify`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import password_file_option, source_argument, subcommand


@subcommand("verify")
@source_argument
@click.argument("target", required=False)
@click.option("--target", "target_option", metavar="DSN", help="The target, when SOURCE comes from nasmigrate.toml.")
@password_file_option
@click.option("--round-trip", is_flag=True, help="Also decode Postgres back to SQLite and compare.")
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    target_option: str | None,
    password_file: Path | None,
    round_trip: bool,
) -> int:
    """Compare source and target, row by row. Writes to neither.

    SOURCE is the SQLite file [source.path], TARGET a postgresql:// URL, 'host=… dbname=…' or env:NAME
    [target.dsn].
    """
    from nasmigrate.commands._run import show, source_and_target, source_path, target_of

    source, target = source_and_target(source, target, target_option)
    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    from nasmigrate.workflows.verify import verify

    return show(app, verify(app.context(loaded), path, chosen, round_trip=round_trip))
