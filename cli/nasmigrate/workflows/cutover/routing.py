"""P8 and its mirror: leading the application to the engine that serves. Everything here may be done twice."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from nasmigrate.core.config import Config
from nasmigrate.core.config_cutover import AppSection
from nasmigrate.core.context import Context
from nasmigrate.core.envfile_edit import backup_path, forget_backup, holds_lines, keep_backup, put_back, set_lines
from nasmigrate.core.errors import ConfigError, NasmigrateError, ToolFailed, WrongPhase
from nasmigrate.core.result import Gate
from nasmigrate.postgres.arrivals import Arrivals, arrivals
from nasmigrate.workflows.cutover.compose import recreate_words
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.hooks import run_hook
from nasmigrate.workflows.cutover.journal import Journal, read_journal
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.switches import has_run

_POLL = 0.25
_HEALTH_LIMIT = 5.0
_RESTARTED, _ENV_FILE, _TO_POSTGRES, _TO_SQLITE = "restarted", "env file", "for Postgres", "for SQLite"
"""How the journal remembers which engine the application was restarted, and its env file set, for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What routing works with."""

    context: Context
    ends: Ends
    options: Options
    journal: Journal

    @property
    def config(self) -> Config:
        """The settings."""
        return self.context.config

    @property
    def env_file(self) -> Path | None:
        """The file that leads the application; None when the settings name none."""
        app = self.config.app
        return self.context.base / app.env_file if app.env_file is not None and app.env else None


def led_to_postgres(these: Routing) -> bool:
    """Whether the env file still leads the application to Postgres, as `route` left it."""
    file = these.env_file
    if file is None or not backup_path(file).exists():
        return False
    try:
        return holds_lines(file, _values(these))
    except ConfigError:
        return True  # what was set is not known any more, what was before is


def forget_earlier(these: Routing) -> None:
    """Forget a copy of the env file that an earlier night left and nobody put back: a rollback restores tonight's.

    Raises:
        WrongPhase: the application is still led to Postgres.
        ConfigError: the copy cannot be removed.
    """
    file = these.env_file
    if file is None:
        return
    if led_to_postgres(these):
        raise WrongPhase(
            f"{file} still leads the application to Postgres, though SQLite serves",
            hint="nasmigrate resume leads it back; then start again",
        )
    if backup_path(file).exists():
        _remember(these, _TO_SQLITE, file, _keys(these))
        forget_backup(file)


def route(these: Routing, *, again: bool = False) -> Gate:
    """Lead the application to Postgres and see whether it arrived; failures are in the gate, nothing is undone.

    With `again` an application that an earlier run has led there, and that is there, is not restarted.
    """
    app, file = these.config.app, these.env_file
    there = again and _is_there(these)
    troubles: list[str] = []
    if file is not None:

        def set_up() -> None:
            keep_backup(file)
            _remember(these, _TO_POSTGRES, file, _keys(these), before=_digest(backup_path(file)))
            set_lines(file, _values(these))
            if file.stat().st_mode & stat.S_IROTH:
                these.context.reporter.note(f"{file} can be read by every user of this machine: chmod o-r")

        _try(these, troubles, set_up)
    if not there:
        _try(these, troubles, lambda: _restart(these, _TO_POSTGRES))
    after(these, "maintenance_off", app.maintenance_off, troubles)
    after(these, "after_route", these.config.cutover.after_route, troubles)
    return _arrived(these, troubles)


def route_back(these: Routing) -> Gate:
    """Lead the application back to SQLite; failures are in the gate, nothing is undone."""
    app = these.config.app
    troubles: list[str] = []
    left: list[str] = []
    _try(these, troubles, lambda: left.extend(_set_back(these)))
    _try(these, troubles, lambda: _restart(these, _TO_SQLITE))
    after(these, "maintenance_off", app.maintenance_off, troubles)
    after(these, "after_rollback", these.config.cutover.after_rollback, troubles)
    if app.health_url:
        _try(these, troubles, lambda: _healthy_at_home(these, str(app.health_url)))
    after(these, "cron_resume", app.cron_resume, [])  # told, and no reason to doubt the way back
    if troubles:
        return Gate(name="route", status="inconclusive", detail="; ".join(troubles), checked=0)
    led = "start the application on SQLite as before" if app.route == "manual" else "the application was led back"
    return Gate(name="route", status="pass", detail="; ".join([led, *left]), checked=1)


def _set_back(these: Routing) -> list[str]:
    """Set back what was set for Postgres, also where the settings name another file or fewer keys by now.

    Returns:
        Which file was left alone, since nothing says that it was ever set.

    Raises:
        ConfigError: a file leads to Postgres, and its copy from before is gone.
    """
    file, (set_files, set_back) = these.env_file, _remembered(these)
    files = {name: found.keys for name, found in set_files.items() if backup_path(name).exists()}
    if file is not None and backup_path(file).exists():
        files.setdefault(file, tuple(_keys(these)))
    for name, keys in files.items():
        # Told first: without a copy, an attempt that died has put it back.
        _remember(these, _TO_SQLITE, name, keys)
        put_back(name, keys)
    if file is None or file in files or file in set_back:
        return []
    if file in set_files and set_files[file].before == _digest(file):
        return []  # somebody has put it back
    if file in set_files or holds_lines(file, _values(these)):
        raise ConfigError(
            f"{file}: no copy from before the cutover is there; set {', '.join(_keys(these))} back by hand",
            code="NM0523",
        )
    return [f"{file} was left as it is, as nothing was set there for Postgres: see that it leads to SQLite"]


@dataclass(frozen=True, slots=True)
class _SetUp:
    """What the journal knows of a file that was set for Postgres: the keys, and the digest of what it was before."""

    keys: tuple[str, ...]
    before: str


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _remember(these: Routing, engine: str, file: Path, keys: Collection[str], *, before: str | None = None) -> None:
    said = {"engine": engine, "file": str(file), "keys": list(keys), "before": before}
    these.journal.add(_ENV_FILE, "", json.dumps(said))


def _remembered(these: Routing) -> tuple[dict[Path, _SetUp], set[Path]]:
    """What was set for Postgres in which file, and the files that were set back since; none if the journal is lost."""
    set_files: dict[Path, _SetUp] = {}
    set_back: set[Path] = set()
    for entry in read_journal(these.context.base)[0]:
        if entry.kind != _ENV_FILE:
            continue
        try:
            found = json.loads(entry.detail)
            engine, file, before = str(found["engine"]), Path(found["file"]), str(found["before"])
            keys = tuple(str(key) for key in found["keys"])
        except (ValueError, KeyError, TypeError):
            continue
        if engine == _TO_POSTGRES:
            earlier = set_files[file].keys if file in set_files else ()
            set_files[file] = _SetUp(keys=tuple(dict.fromkeys([*earlier, *keys])), before=before)
            set_back.discard(file)
        else:
            set_files.pop(file, None)
            set_back.add(file)
    return set_files, set_back


def after(these: Routing, point: str, command: str | None, troubles: list[str]) -> None:
    """Run a command whose failure is told and undoes nothing."""
    app, cutover = these.config.app, these.config.cutover
    limit = app.command_timeout if point in type(app).model_fields else cutover.hook_timeout

    def run() -> None:
        run_hook(point, command, these.context.base, limit, these.options.runner)
        if command is not None:
            has_run(these.journal, point)

    _try(these, troubles, run)


def _try(these: Routing, troubles: list[str], action: Callable[[], None]) -> None:
    try:
        action()
    except NasmigrateError as error:
        troubles.append(error.message)
        these.journal.add("trouble", "", error.message)
        these.context.reporter.note(error.message)


def _values(these: Routing) -> dict[str, str]:
    return env_values(these.config.app, these.options.environ)


def env_values(app: AppSection, environ: Mapping[str, str]) -> dict[str, str]:
    """The lines to set, with env:NAME replaced by the variable's value.

    Raises:
        ConfigError: there is no such variable.
    """
    found = {}
    for line in app.env:
        key, _, value = line.partition("=")
        if value.startswith("env:"):
            name = value.removeprefix("env:")
            if name not in environ:
                raise ConfigError(
                    f"app.env: {key}: the environment variable {name} is not set",
                    hint=f"export {name} where nasmigrate runs; sudo does not keep it",
                    code="NM0511",
                )
            value = environ[name]
        found[key.strip()] = value
    return found


def _keys(these: Routing) -> list[str]:
    return [line.partition("=")[0].strip() for line in these.config.app.env]


def _is_there(these: Routing) -> bool:
    """Whether the application was restarted for Postgres, and a session of its role came since the opening.

    The journal is no authority: where it is lost, the application is restarted once more.
    """
    restarts = [entry.detail for entry in read_journal(these.context.base)[0] if entry.kind == _RESTARTED]
    file = these.env_file
    try:
        if restarts[-1:] != [_TO_POSTGRES] or (file is not None and not holds_lines(file, _values(these))):
            return False
        with these.ends.connected() as connection:
            return arrivals(connection, these.ends.roles.application).since > 0
    except NasmigrateError:
        return False


def _restart(these: Routing, engine: str) -> None:
    app, base, runner = these.config.app, these.context.base, these.options.runner
    if app.route == "command":
        run_hook("stop", app.stop, base, app.command_timeout, runner)
        run_hook(
            "start", app.start, base, app.command_timeout, runner, serves=lambda: _serves_after_start(these, engine)
        )
    elif app.route == "compose":
        words = recreate_words(app, these.options.environ)
        run_hook("compose", shlex.join(words), base, app.command_timeout, runner)
    else:
        these.context.reporter.note("start the application on the engine that serves; waiting for it")
    these.journal.add(_RESTARTED, "", engine)


def _serves_after_start(these: Routing, engine: str) -> bool:
    """Whether the application that a start command has become serves: a start in the foreground does not end."""
    app, options = these.config.app, these.options
    try:
        if engine == _TO_POSTGRES:
            with these.ends.connected() as connection:
                found = arrivals(connection, these.ends.roles.application).since > 0
        else:
            found = app.health_url is not None
            if app.health_url is not None:
                ask_health(app.health_url, until=options.clock())
    except NasmigrateError:
        return False
    if found:
        these.context.reporter.note(
            f"start has not ended within {app.command_timeout:g} s and was left running, as the application serves;"
            " a start that leaves it in the background ends at once"
        )
    return found


def _arrived(these: Routing, troubles: list[str]) -> Gate:
    """Wait for the application's role in pg_stat_activity.

    A session from before the opening is no arrival: somebody had it open, and the application may still be on SQLite.
    """
    app, role = these.config.app, these.ends.roles.application
    until = these.options.clock() + app.arrival_timeout
    there = Arrivals(since=0, earlier=0)
    try:
        with these.ends.connected() as connection:
            while True:
                there = arrivals(connection, role)
                if there.since or these.options.clock() >= until:
                    break
                these.options.sleep(_POLL)
        if there.since and app.health_url:
            ask_health(app.health_url, until=until, clock=these.options.clock, sleep=these.options.sleep)
    except NasmigrateError as error:
        troubles.append(error.message)
    if not there.since:
        new = f"only {there.earlier} sessions from before the opening" if there.earlier else "no session"
        troubles.append(f"{new} of role {role} within {app.arrival_timeout:g} s: the application has not moved")
    if troubles:
        return Gate(name="route", status="inconclusive", detail="; ".join(troubles), checked=there.since)
    detail = f"{there.since} sessions of role {role} on Postgres"
    return Gate(name="route", status="pass", detail=detail, checked=there.since)


def _healthy_at_home(these: Routing, url: str) -> None:
    """Wait until the application that was led back answers.

    Raises:
        ToolFailed: it does not.
    """
    limit, options = these.config.app.arrival_timeout, these.options
    these.context.reporter.note(f"waiting for {url}")
    try:
        ask_health(url, until=options.clock() + limit, clock=options.clock, sleep=options.sleep)
    except ToolFailed as error:
        raise ToolFailed(
            f"{error.message}, {limit:g} s after the application was led back. SQLite serves and takes its writes: look"
            " at the application's log and start it by hand; nothing is left to be undone",
            hint=error.hint,
        ) from error


def ask_health(
    url: str,
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask until the application answers 2xx, or the time is up.

    Raises:
        ToolFailed: it did not.
    """
    while True:
        try:
            with closing(urlopen(url, timeout=_HEALTH_LIMIT)) as answer:  # noqa: S310 - http(s) only, by the settings
                if 200 <= answer.status < 300:
                    return
                said = f"answers {answer.status}"
        except (URLError, OSError, ValueError) as error:
            said = str(error)
        if clock() >= until:
            raise ToolFailed(f"{url}: {said}", hint="look at the application's log")
        sleep(_POLL)
