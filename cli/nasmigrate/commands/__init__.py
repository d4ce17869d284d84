"""The command line. `main` is the entry point: it runs one command and turns every error into an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nasmigrate.commands._signals import interrupt_on_termination

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; returns the exit code."""
    import click

    from nasmigrate.commands import _errors
    from nasmigrate.commands._app import App, wanted_color
    from nasmigrate.commands._group import cli

    arguments = tuple(sys.argv[1:] if argv is None else argv)
    environ = dict(os.environ)
    app = App(argv=arguments, environ=environ, cwd=Path.cwd(), color=wanted_color(environ))
    # At the end of the process nothing is worth a last look at every object: that would take 0.2 s.
    atexit.register(gc.freeze)
    with interrupt_on_termination():
        try:
            code = cli.main(list(arguments), "nasmigrate", standalone_mode=False, obj=app, color=app.color)
        except click.Abort:
            return _errors.interrupted(app)
        except click.ClickException as error:
            return _errors.usage(app, error)
        except KeyboardInterrupt:
            return _errors.interrupted(app)
        except Exception as error:
            return _errors.failed(app, error)
        finally:
            app.close()
    return code if isinstance(code, int) else 0
