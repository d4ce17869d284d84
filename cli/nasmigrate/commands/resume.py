"""`nasmigrate resume`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import both_ends, confirmation, subcommand


@subcommand("resume")
@both_ends
@click.option("--forward", is_flag=True, help="Between fence and opening: open Postgres instead of undoing.")
@click.option("--postgres-is-gone", is_flag=True, help="Give up what Postgres took, and let SQLite serve.")
@click.option("--adopt", is_flag=True, help="This target is a restored clone of the one the fence stands for.")
@confirmation()
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    password_file: Path | None,
    forward: bool,
    postgres_is_gone: bool,
    adopt: bool,
    yes: bool,
    confirm: str | None,
) -> int:
    """Settle or finish a cutover or rollback that stopped. Twice is the same as once.

    SOURCE is the SQLite file [source.path]. Between fence and opening it drops the fence, so that SQLite serves; once
    Postgres was opened it routes and proves; in a rollback it brings the rows home. It reads what to do from both
    databases alone. The three flags that decide something ask for the name of the database.
    """
    from nasmigrate.commands._night import confirm as ask
    from nasmigrate.commands._night import database_name, resume_words, show_status, survive_hangup
    from nasmigrate.commands._run import source_path, target_of

    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)
    for flag, what in (
        (forward, f"open {chosen.display}"),
        (postgres_is_gone, f"give up whatever {chosen.display} took"),
        (adopt, f"let the fence stand for {chosen.display}"),
    ):
        if flag:
            ask(app, what, database_name(chosen), yes=yes, given=confirm)

    from nasmigrate.workflows.cutover.options import Options
    from nasmigrate.workflows.recover import ResumeOptions, resume

    survive_hangup(app)
    options = ResumeOptions(
        forward=forward,
        postgres_is_gone=postgres_is_gone,
        adopt=adopt,
        common=Options(environ=loaded.environ, resume_words=resume_words(app, loaded, path, target, password_file)),
    )
    return show_status(app, resume(app.context(loaded), path, chosen, options))
