"""`nasmigrate rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import both_ends, confirmation, subcommand


@subcommand("rollback")
@both_ends
@click.option("--dry-run", is_flag=True, help="Say how many rows would come home and which values cannot.")
@click.option("--leave-behind", is_flag=True, help="Write tables and columns that came later to files.")
@confirmation()
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    password_file: Path | None,
    dry_run: bool,
    leave_behind: bool,
    yes: bool,
    confirm: str | None,
) -> int:
    """Go back to SQLite with everything that was written to Postgres since the cutover.

    SOURCE is the SQLite file [source.path]. Rows come home while Postgres serves; writes pause for the last of them.
    Postgres is kept as it is. Afterwards `nasmigrate cutover` goes there again.
    """
    from nasmigrate.commands._night import confirm as ask
    from nasmigrate.commands._night import database_name, resume_words, show_result, show_status, survive_hangup
    from nasmigrate.commands._run import source_path, target_of

    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    from nasmigrate.workflows.cutover.options import Options
    from nasmigrate.workflows.rollback import RollbackOptions, preview_rollback, rollback

    if dry_run:
        return show_status(app, preview_rollback(app.context(loaded), path, chosen))
    ask(app, f"roll back from {chosen.display}", database_name(chosen), yes=yes, given=confirm)
    survive_hangup(app)
    options = RollbackOptions(
        leave_behind=leave_behind,
        common=Options(environ=loaded.environ, resume_words=resume_words(app, loaded, path, target, password_file)),
    )
    return show_result(app, rollback(app.context(loaded), path, chosen, options))
