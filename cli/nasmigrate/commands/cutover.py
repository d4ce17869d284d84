"""`nasmigrate cutover`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import confirmation, password_file_option, source_argument, subcommand

if TYPE_CHECKING:
    from nasmigrate.workflows.cutover.options import NightPlan


@subcommand("cutover")
@source_argument
@click.argument("target", required=False)
@click.option("--target", "target_option", metavar="DSN", help="The target, when SOURCE comes from nasmigrate.toml.")
@password_file_option
@click.option("--dry-run", is_flag=True, help="Print what would be done, in order, and do nothing.")
@click.option("--app-stopped", is_flag=True, help="The application does not run: the freeze has no limit.")
@click.option("--max-freeze", type=click.FloatRange(min=0.05), metavar="SECONDS", help="Most seconds of the freeze.")
@confirmation()
@click.pass_obj
def command(
    app: App,
    source: str | None,
    target: str | None,
    target_option: str | None,
    password_file: Path | None,
    dry_run: bool,
    app_stopped: bool,
    max_freeze: float | None,
    yes: bool,
    confirm: str | None,
) -> int:
    """Move the live application to Postgres.

    SOURCE is the SQLite file [source.path], TARGET a postgresql:// URL, 'host=… dbname=…' or env:NAME [target.dsn]. The
    plan must have been rehearsed in this folder. Writes pause for about a second; until Postgres is opened, every
    failure leaves the application on SQLite. A lost terminal does not stop it: `nasmigrate status --watch` shows it
    from another one.
    """
    from nasmigrate.commands._night import confirm as ask
    from nasmigrate.commands._night import database_name, resume_words, show_result, survive_hangup
    from nasmigrate.commands._run import source_and_target, source_path, target_of

    source, target = source_and_target(source, target, target_option)
    loaded = app.load()
    path = source_path(app, loaded, source)
    chosen = target_of(app, loaded, target, password_file)

    from nasmigrate.workflows.cutover.options import Options
    from nasmigrate.workflows.cutover.run import cutover, plan_cutover

    options = Options(
        app_stopped=app_stopped,
        max_freeze=max_freeze,
        environ=loaded.environ,
        resume_words=resume_words(app, loaded, path, target, password_file),
    )
    night = plan_cutover(app.context(loaded), path, chosen, options)
    if dry_run:
        return _show_plan(app, night)
    ask(app, f"cut over to {chosen.display}", database_name(chosen), yes=yes, given=confirm)
    survive_hangup(app)
    return show_result(app, cutover(app.context(loaded), path, chosen, options))


def _show_plan(app: App, night: NightPlan) -> int:
    from nasmigrate.commands._run import echo_json
    from nasmigrate.core.documents import PlannedCutover, PlannedPhase
    from nasmigrate.core.redaction import printable, redact

    app.close()
    if app.json or app.json_events:
        document = PlannedCutover(
            source=night.source,
            target=night.target,
            role=night.role,
            max_freeze_seconds=night.limit,
            steps=tuple(
                PlannedPhase(
                    phase=step.phase.key,
                    name=step.phase.name,
                    does=step.phase.does,
                    application=step.phase.application,
                    details=tuple(redact(detail) for detail in step.details),
                )
                for step in night.steps
            ),
        )
        echo_json(document, indent=2)
        return 0
    click.echo(printable(f"{night.source} -> {night.target}, role {night.role}"))
    for step in night.steps:
        mark = "  <- commit point" if step.phase.commit_point else ""
        click.echo(f"{step.phase.key:<3} {step.phase.name}{mark}")
        click.echo(f"    {step.phase.does}")
        for detail in step.details:
            click.echo(printable(redact(f"    - {detail}")))
        click.echo(f"    the application: {step.phase.application}")
    click.echo("nothing was done; the same without --dry-run does it")
    return 0
