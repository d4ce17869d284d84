"""`nasmigrate backup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import password_file_option, subcommand

if TYPE_CHECKING:
    from nasmigrate.core.config import LoadedConfig


@subcommand("backup")
@click.argument("target", required=False)
@click.option("--target", "target_option", metavar="DSN", help="The same as TARGET.")
@password_file_option
@click.option("--directory", metavar="DIR", help="Where the backups are [backup.directory].")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Backups to keep [backup.keep].")
@click.option("--no-source", is_flag=True, help="Leave the SQLite file out.")
@click.option("--list", "list_", is_flag=True, help="List the backups, the oldest first, and make none.")
@click.option("--check", metavar="BACKUP", help="Check that a backup still is as it was written, and make none.")
@click.pass_obj
def command(
    app: App,
    target: str | None,
    target_option: str | None,
    password_file: Path | None,
    directory: str | None,
    keep: int | None,
    no_source: bool,
    list_: bool,
    check: str | None,
) -> int:
    """Dump the databases and the source, and prove that it restores.

    TARGET is any database of the server [target.dsn]. Everything is restored and compared before it gets the name of a
    backup. With --quiet nothing is printed unless it fails: for a scheduler, which goes by the exit code and
    last-backup.json.
    """
    from nasmigrate.commands._run import show, target_of
    from nasmigrate.core.errors import UsageProblem

    if target and target_option:
        raise UsageProblem("the target was given twice: as TARGET and as --target", hint="keep one")
    where = str(app.cwd / Path(directory).expanduser()) if directory else None
    loaded = app.load({"backup.directory": where, "backup.keep": keep})
    if list_ or check:
        return _look(app, loaded, check)
    chosen = target_of(app, loaded, target or target_option, password_file)
    source = None if no_source else _source(loaded)

    from nasmigrate.workflows.backup import backup
    from nasmigrate.workflows.server_tools import server_tools

    context = app.context(loaded)
    result = backup(context, chosen, source=source, tools_for=server_tools(context, chosen, app.environ))
    if app.quiet and result.exit_code == 0 and not (app.json or app.json_events):
        app.close()
        return 0
    return show(app, result)


def _source(loaded: LoadedConfig) -> Path | None:
    """The SQLite file of the settings, if they name one."""
    return loaded.resolve(loaded.config.source.path) if loaded.config.source.path else None


def _look(app: App, loaded: LoadedConfig, check: str | None) -> int:
    from nasmigrate.backup.manifest import backups, read_manifest
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.errors import BackupRefused
    from nasmigrate.workflows.restore import check_backup, find_backup

    context = app.context(loaded)
    app.close()
    if check:
        folder = find_backup(context, check)
        manifest = check_backup(context, folder)
        if app.json or app.json_events:
            print_json({"backup": str(folder), "manifest": manifest.model_dump(mode="json")})
        else:
            click.echo(f"{folder}: every file is as it was written; {', '.join(d.name for d in manifest.databases)}")
        return 0
    rows: list[dict[str, object]] = []
    for folder in backups(loaded.resolve(loaded.config.backup.directory)):
        try:
            manifest = read_manifest(folder)
        except BackupRefused as error:
            rows.append({"backup": folder.name, "error": error.message})
            line = f"{folder.name}  {error.message}"
        else:
            names = [database.name for database in manifest.databases]
            size = sum(file.bytes for file in manifest.files)
            version = manifest.server_version
            rows.append({"backup": folder.name, "databases": names, "bytes": size, "server_version": version})
            line = f"{folder.name}  {size:>14,}  PostgreSQL {version}  {', '.join(names)}"
        if not (app.json or app.json_events):
            click.echo(line)
    if app.json or app.json_events:
        print_json({"backups": rows})
    elif not rows:
        click.echo("no backups yet", err=True)
    return 0
