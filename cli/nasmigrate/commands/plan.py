"""`nasmigrate plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import chosen_tables, source_argument, subcommand, table_options

if TYPE_CHECKING:
    from nasmigrate.core.config import LoadedConfig
    from nasmigrate.core.result import Result


@subcommand("plan")
@source_argument
@click.option("--write-accepts", is_flag=True, help="Add every open finding to [plan] accept of nasmigrate.toml.")
@click.option("--write-migrations", is_flag=True, help="Write the Alembic revisions.")
@table_options
@click.pass_obj
def command(
    app: App,
    source: str | None,
    write_accepts: bool,
    write_migrations: bool,
    only_tables: tuple[str, ...],
    exclude_tables: tuple[str, ...],
) -> int:
    """Show what would be created, converted and not carried.

    SOURCE is the SQLite file [source.path of nasmigrate.toml]. It is only read; no target is needed.
    """
    from nasmigrate.commands._run import show, source_path

    loaded = app.load(chosen_tables(only_tables, exclude_tables))
    path = source_path(app, loaded, source)

    from nasmigrate.workflows.plan import plan

    result = plan(app.context(loaded), path, write_migrations=write_migrations)
    code = show(app, result)
    if write_accepts:
        _accept(loaded, result)
    return code


def _accept(loaded: LoadedConfig, result: Result) -> None:
    """Write down the answers, and say so: accepting in bulk must not pass unseen."""
    from nasmigrate.core.config import FILE_NAME, append_accepts
    from nasmigrate.core.redaction import printable

    # A refusal cannot be accepted; only the schema or the data can answer it.
    identities = [
        finding.identity for finding in result.findings if finding.open and finding.severity in ("widened", "decision")
    ]
    file = loaded.file or loaded.base / FILE_NAME
    added = append_accepts(file, identities) if identities else ()
    for identity in added:
        click.echo(f"accepted {printable(identity)}", err=True)
    if added:
        click.echo(f"{file}: {len(added)} added to [plan] accept; read them, then run nasmigrate plan again", err=True)
    else:
        click.echo("nothing to accept", err=True)
