"""`nasmigrate status`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import both_ends, subcommand

_INTERVAL = 2.0


@subcommand("status")
@both_ends
@click.option("--watch", is_flag=True, help="Say it again whenever it changes, until Ctrl-C.")
@click.pass_obj
def command(app: App, source: str | None, target: str | None, password_file: Path | None, watch: bool) -> int:
    """Say where a cutover stands, who may write, what to do next, and what is left to do.

    SOURCE is the SQLite file [source.path]. Both ends are read and neither is changed; only what a crash left half
    written in SQLite is rolled back. Exit 0 when one engine serves, 4 when that is undecided or Postgres cannot be
    reached, 11 when the fence is lost or another target's.
    """
    from nasmigrate.commands._night import show_status, status_lines
    from nasmigrate.commands._run import echo_json, source_path, target_of
    from nasmigrate.core.redaction import printable, redact

    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    from nasmigrate.workflows.status import status

    context = app.context(loaded)
    if not watch:
        return show_status(app, status(context, path, chosen))
    app.close()
    said: list[str] = []
    while True:
        now = status(context, path, chosen)
        lines = status_lines(now)
        if lines != said:
            click.echo(f"-- {time.strftime('%H:%M:%S')}")
            if app.json or app.json_events:
                echo_json(now)
            else:
                for line in lines:
                    click.echo(printable(redact(line)))
            said = lines
        time.sleep(_INTERVAL)
