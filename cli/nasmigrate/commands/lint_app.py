"""`nasmigrate lint-app`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand

if TYPE_CHECKING:
    from nasmigrate.workflows.lint_app import AppLint

_SHOWN = 5


@subcommand("lint-app")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option("--all", "everything", is_flag=True, help=f"Every place, not {_SHOWN} of each rule.")
@click.pass_obj
def command(app: App, folder: Path, everything: bool) -> int:
    """Look through an application's source for what Postgres will not take.

    FOLDER [.] is read, nothing in it is run. SQL in string literals of JavaScript, TypeScript, Python, Go, PHP and
    others, and in .sql files, is compared with Postgres' dialect and with the newest plan of this folder. Each
    place is a note; an application without any way to Postgres is a decision (exit 3 until it is accepted). A
    line with `nasmigrate:ignore` is left out.
    """
    loaded = app.load()
    source = loaded.resolve(loaded.config.source.path) if loaded.config.source.path else None

    from nasmigrate.commands._run import echo_json
    from nasmigrate.workflows.lint_app import lint_app

    found = lint_app(app.context(loaded), app.cwd / folder.expanduser(), source=source)
    app.close()
    if app.json or app.json_events:
        echo_json(found, indent=None if app.json_events else 2)
    else:
        _show(found, everything=everything)
    return found.exit_code


def _show(found: AppLint, *, everything: bool) -> None:
    from nasmigrate.core.redaction import printable

    rules: dict[str, list[int]] = {}
    for number, hit in enumerate(found.hits):
        rules.setdefault(hit.rule, []).append(number)
    for rule, numbers in sorted(rules.items(), key=lambda item: -len(item[1])):
        click.echo(f"SQL_DIALECT {rule}: {len(numbers)} {'place' if len(numbers) == 1 else 'places'}")
        told: tuple[str, str] | None = None
        for number in numbers if everything else numbers[:_SHOWN]:
            hit = found.hits[number]
            click.echo(f"  {printable(hit.file)}:{hit.line}  {printable(hit.found)}")
            if (hit.message, hit.fix) != told:
                told = (hit.message, hit.fix)
                click.echo(f"      {printable(hit.message)}\n      write: {printable(hit.fix)}")
        if not everything and len(numbers) > _SHOWN:
            click.echo(f"  and {len(numbers) - _SHOWN} more (--all)")
    for finding in found.findings:
        mark = "accepted" if finding.accepted else "note" if finding.severity == "note" else "needs a decision"
        click.echo(f"{finding.code} ({mark}): {finding.message}")
        for key in finding.keys:
            click.echo(f"  {printable(key)}")
        if finding.count > len(finding.keys):
            click.echo(f"  and {finding.count - len(finding.keys)} more")
        if finding.open and finding.accept:
            click.echo("".join(f"      {line}\n" for line in finding.accept.split("\n")), nl=False)
    partly = f", {found.partly_read} of them read word by word only" if found.partly_read else ""
    click.echo(
        f"{len(found.hits)} places in {found.statements} texts of SQL in {found.files} files{partly};"
        f" {sum(finding.open for finding in found.findings)} decisions open"
    )
