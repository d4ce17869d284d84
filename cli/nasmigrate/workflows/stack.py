"""`nasmigrate stack up|down|status|logs`: the containers, from a folder with nothing in it to a proven stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.envfile_edit import set_lines
from nasmigrate.core.errors import StackError, UsageProblem
from nasmigrate.stack.advice import explain
from nasmigrate.stack.compose import Compose
from nasmigrate.stack.containers import Container, read_containers, read_log
from nasmigrate.stack.folder import APPLICATION_FILE, COMPOSE_FILE, Prepared, locked, prepare
from nasmigrate.stack.ownership import conflicts, data_sources
from nasmigrate.stack.runner import Runner, Subprocesses
from nasmigrate.stack.tools import find_tools, path_for_children
from nasmigrate.stack.variables import compose_variables
from nasmigrate.stack.waiting import Clock, Unwatched, Watch, wait_until_ready
from nasmigrate.workflows.stack_databases import StackDatabases, engine_on_record, prove_killbill, set_up_databases

LOG_LINES = 40
TUNNEL = "cloudflared"
TUNNEL_PROFILE = "tunnel"
FIRST = ("postgres", "redis")
"""Started before the others, which need what is made in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a stack command is given beside the settings: the environment, the tools, the time, who watches."""

    environ: Mapping[str, str] = field(repr=False)
    runner: Runner
    clock: Clock = field(default_factory=Clock)
    watch: Watch = field(default_factory=Unwatched)
    show_output: bool = False


def surroundings(environ: Mapping[str, str], *, watch: Watch, show_output: bool) -> Surroundings:
    """Those of this machine. DSM's folders are added to PATH."""
    complete = {**environ, "PATH": path_for_children(environ)}
    return Surroundings(environ=complete, runner=Subprocesses(complete), watch=watch, show_output=show_output)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackUp:
    """What `stack_up` did and found.

    Attributes:
        prepared: the folder, and what was written into it now.
        already_running: nothing was started, all was healthy.
        databases: what was made in Postgres now; None when it is not part of the stack.
        containers: as they are at the end.
    """

    prepared: Prepared
    already_running: bool
    databases: StackDatabases | None
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackStatus:
    """The containers as they are. `missing`: services of the settings without a container."""

    containers: tuple[Container, ...]
    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Every service runs and is healthy."""
        return not self.missing and bool(self.containers) and all(each.ready for each in self.containers)


def stack_folder(context: Context) -> Path:
    """Where the stack lives: `[stack] directory`, from the folder of nasmigrate.toml."""
    return context.base / Path(context.config.stack.directory).expanduser()


def stack_up(context: Context, around: Surroundings) -> StackUp:
    """Bring the stack up, make its databases and roles, and prove that Kill Bill uses them. Repeatable.

    Raises:
        ToolMissing: no docker or no compose.
        StackError: an image is not to be had, a service does not become healthy, or Kill Bill is not on Postgres.
        ConfigError: the folder cannot be prepared.
        RunLocked: another `stack` command works on this folder.
        TargetError: Postgres refuses, the password of an old volume among the reasons.
    """
    settings = context.config.stack
    folder = stack_folder(context)
    context.reporter.phase("prepare", str(folder))
    prepared = prepare(folder, compose_variables(folder, around.environ))
    with locked(folder):
        compose = _compose(context, around, folder)
        definition = compose.definition()
        _refuse_second_copy(compose, definition)
        before = states(compose)
        running = {each.service for each in before if each.ready}
        _obtain_images(context, around, compose, definition)
        first = [service for service in FIRST if service in settings.services]
        then = [service for service in settings.services if service not in FIRST]
        context.reporter.phase("start", ", ".join(first))
        _start(context, around, compose, first)
        databases = None
        if "postgres" in first:
            context.reporter.phase("databases", "their owners and roles")
            # Kill Bill's tables are made from its image before it first starts; one that runs has them.
            fresh = "killbill" in then and "killbill" not in running
            image = str(definition["services"]["killbill"]["image"]) if fresh else None
            databases = set_up_databases(compose, states(compose), killbill_image=image)
            if "marketplace_web" in then and APPLICATION_FILE in prepared.written:
                _follow_the_record(context, compose)
        context.reporter.phase("start", ", ".join(then))
        _start(context, around, compose, then)
        containers = states(compose)
        if "killbill" in then:
            context.reporter.phase("prove", "Kill Bill uses Postgres")
            prove_killbill(compose, containers)
    return StackUp(
        prepared=prepared,
        already_running={each.id for each in before if each.service in running} == {each.id for each in containers},
        databases=databases,
        containers=containers,
    )


def _follow_the_record(context: Context, compose: Compose) -> None:
    """New settings of the marketplace say SQLite; where Postgres was restored open, they are to say so.

    Else it would begin a new file beside the restored database.
    """
    if engine_on_record(compose, states(compose)) == "postgres":
        set_lines(compose.folder / APPLICATION_FILE, {"DATABASE": "postgres"})
        context.reporter.note(f"{APPLICATION_FILE} is new, and Postgres is what serves: set to DATABASE=postgres")


def stack_down(context: Context, around: Surroundings, *, remove_volumes: Sequence[str] = ()) -> tuple[str, ...]:
    """Stop and remove the containers and networks. Volumes stay, but for those that are named.

    Args:
        context: settings.
        around: the machine.
        remove_volumes: full names of volumes of this project to be removed, and all that is in them.

    Returns:
        The volumes that were removed.

    Raises:
        UsageProblem: a volume that is not this stack's.
        StackError: Docker refused.
    """
    folder = _existing_folder(context)
    with locked(folder):
        compose = _compose(context, around, folder)
        definition = compose.definition()
        sources = data_sources(definition, compose.project)
        volumes = {name for name in sources if not name.startswith("/")}
        for name in remove_volumes:
            if name not in volumes:
                raise UsageProblem(
                    f"{name}: not a volume of this stack",
                    hint=f"its volumes are {', '.join(sorted(volumes)) or 'none'}; folders are removed by hand",
                )
        if any(each.service == TUNNEL for each in states(compose)):
            context.reporter.note(
                f"{TUNNEL} goes too, and `stack up` leaves it to you: docker compose -p {compose.project}"
                f" -f {folder / COMPOSE_FILE} --profile {TUNNEL_PROFILE} up -d {TUNNEL}"
            )
        everything = replace(compose, profiles=(TUNNEL_PROFILE, "tools"))
        done = everything.run("down", "--remove-orphans", timeout=600.0, show=around.show_output)
        if done.code != 0:
            raise StackError(f"compose down failed: {done.stderr.strip()}", hint=_fix(done.stderr), code="NM1013")
        for name in remove_volumes:
            gone = compose.runner.run([compose.tools.docker, "volume", "rm", name], timeout=60.0)
            if gone.code != 0 and "no such volume" not in gone.stderr.lower():
                raise StackError(f"volume {name}: {gone.stderr.strip()}", code="NM1013")
    return tuple(remove_volumes)


def stack_status(context: Context, around: Surroundings) -> StackStatus:
    """The containers as they are now.

    Raises:
        StackError: the engine does not answer.
    """
    compose = open_stack(context, around)
    containers = states(compose)
    present = {each.service for each in containers}
    return StackStatus(
        containers=containers,
        missing=tuple(service for service in context.config.stack.services if service not in present),
    )


def open_stack(context: Context, around: Surroundings) -> Compose:
    """The stack that is there.

    Raises:
        ToolMissing: no docker or no compose.
        StackError: there is none, or the engine does not answer.
    """
    return _compose(context, around, _existing_folder(context))


def stack_log(context: Context, around: Surroundings, service: str, *, lines: int) -> tuple[str, ...]:
    """The last lines a service wrote.

    Raises:
        StackError: the engine does not answer, or there is no such service.
    """
    compose = open_stack(context, around)
    for container in states(compose):
        if container.service == service:
            return read_log(compose.runner, compose.tools.docker, container, lines=lines)
    raise StackError(f"{service}: has no container", hint="nasmigrate stack status", code="NM1015")


def _existing_folder(context: Context) -> Path:
    folder = stack_folder(context)
    if not (folder / COMPOSE_FILE).is_file():
        raise StackError(f"{folder}: no stack here yet", hint="nasmigrate stack up", code="NM1017")
    return folder


def _compose(context: Context, around: Surroundings, folder: Path) -> Compose:
    return Compose(
        tools=find_tools(around.runner, around.environ),
        runner=around.runner,
        folder=folder,
        project=context.config.stack.project,
    )


def states(compose: Compose) -> tuple[Container, ...]:
    """The stack's containers as they are.

    Raises:
        StackError: the engine does not answer.
    """
    return read_containers(compose.runner, compose.tools.docker, project=compose.project)


def _refuse_second_copy(compose: Compose, definition: Mapping[str, object]) -> None:
    others = read_containers(compose.runner, compose.tools.docker)
    found = tuple(
        conflicts(
            others,
            project=compose.project,
            folder=compose.folder,
            data=data_sources(definition, compose.project),
        )
    )
    if found:
        raise StackError(
            f"another stack works on the same name or data: {found[0]}",
            lines=found[1:],
            hint="use that one, or take it down first; a stack of its own needs another stack.project and folders",
            code="NM1018",
        )


def _obtain_images(
    context: Context,
    around: Surroundings,
    compose: Compose,
    definition: Mapping[str, Mapping[str, Mapping[str, object]]],
) -> None:
    for service in context.config.stack.services:
        settings = definition["services"][service]
        if not compose.has_image(str(settings["image"])):
            build = "build" in settings
            context.reporter.phase("build" if build else "pull", str(settings["image"]))
            compose.obtain(service, build=build, show=around.show_output)


def _start(context: Context, around: Surroundings, compose: Compose, services: Sequence[str]) -> None:
    """Start and wait. A service that is running already is left alone by compose, unless its settings changed."""
    if not services:
        return
    done = compose.up(services)
    if done.code != 0:
        said = (done.stderr + done.stdout).strip()
        advice = explain(said)
        raise StackError(
            f"compose could not start {', '.join(services)}{f': {advice.problem}' if advice else ''}",
            lines=said.splitlines()[-12:],
            hint=advice.fix if advice else None,
            code="NM1015",
        )
    wait_until_ready(
        services,
        read=lambda: states(compose),
        log=_log_of(compose),
        timeout=context.config.stack.timeout,
        watch=around.watch,
        clock=around.clock,
    )


def _log_of(compose: Compose) -> Callable[[Container], tuple[str, ...]]:
    return lambda container: read_log(compose.runner, compose.tools.docker, container, lines=LOG_LINES)


def _fix(text: str) -> str | None:
    advice = explain(text)
    return advice.fix if advice else None
