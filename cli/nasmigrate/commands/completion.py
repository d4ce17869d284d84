"""`nasmigrate completion`."""

from __future__ import annotations

import click

from nasmigrate.commands._app import App
from nasmigrate.commands._options import subcommand


@subcommand("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def command(app: App, shell: str) -> int:
    """Print the completion script of a shell.

    For bash: nasmigrate completion bash > ~/.local/share/bash-completion/completions/nasmigrate
    """
    from click.shell_completion import get_completion_class

    from nasmigrate.commands._group import cli

    found = get_completion_class(shell)
    if found is None:  # the choices above are Click's own; a later Click may drop one
        raise click.UsageError(f"Click has no completion for {shell}.")
    completion = found(cli, {}, "nasmigrate", "_NASMIGRATE_COMPLETE")
    click.echo(completion.source_template % completion.source_vars())
    return 0
