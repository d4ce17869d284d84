"""The root command. Subcommands are imported when they are run, so that `--help` is quick."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

from nasmigrate.commands._options import global_options

# name -> the line shown by --help; the module has the same name (with _ for -) and offers `command`.
SUBCOMMANDS = {
    "init": "Write nasmigrate.toml for this folder.",
    "doctor": "Check everything a migration needs.",
    "plan": "Show what would be created, converted and not carried.",
    "rehearse": "Do the whole migration on a throw-away target and prove it.",
    "copy": "Copy the source into an empty target and verify it.",
    "verify": "Compare source and target, row by row.",
    "cutover": "Move the live application to Postgres.",
    "status": "Say where a cutover stands and who may write.",
    "resume": "Settle or finish a cutover or rollback that stopped.",
    "abort": "Put back a cutover or rollback that is undecided.",
    "rollback": "Go back to SQLite with everything written since.",
    "demo": "Show a cutover and a rollback under a live writer.",
    "finalize": "End the time in which a rollback is possible.",
    "lint-app": "Look through an application's source for what Postgres will not take.",
    "stack": "Run Postgres, Redis, Kill Bill and the marketplace in containers.",
    "checklist": "Go through the deployment's verification checklist.",
    "seed": "Put the application's people into Kill Bill.",
    "backup": "Dump the databases and the source, and prove that it restores.",
    "restore": "Restore a database of a backup into an empty one.",
    "report": "Show the result of a run again.",
    "runs": "List past runs and show what they left.",
    "config": "Show the settings and where each came from.",
    "completion": "Print the completion script of a shell.",
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when the subcommand is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order a user meets them."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import `commands/<name>.py` and take its `command`."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"nasmigrate.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; name the closest when there is none."""
        name = args[0]
        if name not in SUBCOMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
            ctx.fail(f"No such command '{name}'." + (f" Did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)


def _version(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
    if value and not context.resilient_parsing:
        from nasmigrate import __version__

        click.echo(f"nasmigrate {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 proven, 3 differences or a failed gate, 4 inconclusive, others in docs/exit-codes.md.",
)
@global_options(hidden=False)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli() -> None:
    """Move an application from SQLite to PostgreSQL, with proof at every step."""
