"""P0: everything that can be found out before the first write. All that fails is named at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from nasmigrate.core.config import Config
from nasmigrate.core.context import Context
from nasmigrate.core.envfile_edit import require_settable
from nasmigrate.core.errors import (
    CannotConnect,
    ConfigError,
    NasmigrateError,
    OperatorNotAllowed,
    PreflightError,
    SourceLocked,
    StackError,
    ToolMissing,
    WrongPhase,
)
from nasmigrate.postgres.catalogue import compare_catalogue
from nasmigrate.postgres.catalogue_read import user_objects
from nasmigrate.postgres.connect import check_server, server_facts
from nasmigrate.postgres.control import UNFINISHED, RunRow, has_control, latest_run
from nasmigrate.postgres.preflight import Beside, check_target
from nasmigrate.postgres.role_switch import early_writers
from nasmigrate.postgres.roles import missing_roles, set_up_roles
from nasmigrate.postgres.roles_check import application_problems
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.live import live_process
from nasmigrate.workflows.authorities import Meaning, Standing
from nasmigrate.workflows.cutover.compose import recreate_words
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.hooks import require_program
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.routing import env_values
from nasmigrate.workflows.filesystems import file_system_of, is_remote
from nasmigrate.workflows.rehearsed import Rehearsal, passed_rehearsals
from nasmigrate.workflows.space import DISK_FACTOR, source_bytes

_SHOWN = 5
_APP_COMMANDS = ("cron_pause", "maintenance_on", "maintenance_off", "cron_resume")
_CUTOVER_COMMANDS = ("before_freeze", "after_open", "after_route", "after_rollback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the preflight found. `earlier` is the run that the target already holds, None for an empty target."""

    standing: Standing
    rehearsals: tuple[Rehearsal, ...]
    earlier: RunRow | None


def preflight(context: Context, ends: Ends, options: Options) -> Ready:
    """Check everything.

    Raises:
        WrongPhase: a cutover or rollback is under way or done; `status` says more.
        PreflightError: with every check that failed.
        SourceError, TargetError: an end cannot be reached at all.
    """
    standing = ends.standing()
    _refuse_unless_sqlite_serves(standing)
    rehearsals = passed_rehearsals(context.base, ends.source)
    earlier: RunRow | None = None
    failed: list[str] = []
    with ends.connected() as connection:
        check_server(server_facts(connection))
        if has_control(connection):
            earlier = latest_run(connection)
        connection.commit()
        checks: list[Callable[[], Iterator[str]]] = [
            lambda: _target(connection, ends, standing, earlier),
            lambda: _fit(connection, ends, earlier, None if options.scratch else context.base),
            lambda: _locks(ends),
        ]
        if not options.scratch:
            checks += [
                lambda: _rehearsal(rehearsals, ends),
                lambda: _file_system(ends.source, options),
                lambda: _still_open(ends.source, options),
                lambda: _disk(context.base, ends.source),
                lambda: _durable(connection),
                lambda: _engine(context.config),
                lambda: application_failures(context.config, context.base, options.environ),
            ]
        checks.append(lambda: _roles(connection, ends))
        for check in checks:
            failed += _failures(check)
            connection.rollback()
    if failed:
        raise PreflightError(
            f"{len(failed)} of the checks before a cutover failed; nothing was written",
            checks=failed,
            hint="see to each of them, then start again; nasmigrate doctor has more",
        )
    return Ready(standing=standing, rehearsals=rehearsals, earlier=earlier)


def application_failures(config: Config, base: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """What `[app]` and the commands of `[cutover]` name, and what is not there or cannot be done.

    Args:
        config: the settings.
        base: the folder that their relative paths start from.
        environ: where env:NAME of app.env is looked up.
    """
    yield from _failures(lambda: _application(config, base))
    yield from _failures(lambda: _env_file(config, base, environ))
    yield from _failures(lambda: _compose(config, environ))
    yield from _failures(lambda: _commands(config, base))


def _failures(check: Callable[[], Iterator[str]]) -> Iterator[str]:
    try:
        yield from check()
    except NasmigrateError as error:
        yield f"{error.code}: {error.message}" + (f" ({error.hint})" if error.hint else "")


def _refuse_unless_sqlite_serves(standing: Standing) -> None:
    if standing.meaning in (Meaning.NOT_BEGUN, Meaning.SQLITE_SERVES):
        return
    if standing.meaning is Meaning.UNKNOWN:
        raise CannotConnect(standing.unreachable or "", hint="nasmigrate doctor tries each part of the address")
    final = standing.control is not None and standing.control.finalized
    hints = {
        Meaning.POSTGRES_SERVES: "the cutover was made final: there is nothing left to do, and no way back"
        if final
        else "nasmigrate rollback takes it back; nasmigrate resume finishes routing and proof",
        Meaning.FOREIGN_FENCE: "nasmigrate status names the database it stands for",
        Meaning.FENCE_LOST: "nasmigrate status",
        Meaning.OTHER_FILE: "nasmigrate status names the file that was cut over",
        Meaning.LEFT_FENCED: "nasmigrate status",
    }
    raise WrongPhase(
        f"a cutover begins while SQLite serves; now {standing.meaning}",
        hint=hints.get(standing.meaning, "nasmigrate resume settles it"),
    )


def _target(connection: psycopg.Connection, ends: Ends, standing: Standing, earlier: RunRow | None) -> Iterator[str]:
    """The target is empty, or holds what an earlier cutover of this source left there."""
    objects = user_objects(connection)
    if standing.control is None and objects:
        shown = ", ".join(objects[:_SHOWN])
        shown += f" and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else ""
        yield f"TARGET_NOT_EMPTY: {ends.target.display} holds {shown}; use an empty database"
    elif standing.belongs_to is not None:
        yield f"TARGET_NOT_EMPTY: {ends.target.display} belongs to a cutover of {standing.belongs_to}"
    elif standing.control is not None and earlier is None:
        yield f"LEDGER_MISSING: {ends.target.display} has a control row and no ledger; use an empty database"
    elif earlier is not None and earlier.state not in UNFINISHED:
        yield from _changed(connection, ends, Plan.model_validate(earlier.plan))


def _changed(connection: psycopg.Connection, ends: Ends, plan: Plan) -> Iterator[str]:
    """What stands there since an earlier cutover must be what a copy makes: the proof asks for no more and no less."""
    differences = [] if plan.existing else compare_catalogue(connection, plan)[0]
    if differences:
        shown = "; ".join(difference.words for difference in differences[:_SHOWN])
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        yield (
            f"TARGET_CHANGED: {ends.target.display} is not as its copy was made: {shown}{more}; undo that there (what a"
            " rollback left behind is in the files of its run), or use an empty database"
        )


def _fit(connection: psycopg.Connection, ends: Ends, earlier: RunRow | None, base: Path | None) -> Iterator[str]:
    """What the copy will ask of the target, asked now; empty when it is fit.

    Raises:
        PreflightError: it is not.
    """
    check_target(
        connection,
        ends.target.conninfo,
        source_bytes=source_bytes(ends.source),
        makes_tables=earlier is None or earlier.state in UNFINISHED,
        beside=None if base is None else Beside(folder=base, factor=DISK_FACTOR),
    )
    return iter(())


def _locks(ends: Ends) -> Iterator[str]:
    """A lock that one process takes must keep another one out; taken for some milliseconds."""
    with live_process(ends.source) as first, live_process(ends.source) as second:
        first.freeze(busy=ends.busy, limit=ends.busy)
        try:
            second.freeze(busy=0.0, limit=1.0)
        except SourceLocked:
            return
        finally:
            first.release()
        yield f"LOCKS_DO_NOT_WORK: {ends.source}: two processes got the write lock at once; use a local file system"


def _rehearsal(rehearsals: tuple[Rehearsal, ...], ends: Ends) -> Iterator[str]:
    if not rehearsals:
        yield f"NOT_REHEARSED: no rehearsal of {ends.source} has passed in this folder; run nasmigrate rehearse"


def _file_system(source: Path, options: Options) -> Iterator[str]:
    kind = file_system_of(source)
    if kind is not None and is_remote(kind) and not options.app_stopped:
        yield (
            f"REMOTE_FILE_SYSTEM: {source} lies on {kind}, whose locks cannot be relied on; run nasmigrate on the"
            " machine that holds the file, or stop the application and use --app-stopped"
        )


def _still_open(source: Path, options: Options) -> Iterator[str]:
    """An application that is said to be stopped has the file open no more (proc_pid_fd(5))."""
    if not options.app_stopped:
        return
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if any(link.readlink() == source for link in (entry / "fd").iterdir()):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                yield f"WRITER_ACTIVE: process {entry.name} has {source} open ({words[:60]}); stop it"


def _disk(base: Path, source: Path) -> Iterator[str]:
    free, wanted = shutil.disk_usage(base).free, DISK_FACTOR * source_bytes(source)
    if free < wanted:
        yield f"DISK: {free:,} bytes free at {base}, {wanted:,} wanted ({DISK_FACTOR} x the source)"


def _durable(connection: psycopg.Connection) -> Iterator[str]:
    """A server that loses commits in a power cut must not be the one that serves."""
    for name in ("fsync", "full_page_writes"):
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        if row and row[0] != "on":
            yield f"NOT_DURABLE: the server runs with {name} = {row[0]}; a power cut would lose what it confirmed"


def _engine(config: Config) -> Iterator[str]:
    if config.transfer.engine != "native":
        yield f"ENGINE: {config.transfer.engine} commits past the control row; set transfer.engine = 'native'"


def _application(config: Config, base: Path) -> Iterator[str]:
    app = config.app
    if app.env_file is not None:
        file = base / app.env_file
        if not file.is_file():
            yield f"ENV_FILE: {file} is not there (app.env_file)"
        elif not app.env:
            yield "ENV_FILE: app.env_file is set, but app.env names no line to set for Postgres"
    if app.route != "manual" and not app.env:
        yield f"ROUTE: route {app.route!r} restarts the application, but app.env_file and app.env say nothing to change"


def _env_file(config: Config, base: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Whether the application can be led to Postgres, which is known better before it has to be.

    Raises:
        ConfigError: a value of app.env is not there, or the file cannot be set.
    """
    app = config.app
    if app.env and app.env_file is not None and (base / app.env_file).is_file():
        require_settable(base / app.env_file, env_values(app, environ))
    return iter(())


def _commands(config: Config, base: Path) -> Iterator[str]:
    """The programs that will be run, and those of the way back."""
    app, cutover = config.app, config.cutover
    routing = ("stop", "start") if app.route == "command" else ()
    named = [
        *((point, getattr(app, point)) for point in (*routing, *_APP_COMMANDS)),
        *((point, getattr(cutover, point)) for point in _CUTOVER_COMMANDS),
    ]
    for point, command in named:
        try:
            require_program(point, command, base)
        except (ToolMissing, ConfigError) as error:
            yield f"COMMAND: {error.message}"


def _compose(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """Whether the container can be made anew, which is known better before the freeze than after it."""
    if config.app.route == "compose":
        try:
            recreate_words(config.app, environ)
        except (ToolMissing, StackError) as error:
            yield f"ROUTE: {error.message}" + (f" ({error.hint})" if error.hint else "")


def _roles(connection: psycopg.Connection, ends: Ends) -> Iterator[str]:
    roles = ends.roles
    problems = application_problems(connection, roles.application, owner=roles.owner, writer=roles.writer)
    yield from (f"ROLE: {problem}" for problem in (*problems, *early_writers(connection, roles)))
    try:
        # Who may grant what is the server's to say, so it is tried and undone; a GRANT that it ignores is no error.
        with connection.transaction(force_rollback=True):
            set_up_roles(connection, roles)
            left = missing_roles(connection, roles)
    except OperatorNotAllowed as error:
        left = error.checks
    if left:
        yield f"ROLE: {connection.info.user!r} may not set up the roles; let a superuser run: {' '.join(left)}"
