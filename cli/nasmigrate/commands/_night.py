"""What the commands of the night share: they outlive the terminal, ask before they act, and tell where things stand."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.core.errors import UsageProblem

if TYPE_CHECKING:
    from nasmigrate.commands._app import App
    from nasmigrate.core.config import LoadedConfig
    from nasmigrate.core.result import Result
    from nasmigrate.core.status import Status
    from nasmigrate.core.target import Target


def survive_hangup(app: App) -> None:
    """Go on when the terminal is lost: SIGHUP is ignored, and nothing that is told can fail."""
    from nasmigrate.commands._progress import JsonReporter, LineReporter, QuietReporter, SteadyReporter

    with suppress(ValueError):  # not in the main thread, so not ours to decide
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if app.json_events:
        app.use_reporter(SteadyReporter(JsonReporter(sys.stdout)))
    elif app.quiet:
        app.use_reporter(QuietReporter())
    else:
        # Lines, not a display that moves: they are still there to be read the next morning.
        app.use_reporter(SteadyReporter(LineReporter(sys.stderr)))


def database_name(target: Target) -> str:
    """The name that a confirmation repeats."""
    from psycopg.conninfo import conninfo_to_dict

    return str(conninfo_to_dict(target.conninfo).get("dbname") or target.display)


def confirm(app: App, what: str, name: str, *, yes: bool, given: str | None) -> None:
    """Go on only if the operator repeats the name: on the terminal, or by `--yes --confirm NAME`.

    Raises:
        UsageProblem: the name is another one, or nobody can be asked.
        click.Abort: the operator thought better of it.
    """
    if yes or given is not None:
        if not yes or given != name:
            raise UsageProblem(f"to {what} without a question: --yes --confirm {name}")
        return
    if app.no_input or not sys.stdin or not sys.stdin.isatty():
        raise UsageProblem(f"to {what} somebody has to agree", hint=f"--yes --confirm {name}")
    answer = click.prompt(f"To {what}, type the name of the database", err=True, default="", show_default=False)
    if answer.strip() != name:
        raise UsageProblem(f"that is not {name!r}; nothing was done")


def resume_words(
    app: App, loaded: LoadedConfig, source: Path, target: str | None, password_file: Path | None
) -> tuple[str, ...]:
    """The command line by which a watchdog settles what this command may leave undecided. It holds no secret."""
    words = [sys.executable, "-m", "nasmigrate", "--no-input"]
    if loaded.file is not None:
        words += ["--config", str(loaded.file)]
    if app.env_file is not None:
        words += ["--env-file", str(app.cwd / app.env_file)]
    words += ["resume", str(source.resolve())]
    if target is not None:
        words += ["--target", target]
    if password_file is not None:
        words += ["--password-file", str(app.cwd / password_file.expanduser())]
    return tuple(words)


def show_result(app: App, result: Result) -> int:
    """Print a result; a terminal that is gone changes nothing about it."""
    from nasmigrate.commands._run import show

    with suppress(OSError):
        show(app, result)
    return result.exit_code


def show_status(app: App, status: Status) -> int:
    """Print where things stand, in words or as a document."""
    from nasmigrate.commands._run import echo_json
    from nasmigrate.core.redaction import printable, redact

    app.close()
    with suppress(OSError):
        if app.json or app.json_events:
            echo_json(status, indent=None if app.json_events else 2)
        else:
            for line in status_lines(status):
                click.echo(printable(redact(line)))
    return status.exit_code


def status_lines(status: Status) -> list[str]:
    """A status as lines of text."""
    lines = [f"{status.meaning}; writes go to: {status.writer}"]
    lines += [f"  {line}" for line in status.says]
    lines += [f"did:  {line}" for line in status.did]
    if status.unreachable:
        lines.append(f"Postgres: {' '.join(status.unreachable.split())}")
    if status.control:
        control = status.control
        lines.append(
            f"Postgres: {status.target}, {control.state} at epoch {control.epoch} since {control.changed_at[:19]}"
            f" by {control.command}" + (", final" if control.finalized else "")
        )
    if status.fence:
        lines.append(f"SQLite:   {status.source}, fenced at epoch {status.fence.epoch} on {status.fence.made_at[:19]}")
    else:
        lines.append(f"SQLite:   {status.source}, not fenced")
    lines += [f"left: {line}" for line in status.left]
    if status.next_step:
        lines.append(f"next: {status.next_step}")
    return lines
