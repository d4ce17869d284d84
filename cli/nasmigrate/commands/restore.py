"""`nasmigrate restore`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import password_file_option, subcommand


@subcommand("restore")
@click.argument("backup", required=False)
@click.option("--target", metavar="DSN", help="The empty database to restore into [target.dsn].")
@password_file_option
@click.option("--database", metavar="NAME", help="Which database of the backup [the one of the target's name].")
@click.option("--with-roles", is_flag=True, help="First make the backup's roles that are missing.")
@click.option("--allow-newer-server", is_flag=True, help="Also restore into a newer major version of PostgreSQL.")
@click.pass_obj
def command(
    app: App,
    backup: str | None,
    target: str | None,
    password_file: Path | None,
    database: str | None,
    with_roles: bool,
    allow_newer_server: bool,
) -> int:
    """Restore a database of a backup into an empty one, and compare it with what was dumped.

    BACKUP is a folder, or its name in backup.directory [the newest]. A backup that is not as it was written is refused
    before anything is touched.
    """
    from nasmigrate.commands._run import show, target_of

    loaded = app.load()
    chosen = target_of(app, loaded, target, password_file)
    context = app.context(loaded)

    from nasmigrate.workflows.restore import find_backup, restore
    from nasmigrate.workflows.server_tools import server_tools

    given = str(app.cwd / backup) if backup and (app.cwd / backup).is_dir() else backup
    return show(
        app,
        restore(
            context,
            find_backup(context, given),
            chosen,
            database=database,
            with_roles=with_roles,
            allow_newer_server=allow_newer_server,
            tools_for=server_tools(context, chosen, app.environ),
        ),
    )
