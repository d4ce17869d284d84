"""`nasmigrate config show`."""

from __future__ import annotations

import json

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import global_options, subcommand


@click.group("config")
@global_options(hidden=True)
def command() -> None:
    """Show the settings and where each came from."""


@subcommand("show")
@click.option("--sources", is_flag=True, help="Also show where each value came from.")
@click.pass_obj
def show_command(app: App, sources: bool) -> int:
    """Print every setting, with secrets masked.

    Order: flag > NASMIGRATE_* > --env-file > nasmigrate.toml > default.
    """
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.config import settings
    from nasmigrate.core.redaction import redact_all

    loaded = app.load()
    rows = [(key, redact_all(value), loaded.origins.get(key, "default")) for key, value in settings(loaded.config)]
    if app.json or app.json_events:
        print_json(
            {
                "file": None if loaded.file is None else str(loaded.file),
                "settings": [{"key": key, "value": value, "origin": origin} for key, value, origin in rows],
            }
        )
        return 0
    lines = [(f"{key} = {_toml(value)}", origin) for key, value, origin in rows]
    width = max(len(line) for line, _ in lines)
    for line, origin in lines:
        click.echo(f"{line:<{width}}  # {origin}" if sources else line)
    return 0


command.add_command(show_command)


def _toml(value: object) -> str:
    """The value as it would be written; TOML has no null."""
    return "(not set)" if value is None else json.dumps(value)
