"""What is off for the night, the application's pages and its jobs, and how `status` knows of it after a crash.

Each command is written into the journal: one that switches something off before it runs, since it may have done its
work however it ends; one that switches it on again once it has. The journal may be lost: `resume` asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nasmigrate.core.config import Config
from nasmigrate.core.context import Context
from nasmigrate.workflows.cutover.hooks import run_hook
from nasmigrate.workflows.cutover.journal import Entry, Journal
from nasmigrate.workflows.cutover.options import Options

_HOOK: Final = "hook"
PAGE: Final = ("maintenance_on", "maintenance_off")
JOBS: Final = ("cron_pause", "cron_resume")


def switches(config: Config) -> bool:
    """Whether anything is to be switched off."""
    return config.app.maintenance_on is not None or config.app.cron_pause is not None


def switch_off(context: Context, options: Options, journal: Journal, point: str, command: str | None) -> None:
    """Run the command of a point that switches something off, if it has one.

    Raises:
        ExternalToolError, ConfigError: as for `run_hook`; it may be off all the same.
    """
    if command is not None:
        journal.add(_HOOK, "", point)
    run_hook(point, command, context.base, context.config.app.command_timeout, options.runner)


def has_run(journal: Journal, point: str) -> None:
    """The command of a point has come to its end."""
    journal.add(_HOOK, "", point)


def may_be_off(config: Config, entries: Sequence[Entry], pair: tuple[str, str]) -> bool:
    """Whether the last command of the two in the journal was the first one, and there is a second one."""
    ran = [entry.detail for entry in entries if entry.kind == _HOOK and entry.detail in pair]
    return ran[-1:] == [pair[0]] and getattr(config.app, pair[1]) is not None
