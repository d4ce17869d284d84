"""How the application's container is made anew: by whichever compose this machine has, where DSM puts it too."""

from __future__ import annotations

from collections.abc import Mapping

from nasmigrate.core.config_cutover import AppSection
from nasmigrate.stack.runner import Runner, Subprocesses
from nasmigrate.stack.tools import find_tools, path_for_children


def recreate_words(app: AppSection, environ: Mapping[str, str], runner: Runner | None = None) -> tuple[str, ...]:
    """The command line that makes the service of `[app]` anew and leaves the others alone.

    Args:
        app: compose_file, compose_project and compose_service.
        environ: PATH is searched for docker.
        runner: asks docker; None = the real one.

    Raises:
        ToolMissing: no docker, or no compose.
        StackError: the engine does not answer.
    """
    complete = {**environ, "PATH": path_for_children(environ)}
    words = [*find_tools(runner or Subprocesses(complete), complete).compose]
    if app.compose_file:
        words += ["-f", app.compose_file]
    if app.compose_project:
        words += ["-p", app.compose_project]
    return (*words, "up", "-d", "--no-deps", "--force-recreate", str(app.compose_service))
