"""Global options, accepted before and after the name of the subcommand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nasmigrate.commands._app import App

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

GLOBAL_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--config", {"type": click.Path(path_type=Path), "metavar": "FILE", "help": "Settings [nasmigrate.toml]."}),
    ("--env-file", {"type": click.Path(path_type=Path), "metavar": "FILE", "help": "KEY=VALUE lines to add."}),
    ("--json", {"is_flag": True, "help": "Print one JSON document on stdout."}),
    ("--json-events", {"is_flag": True, "help": "Print one JSON line per event on stdout."}),
    ("--no-input", {"is_flag": True, "help": "Never ask."}),
    ("--show-values", {"is_flag": True, "help": "Show row values in findings and differences."}),
    ("--debug", {"is_flag": True, "help": "Print the traceback of an error."}),
    ("--quiet", {"is_flag": True, "help": "No progress on stderr."}),
)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store a given option on the app; one not given here leaves what stood before the subcommand."""
    app = context.find_object(App)
    if app is not None and value and parameter.name:
        setattr(app, parameter.name, value)


def global_options(*, hidden: bool) -> Callable[[Decorated], Decorated]:
    """Add the global options; subcommands hide them from their help."""

    def decorate(function: Decorated) -> Decorated:
        for name, settings in reversed(GLOBAL_OPTIONS):
            option = click.option(name, expose_value=False, callback=_remember, hidden=hidden, **settings)
            function = option(function)
        return function

    return decorate


def subcommand(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` with the global options, told where to find them."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        settings.setdefault("epilog", "Global options: nasmigrate --help")
        made = click.command(name, cls=click.Command, **settings)
        return made(global_options(hidden=True)(function))

    return decorate


# Text, not a path: pathlib would fold the `//` of a URL that belongs to the next argument.
source_argument = click.argument("source", required=False)
_TABLE_OPTIONS = {
    "only_tables": ("--only-table", "Copy this table only; may be repeated."),
    "exclude_tables": ("--exclude-table", "Leave this table out; may be repeated."),
}


def table_options(function: Decorated) -> Decorated:
    """Add the options that choose tables; what they were given is for `chosen_tables`."""
    for name, (flag, text) in reversed(_TABLE_OPTIONS.items()):
        function = click.option(flag, name, multiple=True, metavar="NAME", help=text)(function)
    return function


def chosen_tables(only_tables: tuple[str, ...], exclude_tables: tuple[str, ...]) -> dict[str, object]:
    """The settings of the options that choose tables, for App.load; an option that is not there settles nothing."""
    return {"plan.only_tables": only_tables or None, "plan.exclude_tables": exclude_tables or None}


password_file_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File (0600) that holds the target's password alone.",
)


def both_ends(function: Decorated) -> Decorated:
    """Add SOURCE, --target and --password-file: what a command about a cutover is told where to look."""
    target = click.option("--target", metavar="DSN", help="The target [target.dsn].")
    return source_argument(target(password_file_option(function)))


def confirmation(needs: str = "--confirm") -> Callable[[Decorated], Decorated]:
    """Add --yes and --confirm, for `_night.confirm`; `needs` is what --yes is nothing without."""

    def decorate(function: Decorated) -> Decorated:
        name = click.option("--confirm", metavar="NAME", help="The name of the database, repeated.")
        return click.option("--yes", is_flag=True, help=f"Ask nothing; needs {needs}.")(name(function))

    return decorate


engine_option = click.option(
    "--engine",
    type=click.Choice(["native", "pgloader"]),
    help="What copies the rows [native]; tables that pgloader cannot carry go the native way.",
)
