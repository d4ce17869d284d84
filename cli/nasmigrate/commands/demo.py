"""`nasmigrate demo`."""

from __future__ import annotations

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand


@subcommand("demo")
@click.pass_obj
def command(app: App) -> int:
    """Show a cutover and a rollback under a live writer, on an embedded Postgres, in under a minute.

    Everything happens in a temporary folder and is gone afterwards. At the end, what was acknowledged to the writer is
    compared with what is there. Exit 0 if nothing was lost, else 3.
    """
    import tempfile
    from pathlib import Path

    from nasmigrate.commands._run import echo_json
    from nasmigrate.core.documents import Acknowledged, Demo
    from nasmigrate.core.errors import ExitCode
    from nasmigrate.workflows.demo.run import demo

    app.check_options()
    quiet = app.json or app.json_events

    def say(line: str) -> None:
        if not quiet:
            app.close()
            click.echo(f"* {line}")

    with tempfile.TemporaryDirectory(prefix="nasmigrate-demo-") as folder:
        outcome = demo(Path(folder), say=say)
    verdict = outcome.verdict
    if quiet:
        document = Demo(
            acknowledged=Acknowledged(sqlite=outcome.on_sqlite, postgres=outcome.on_postgres),
            refused=verdict.refused,
            unknown=verdict.unknown,
            faults=verdict.faults,
            longest_pause_seconds=round(outcome.longest_pause, 3),
            freeze_seconds=outcome.freeze,
            lock_seconds=outcome.lock,
            seconds=round(outcome.seconds, 1),
            passed=outcome.passed,
        )
        echo_json(document, indent=2)
    else:
        say(
            f"acknowledged {verdict.acknowledged} writes ({outcome.on_sqlite} by SQLite, {outcome.on_postgres} by"
            f" Postgres), refused {verdict.refused}; longest pause {outcome.longest_pause:.2f} s"
        )
        for fault in verdict.faults:
            say(f"LOST: {fault}")
        words = "every acknowledged write is there, none that was refused" if outcome.passed else "the demo failed"
        click.echo(f"{'PASS' if outcome.passed else 'FAIL'}  {words} ({outcome.seconds:.0f} s)")
    return int(ExitCode.OK if outcome.passed else ExitCode.DIFFERENCES)
