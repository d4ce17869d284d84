"""What a cutover was asked to do, and the plan of the night that `--dry-run` prints and the run follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasmigrate.core.config import Config
from nasmigrate.core.phases import CUTOVER, Phase
from nasmigrate.core.rundir import STATE_FOLDER
from nasmigrate.workflows.cutover.hooks import Runner, run_program
from nasmigrate.workflows.cutover.steps import Watcher, unwatched

FREEZE_SHARE = 0.8
"""Share of the driver's own timeout that a freeze may take."""
HOLD_FILE = "hold-cutover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to cut over, and what tests put in the place of the world.

    Attributes:
        app_stopped: the application does not run, so the freeze has no limit.
        max_freeze: seconds, in the place of the settings'.
        resume_words: the command line that settles a cutover whose tool has died; None = no watchdog.
        scratch: the target is a throw-away one: its durability is not asked for, and no lock, hook, route or dump.
        watcher: told of every point passed; see `Steps`.
        runner: runs the operator's programs.
        environ: where env:NAME of app.env is looked up.
        clock, sleep: time.
    """

    app_stopped: bool = False
    max_freeze: float | None = None
    resume_words: Sequence[str] | None = None
    scratch: bool = False
    watcher: Watcher = unwatched
    runner: Runner = run_program
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase of the night, with what this run will do in it beside what the phase always does."""

    phase: Phase
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NightPlan:
    """What a cutover will do, in order. `limit` is the freeze's in seconds, None when there is none."""

    source: str
    target: str
    role: str
    limit: float | None
    steps: tuple[Step, ...]


def freeze_limit(config: Config, options: Options) -> float | None:
    """Most seconds between the lock and the fence; None = no limit."""
    if options.app_stopped:
        return None
    return options.max_freeze or config.cutover.max_freeze or FREEZE_SHARE * config.app.busy_timeout


def hold_file(base: Path) -> Path:
    """The file whose presence postpones the freeze."""
    return base / STATE_FOLDER / HOLD_FILE


def night_plan(config: Config, options: Options, *, source: str, target: str, role: str, base: Path) -> NightPlan:
    """The plan that these settings and options make; the run follows it, `--dry-run` prints it."""
    limit = freeze_limit(config, options)
    app, cutover = config.app, config.cutover
    lines: dict[str, list[str]] = {phase.key: [] for phase in CUTOVER}
    lines["P3"].append(f"at most {cutover.passes} passes, until the freeze is predicted to fit")
    lines["P4"] += [
        line
        for line in (
            f"waits while {hold_file(base)} is there",
            _command("cron_pause", app.cron_pause),
            _command("before_freeze", cutover.before_freeze),
            _command("maintenance_on", app.maintenance_on),
            f"waits up to {cutover.freeze_wait:g} s for the write lock",
            "no limit: the application is stopped" if limit is None else f"ends by itself after {limit:g} s",
        )
        if line
    ]
    lines["P7"] += [line for line in (f"grants to role {role}", _command("after_open", cutover.after_open)) if line]
    lines["P8"] += [line for line in (*_routing(config), _command("maintenance_off", app.maintenance_off)) if line]
    lines["P8"] += [line for line in (_command("after_route", cutover.after_route),) if line]
    lines["P9"] += [line for line in ("a pg_dump, where pg_dump is found" if cutover.dump else None,) if line]
    return NightPlan(
        source=source,
        target=target,
        role=role,
        limit=limit,
        steps=tuple(
            Step(phase=phase, details=tuple(lines[phase.key]))
            for phase in CUTOVER
            if phase.key != "P10" or cutover.seed
        ),
    )


def _command(name: str, command: str | None) -> str | None:
    return None if command is None else f"runs {name}: {command}"


def _routing(config: Config) -> list[str | None]:
    app = config.app
    keys = ", ".join(line.partition("=")[0] for line in app.env)
    found = [f"sets {keys} in {app.env_file}" if app.env and app.env_file else None]
    if app.route == "command":
        found += [_command("stop", app.stop), _command("start", app.start)]
    elif app.route == "compose":
        found.append(f"recreates service {app.compose_service} by docker compose")
    else:
        found.append("waits for you to start the application on Postgres")
    if app.health_url:
        found.append(f"asks {app.health_url}")
    return [*found, f"looks in pg_stat_activity for the role, up to {app.arrival_timeout:g} s"]
