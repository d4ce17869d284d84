"""`nasmigrate checklist`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand

if TYPE_CHECKING:
    from nasmigrate.workflows.checklist import Checklist

_COLORS = {"ok": "green", "fail": "red", "unknown": "yellow"}


@subcommand("checklist")
@click.option(
    "--reboot-test",
    is_flag=True,
    help="Write markers, take the whole stack down and up, and read them back. All services are away meanwhile.",
)
@click.pass_obj
def command(app: App, reboot_test: bool) -> int:
    """Go through the deployment's verification checklist: services, data, secrets, network, backup.

    Each line is ok, fail or unknown, with its evidence. Exit 0 only if all are ok; 3 if one fails, else 4.
    """
    from nasmigrate.commands._stack_watch import given
    from nasmigrate.core.errors import ExitCode
    from nasmigrate.workflows.checklist import checklist

    context, around = given(app)
    found = checklist(context, around, reboot=reboot_test)
    app.close()
    _show(app, found)
    if found.holds:
        return int(ExitCode.OK)
    return int(ExitCode.DIFFERENCES if found.failed else ExitCode.INCONCLUSIVE)


def _show(app: App, found: Checklist) -> None:
    from nasmigrate.commands._run import print_json
    from nasmigrate.core.redaction import printable, redact

    if app.json or app.json_events:
        listed = [
            {"name": line.name, "status": line.status, "evidence": redact(line.evidence), "fix": line.fix}
            for line in found.lines
        ]
        print_json({"holds": found.holds, "lines": listed})
        return
    width = max(len(line.name) for line in found.lines)
    for line in found.lines:
        status = click.style(f"{line.status:<7}", fg=_COLORS[line.status])
        click.echo(f"{status} {line.name:<{width}}  {printable(redact(line.evidence))}")
        if line.fix:
            click.echo(f"{'':<7} {'':<{width}}  -> {printable(redact(line.fix))}")
    click.echo(", ".join(f"{sum(line.status == status for line in found.lines)} {status}" for status in _COLORS))
