"""`nasmigrate seed`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import password_file_option, subcommand


@subcommand("seed")
@click.argument("target", required=False)
@click.option("--target", "target_option", metavar="DSN", help="The same as TARGET.")
@password_file_option
@click.option("--undo", is_flag=True, help="Close every account that seeding made. This cannot be undone.")
@click.option("--confirm", metavar="TENANT", help="With --undo: the tenant's key, in place of the question.")
@click.option("--check", is_flag=True, help="Only check that everyone fits Kill Bill's limits; send nothing.")
@click.pass_obj
def command(
    app: App,
    target: str | None,
    target_option: str | None,
    password_file: Path | None,
    undo: bool,
    confirm: str | None,
    check: bool,
) -> int:
    """Put the application's people into Kill Bill, one account each, and prove it.

    TARGET is the migrated database [target.dsn], which gives the people by killbill.query. Accounts that are there
    already are compared, never changed. Ended at any point, the same command goes on.
    """
    from nasmigrate.commands._run import print_json, show, target_of
    from nasmigrate.core.errors import UsageProblem

    if target and target_option:
        raise UsageProblem("the target was given twice: as TARGET and as --target", hint="keep one")
    if undo and check:
        raise UsageProblem("--undo and --check exclude each other")
    loaded = app.load()
    chosen = target_of(app, loaded, target or target_option, password_file)
    context = app.context(loaded)

    from nasmigrate.workflows.seed import check_people, seed, undo_seed

    if check:
        gate = check_people(context, chosen.conninfo)
        app.close()
        if app.json or app.json_events:
            print_json({"gate": gate.model_dump(mode="json")})
        else:
            click.echo(gate.detail)
        return 0 if gate.status == "pass" else 4
    if undo:
        _confirm(loaded.config.killbill.api_key, confirm, asks=not context.no_input and sys.stdin.isatty())
        return show(app, undo_seed(context, chosen))
    return show(app, seed(context, chosen))


def _confirm(tenant: str, given: str | None, *, asks: bool) -> None:
    """Closing is for good, so the tenant has to be named.

    Raises:
        UsageProblem: it was not, or another one was.
    """
    from nasmigrate.core.errors import UsageProblem

    if given is None and asks:
        click.echo(
            "This closes every account that nasmigrate made. Kill Bill opens none again and frees no external key.",
            err=True,
        )
        given = click.prompt(f"Type the tenant's key ({tenant}) to go on", err=True, default="", show_default=False)
    if given != tenant:
        raise UsageProblem(
            f"--undo closes accounts for good; it needs the tenant's key, {tenant!r}",
            hint=f"nasmigrate seed --undo --confirm {tenant}",
        )
