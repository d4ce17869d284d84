"""`nasmigrate rehearse`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import (
    chosen_tables,
    engine_option,
    password_file_option,
    source_argument,
    subcommand,
    table_options,
)


@subcommand("rehearse")
@source_argument
@click.option("--target", metavar="DSN", help="Empty database to rehearse on [a throw-away server].")
@password_file_option
@engine_option
@click.option("--keep-target", is_flag=True, help="Leave the rehearsed target for a look.")
@click.option(
    "--with-stack", is_flag=True, help="Rehearse on the stack's Postgres, and seed a scratch tenant of its Kill Bill."
)
@table_options
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    password_file: Path | None,
    engine: str | None,
    keep_target: bool,
    with_stack: bool,
    only_tables: tuple[str, ...],
    exclude_tables: tuple[str, ...],
) -> int:
    """Do the whole migration on a throw-away target and prove it.

    SOURCE is the SQLite file [source.path of nasmigrate.toml]. It is only read.
    The target of nasmigrate.toml is never written to: a scratch database is made beside it with --with-stack, on the
    server of --target, or on a throw-away server.
    """
    from nasmigrate.commands._run import show, source_path, target_of
    from nasmigrate.core.errors import UsageProblem

    if password_file and not target:
        raise UsageProblem("--password-file needs --target")
    loaded = app.load({"transfer.engine": engine} | chosen_tables(only_tables, exclude_tables))
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file) if target or with_stack else None

    from nasmigrate.workflows.rehearse import rehearse

    return show(app, rehearse(app.context(loaded), path, target=chosen, keep_target=keep_target, with_stack=with_stack))
