"""The one object behind `ctx.obj`: global options, settings and the reporter of this invocation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nasmigrate.core.errors import UsageProblem

if TYPE_CHECKING:
    from nasmigrate.commands._progress import ClosableReporter
    from nasmigrate.core.config import LoadedConfig
    from nasmigrate.core.context import Context
    from nasmigrate.core.rundir import RunDirectory


def wanted_color(environ: Mapping[str, str]) -> bool | None:
    """What the environment says about colour; None = decide per stream. See no-color.org and force-color.org."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return True if environ.get("FORCE_COLOR") else None


@dataclass(slots=True, kw_only=True)
class App:
    """Global options as given, and what is made of them once.

    Attributes:
        argv: the arguments after the program's name.
        cwd: absolute; the base when there is no --config.
        color: forced on or off, or None.
        base: folder of nasmigrate.toml and .nasmigrate, once the settings were loaded.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    color: bool | None = None
    config: Path | None = None
    env_file: Path | None = None
    json: bool = False
    json_events: bool = False
    no_input: bool = False
    show_values: bool = False
    debug: bool = False
    quiet: bool = False
    base: Path | None = None
    _runs_before: frozenset[str] = frozenset()
    _reporter: ClosableReporter | None = None

    def load(self, flags: Mapping[str, object] | None = None) -> LoadedConfig:
        """Read the settings; `flags` are this command's by dotted key.

        Raises:
            ConfigError: see `nasmigrate.core.config.load_config`.
            UsageProblem: --json together with --json-events.
        """
        from nasmigrate.core.config import load_config

        self.check_options()
        where = self.cwd / self.config.expanduser() if self.config else self.cwd
        loaded = load_config(where, environ=self.environ, env_file=self.env_file, flags=flags)
        self.enter(loaded.base)
        return loaded

    def check_options(self) -> None:
        """Refuse global options that exclude each other."""
        if self.json and self.json_events:
            raise UsageProblem(
                "--json and --json-events exclude each other",
                hint="--json prints one document at the end, --json-events one line per event",
            )

    def enter(self, base: Path) -> None:
        """Remember the base folder and the runs that were there before this command."""
        from nasmigrate.core.rundir import list_runs

        self.base = base
        self._runs_before = frozenset(run.name for run in list_runs(base))

    def context(self, loaded: LoadedConfig) -> Context:
        """What the workflow is given. Starts the progress display."""
        from nasmigrate.core.context import Context

        return Context(
            config=loaded.config,
            base=loaded.base,
            reporter=self.reporter(),
            show_values=self.show_values,
            no_input=self.no_input or not sys.stdin or not sys.stdin.isatty(),
        )

    def reporter(self) -> ClosableReporter:
        """The reporter that fits the options and the terminal."""
        if self._reporter is None:
            from nasmigrate.commands._progress import make_reporter

            self._reporter = make_reporter(
                quiet=self.quiet, json_events=self.json_events, color=self.color, environ=self.environ
            )
        return self._reporter

    def use_reporter(self, reporter: ClosableReporter) -> None:
        """Report through this one, whatever the terminal is like."""
        self.close()
        self._reporter = reporter

    def close(self) -> None:
        """Stop the live display, if there is one. Repeatable."""
        if self._reporter is not None:
            self._reporter.close()
            self._reporter = None

    def run_made(self) -> RunDirectory | None:
        """The run directory that appeared since the settings were loaded, if any."""
        if self.base is None:
            return None
        from nasmigrate.core.rundir import list_runs

        made = [run for run in list_runs(self.base) if run.name not in self._runs_before]
        return made[-1] if made else None
