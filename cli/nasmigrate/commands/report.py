"""`nasmigrate report`."""

from __future__ import annotations

from pathlib import Path

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand


@subcommand("report")
@click.argument("run", default="latest")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), help="[text, or by the ending of --output]"
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write here (0600), not to stdout.")
@click.pass_obj
def command(app: App, run: str, form: str | None, output: Path | None) -> int:
    """Show the result of a run again. RUN [latest] may be the beginning of a name.

    The exit code is 0 whatever the run's verdict was.
    """
    from nasmigrate.commands.runs import read_result
    from nasmigrate.core.errors import UsageProblem
    from nasmigrate.core.redaction import printable
    from nasmigrate.core.rundir import RunDirectory, write_atomic

    found = RunDirectory.find(app.load().base, run)
    result = read_result(found)
    if result is None:
        raise UsageProblem(
            f"run {found.name}: has no result.json that can be read",
            hint="it was interrupted or failed before its end; nasmigrate runs show tells what it left",
        )
    if form is None:
        endings = {".html": "html", ".htm": "html", ".json": "json"}
        form = endings.get(output.suffix.lower(), "text") if output else "text"
        if app.json or app.json_events:
            form = "json"
    if form == "html":
        from nasmigrate.report import html

        text = html.render(result)
    elif form == "json":
        text = result.model_dump_json(indent=2)
    elif output:
        from nasmigrate.report import text as text_module

        text = text_module.render(result, width=100, color=False)
    else:
        from nasmigrate.commands._run import text_report

        text = text_report(app, result)
    if output is None:
        click.echo(text.rstrip("\n"))
        return 0
    path = app.cwd / output.expanduser()
    try:
        write_atomic(path, (text.rstrip("\n") + "\n").encode("utf-8"))
    except OSError as error:
        raise UsageProblem(f"--output {path}: {error.strerror}") from error
    click.echo(printable(f"wrote {path}"), err=True)
    return 0
