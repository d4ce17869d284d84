"""The one place where an error becomes lines on stderr and an exit code."""

from __future__ import annotations

import json
import logging
import shlex
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasmigrate.core.errors import ExitCode, NasmigrateError
from nasmigrate.core.redaction import printable, redact, redact_all

if TYPE_CHECKING:
    from nasmigrate.commands._app import App

_LOGGER = logging.getLogger("nasmigrate.commands")


def failed(app: App, error: Exception) -> int:
    """Report any exception; the traceback goes to the run's log, and to stderr with --debug."""
    app.close()
    log = _write_log(app, error)
    if isinstance(error, NasmigrateError):
        code, exit_code, message, hint = error.code, int(error.exit_code), error.message, error.hint
        details = error.details
    else:
        code, exit_code = "NM0100", int(ExitCode.UNEXPECTED)
        message = f"unexpected {type(error).__name__}: {error}"
        hint = "this is a bug; the log has the traceback" if log else "this is a bug; run again with --debug"
        details = {}
    if app.debug:
        click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
    _say(app, code, message, hint, _checks(error), log, getattr(error, "lines", ()))
    _document(app, code, message, hint, details, exit_code)
    return exit_code


def usage(app: App, error: click.ClickException) -> int:
    """Report what Click refused: exit 2, with the usage line Click prints."""
    app.close()
    error.show()
    _document(app, "NM0201", error.format_message(), None, {}, error.exit_code)
    return error.exit_code


def interrupted(app: App) -> int:
    """Report Ctrl-C, SIGTERM or SIGHUP: exit 130, and how to go on."""
    app.close()
    run = app.run_made()
    words = ["nasmigrate", *app.argv]
    command = run.name.split("-", 1)[1].rpartition("-")[0] if run else ""
    if command == "copy" and "--resume" not in words:
        words.append("--resume")
    go_on = redact(" ".join(shlex.quote(word) for word in words))
    if command in ("cutover", "rollback", "resume", "abort"):
        hint = "nasmigrate status says which engine serves; nasmigrate resume settles or finishes what is left"
    else:
        hint = f"the source was not changed; to go on: {go_on}"
    log = run.path("debug.log") if run else None
    _say(app, "NM0130", "interrupted", hint, (), log if log and log.exists() else None)
    _document(app, "NM0130", "interrupted", hint, {}, int(ExitCode.INTERRUPTED))
    return int(ExitCode.INTERRUPTED)


def _say(
    app: App,
    code: str,
    message: str,
    hint: str | None,
    checks: tuple[str, ...],
    log: Path | None,
    lines: tuple[str, ...] = (),
) -> None:
    label = click.style(f"error[{code}]:", fg="red", bold=True)
    click.echo(f"{label} {_safe(message)}", err=True, color=app.color)
    for check in checks:
        click.echo(f"  - {_safe(check)}", err=True)
    for line in lines:
        click.echo(f"  | {_safe(line)}", err=True)
    if hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {_safe(hint)}", err=True, color=app.color)
    if log is not None:
        click.echo(f"{click.style('log:', fg='cyan')} {_safe(str(log))}", err=True, color=app.color)


def _safe(text: str) -> str:
    """Redacted, and line by line free of control characters: names in a hostile file end up in messages.

    Further lines are indented, or a name with a line break could forge a message.
    """
    return "\n  ".join(printable(line) for line in redact(text).expandtabs(4).split("\n"))


def _checks(error: Exception) -> tuple[str, ...]:
    checks = getattr(error, "checks", ())
    return tuple(str(check) for check in checks)


def _document(app: App, code: str, message: str, hint: str | None, details: dict[str, object], exit_code: int) -> None:
    """The same for scripts: one JSON document on stdout, when JSON was asked for."""
    if not (app.json or app.json_events):
        return
    error = {
        "code": code,
        "message": redact(message),
        "hint": redact(hint) if hint else None,
        "details": redact_all(details),
        "exit_code": exit_code,
    }
    document = {"format_version": 1, "error": error}
    if app.json_events:
        click.echo(json.dumps({"kind": "error", **document}))
    else:
        click.echo(json.dumps(document, indent=2))


def _write_log(app: App, error: Exception) -> Path | None:
    """Put the traceback into the log of this command's run, if it came as far as having one."""
    if isinstance(error, NasmigrateError) and "log" in error.details:
        return Path(str(error.details["log"]))  # the run wrote it itself
    try:
        run = app.run_made()
        if run is None:
            return None
        with run.debug_log(_LOGGER):
            _LOGGER.error("the command failed", exc_info=error)
        return run.path("debug.log")
    except OSError:  # a full disk must not hide the error itself
        return None
