"""Waiting for health and what is said when it does not come, with containers as `docker inspect` shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nasmigrate.core.config_cutover import AppSection
from nasmigrate.core.errors import StackError, ToolMissing
from nasmigrate.stack.advice import explain
from nasmigrate.stack.containers import Container, container_of, read_containers, read_log
from nasmigrate.stack.ownership import conflicts, data_sources
from nasmigrate.stack.runner import Done, Subprocesses
from nasmigrate.stack.tools import find_tools
from nasmigrate.stack.waiting import Clock, Unwatched, wait_until_ready
from nasmigrate.workflows.cutover.compose import recreate_words


def document(service: str = "postgres", **state: Any) -> dict[str, Any]:
    """One element of `docker inspect`, cut to what is read."""
    return {
        "Id": f"id-{service}",
        "Name": f"/p-{service}-1",
        "RestartCount": state.pop("restarts", 0),
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "State": {"Status": "running", "StartedAt": "2026-11-26T17:00:00.123456789Z", "ExitCode": 0, **state},
        "Config": {
            "Image": f"{service}:1",
            "Env": ["A=b=c", "EMPTY="],
            "Labels": {
                "com.docker.compose.project": "p",
                "com.docker.compose.service": service,
                "com.docker.compose.project.working_dir": "/here",
                "com.docker.compose.oneoff": "False",
            },
        },
        "NetworkSettings": {
            "Ports": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5433"}], "99/tcp": None},
            "Networks": {"p_backend": {}},
        },
        "Mounts": [{"Type": "volume", "Name": "p_pgdata", "Source": "/var/lib/…", "Destination": "/data"}],
    }


def container(service: str = "postgres", **state: Any) -> Container:
    made = container_of(document(service, **state))
    assert made is not None
    return made


def wait(
    looks: Sequence[Sequence[Container]], *, timeout: float = 10.0, log: Sequence[str] = ()
) -> Sequence[Container]:
    """Wait for what the first look shows; every look takes a second, the last one repeats."""
    times = iter(range(1000))
    remaining: Iterator[Sequence[Container]] = iter(looks)
    last: list[Sequence[Container]] = []

    def read() -> Sequence[Container]:
        last[:] = [next(remaining, last[0] if last else ())]
        return last[0]

    return wait_until_ready(
        ["postgres"],
        read=read,
        log=lambda _: log,
        timeout=timeout,
        watch=Unwatched(),
        clock=Clock(now=lambda: float(next(times)), sleep=lambda _: None),
    )


def health(status: str) -> dict[str, Any]:
    return {"Health": {"Status": status}}


def test_container_as_inspect_shows_it() -> None:
    each = container(**health("healthy"))
    assert each.ready
    assert [(port.address, port.host, port.container) for port in each.ports] == [("127.0.0.1", 5433, 5432)]
    assert [(mount.kind, mount.source) for mount in each.mounts] == [("volume", "p_pgdata")]
    assert each.environment == {"A": "b=c", "EMPTY": ""}
    assert each.started_at is not None
    assert each.started_at.isoformat() == "2026-11-26T17:00:00.123456+00:00"


def test_one_off_containers_are_left_out() -> None:
    shown = document()
    shown["Config"]["Labels"]["com.docker.compose.oneoff"] = "True"
    assert container_of(shown) is None


def test_waits_until_healthy() -> None:
    done = wait(
        [[container(**health("starting"))], [container(**health("starting"))], [container(**health("healthy"))]]
    )
    assert done[0].ready


def test_a_restart_or_two_is_waited_for() -> None:
    restarting = container(restarts=1, Status="restarting")
    assert wait([[restarting], [container(restarts=2, **health("healthy"))]])[0].ready


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"Status": "exited", "ExitCode": 137}, "ended (exit code 137)"),
        ({"Status": "paused"}, "is paused"),
        (health("starting"), "not healthy after 10 s"),
    ],
)
def test_gives_up_with_the_reason_and_the_last_lines(state: dict[str, Any], said: str) -> None:
    with pytest.raises(StackError) as caught:
        wait([[container(**state)]], log=[f"line {number}" for number in range(50)])
    assert said in caught.value.message
    assert caught.value.lines == tuple(f"line {number}" for number in range(38, 50))


def test_a_mark_of_an_outage_that_is_over_is_waited_out() -> None:
    outage, over = container(**health("unhealthy")), container(**health("healthy"))
    assert wait([*[[outage]] * 60, [over]], timeout=600)[0].ready


def test_unhealthy_for_longer_than_the_grace_is_final() -> None:
    with pytest.raises(StackError, match="postgres: is unhealthy"):
        wait([[container(**health("unhealthy"))]], timeout=600)


def test_restarts_before_the_wait_do_not_count() -> None:
    starting = container(restarts=9, **health("starting"))
    assert wait([*[[starting]] * 60, [container(restarts=9, **health("healthy"))]], timeout=600)[0].ready
    restarting = container(restarts=9, Status="restarting")
    assert wait([[restarting], [starting], [container(restarts=9, **health("healthy"))]])[0].ready


def test_a_restart_loop_is_given_up_at_once() -> None:
    def loop(first: int, status: str) -> list[list[Container]]:
        return [[container(restarts=first + more, Status=status, ExitCode=1)] for more in range(4)]

    for status, first, said in (("restarting", 0, 3), ("restarting", 9, 10)):
        with pytest.raises(StackError, match=rf"ended {said} times \(exit code 1\)"):
            wait(loop(first, status))
    running = [[container(restarts=9 + more, **health("starting"))] for more in range(4)]
    with pytest.raises(StackError, match=r"ended 12 times$"):  # which exit code it had, no look has seen
        wait(running)


def test_one_restarted_before_that_stays_down_is_given_up_before_the_time_is_up() -> None:
    down = container(restarts=2, Status="exited", ExitCode=137)
    between, up = container(restarts=2, Status="exited"), container(restarts=3, **health("healthy"))
    assert wait([*[[between]] * 3, [up]], timeout=600)[0].ready
    starting = container(restarts=3, **health("starting"))
    assert wait([*[[between]] * 8, [starting], *[[between]] * 8, [up]], timeout=600)[0].ready
    with pytest.raises(StackError, match=r"ended \(exit code 137\)"):
        wait([[down]], timeout=600)


def test_no_container_at_all() -> None:
    with pytest.raises(StackError, match="postgres: has no container"):
        wait([[]])


@pytest.mark.parametrize(
    "looks",
    [
        [{"Status": "exited", "OOMKilled": True, "ExitCode": 137}],
        # The engine's mark comes late, or never: it is an event of its own beside the end.
        [{"restarts": number, "Status": "restarting", "ExitCode": 137} for number in range(4)],
        # It is seen at one look only.
        [{"OOMKilled": True, **health("starting")}, {"Status": "exited", "ExitCode": 1}],
        # Every look falls into a life: the exit code of a running container is 0.
        [
            {"restarts": 1, "Status": "restarting", "ExitCode": 137},
            *({"restarts": 2 + more, **health("starting")} for more in range(3)),
        ],
    ],
)
def test_killed_for_its_memory(looks: list[dict[str, Any]]) -> None:
    with pytest.raises(StackError, match="there is not enough memory") as caught:
        wait([[container(**look)] for look in looks], log=["NOTE: Picked up JDK_JAVA_OPTIONS"])
    assert "NASMIGRATE_KILLBILL_HEAP" in (caught.value.hint or "")
    assert "exit code 0" not in caught.value.message


def test_what_a_killed_service_says_itself_comes_first() -> None:
    with pytest.raises(StackError, match="the disk is full"):
        wait([[container(Status="exited", ExitCode=137)]], log=["write /x: no space left on device"])


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("Bind for 127.0.0.1:5433 failed: port is already allocated", "port 5433 on 127.0.0.1 is taken"),
        ("listen tcp4 127.0.0.1:3101: bind: address already in use", "port 3101 on 127.0.0.1 is taken"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "the Docker engine is not running"),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "this user may not talk to the Docker engine",
        ),
        ("pull access denied for x, repository does not exist", "an image is neither here nor to be had"),
        ("dial tcp: lookup host: no such host", "the image registry cannot be reached"),
        ("archive/tar: invalid tar header", "too old for the image"),
        ("write /x: no space left on device", "the disk is full"),
        ('FATAL:  password authentication failed for user "killbill"', "the password of the secret file"),
        ("initdb: error: could not change permissions of directory", "may not write its volume"),
        ("ERROR:  permission denied for table users", "a role lacks a right"),
        ("mkdir: cannot create directory '/data/x': Permission denied", "may not write its volume"),
        ("Bind mount failed: '/volume1/x' does not exists", "a folder to be mounted does not exist"),
        ("java.lang.OutOfMemoryError: Java heap space", "not enough memory"),
        ("could not resize shared memory segment", "not enough memory"),
        ("FATAL:  database files are incompatible with server", "another major version"),
    ],
)
def test_known_troubles(said: str, problem: str) -> None:
    advice = explain(said)
    assert advice is not None
    assert problem in advice.problem
    assert advice.fix


def test_unknown_trouble_is_not_guessed_at() -> None:
    assert explain("something else") is None


class Answers:
    """A runner that answers from a table: the words after the program's name -> what it says."""

    def __init__(self, answers: dict[str, Done]) -> None:
        self.answers = answers

    def run(self, argv: Sequence[str], **_: object) -> Done:
        return self.answers.get(" ".join(argv[1:]), Done(code=1, stdout="", stderr="unknown command"))


def tools_folder(tmp_path: Path, *names: str) -> dict[str, str]:
    for name in names:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    return {"PATH": str(tmp_path)}


ENGINE = {"version --format {{.Server.Version}}": Done(code=0, stdout="20.10.24\n", stderr="")}


def test_compose_is_found_as_a_plugin_and_as_the_old_program(tmp_path: Path) -> None:
    environ = tools_folder(tmp_path, "docker", "docker-compose")
    plugin = {**ENGINE, "compose version --short": Done(code=0, stdout="v2.26.1\n", stderr="")}
    found = find_tools(Answers(plugin), environ)
    assert found.compose == (str(tmp_path / "docker"), "compose")
    assert (found.compose_version, found.engine_version) == ("2.26.1", "20.10.24")
    old = {**ENGINE, "version --short": Done(code=0, stdout="1.29.2\n", stderr="")}
    assert find_tools(Answers(old), environ).compose == (str(tmp_path / "docker-compose"),)


def test_a_cutover_routes_by_the_compose_that_is_there(tmp_path: Path) -> None:
    """Many a DSM has docker-compose 1.29 alone; that there is none is said before anything is frozen."""
    environ = tools_folder(tmp_path, "docker", "docker-compose")
    app = AppSection(route="compose", compose_file="c.yaml", compose_project="p", compose_service="web", env=("A=b",),
                     env_file="e")  # fmt: skip
    rest = ("-f", "c.yaml", "-p", "p", "up", "-d", "--no-deps", "--force-recreate", "web")
    old = {**ENGINE, "version --short": Done(code=0, stdout="1.29.2\n", stderr="")}
    assert recreate_words(app, environ, Answers(old)) == (str(tmp_path / "docker-compose"), *rest)
    plugin = {**ENGINE, "compose version --short": Done(code=0, stdout="v2.26.1\n", stderr="")}
    assert recreate_words(app, environ, Answers(plugin)) == (str(tmp_path / "docker"), "compose", *rest)
    with pytest.raises(ToolMissing, match="neither `docker compose` nor `docker-compose` works"):
        recreate_words(app, environ, Answers(ENGINE))


def test_log_is_in_one_order_and_without_colours() -> None:
    out = "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:03.000000000Z \x1b[31mthree\x1b[0m\n"
    err = "2026-01-01T00:00:02.000000000Z two\n"
    runner = Answers({"logs --timestamps --tail 2 id-postgres": Done(code=0, stdout=out, stderr=err)})
    assert read_log(runner, "docker", container(), lines=2) == ("two", "three")


def test_no_containers_is_no_error() -> None:
    runner = Answers(
        {"ps -aq --no-trunc --filter label=com.docker.compose.project=p": Done(code=0, stdout="", stderr="")}
    )
    assert read_containers(runner, "docker", project="p") == ()


@pytest.mark.parametrize("entry", ["pgdata:/data", {"type": "volume", "source": "pgdata", "target": "/data"}])
def test_data_of_a_stack_in_both_forms_of_compose(entry: object) -> None:
    definition = {"services": {"postgres": {"volumes": [entry, "./init:/init:ro"]}}, "volumes": {"pgdata": None}}
    assert data_sources(definition, "p") == {"p_pgdata": "postgres"}


def test_who_else_works_here(tmp_path: Path) -> None:
    mine = {"p_pgdata": "postgres"}
    assert list(conflicts([container()], project="p", folder=Path("/here"), data=mine)) == []
    (other_folder,) = conflicts([container()], project="p", folder=tmp_path, data=mine)
    assert "/here" in other_folder
    (other_project,) = conflicts([container()], project="q", folder=tmp_path, data=mine)
    assert "project p" in other_project
    assert "p_pgdata" in other_project


def test_programs_that_do_not_start_or_do_not_end() -> None:
    runner = Subprocesses({"PATH": "/nonexistent"})
    assert runner.run(["/nonexistent/docker"], timeout=5).code == -1
    assert runner.run(["/bin/sleep", "60"], timeout=0.2).code == 124
