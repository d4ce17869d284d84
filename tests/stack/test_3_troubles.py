"""What can go wrong with `stack up`: each is told by name, with what to do."""

from __future__ import annotations

import socket
from pathlib import Path

from support.stack import docker, new_stack


def test_port_is_taken(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["postgres"]) as stack, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        stack.set_variables(NASMIGRATE_POSTGRES_PORT=str(other.getsockname()[1]))
        ran = stack.up()
        assert ran.code == 10
        assert f"port {other.getsockname()[1]} on 127.0.0.1 is taken" in ran.err
        assert "NASMIGRATE_POSTGRES_PORT" in ran.err


def test_image_is_not_to_be_had(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["redis"]) as stack:
        stack.set_variables(NASMIGRATE_REDIS_IMAGE="127.0.0.1:9/absent/redis:1")
        ran = stack.up()
        assert ran.code == 10
        assert "redis: pull failed: the image registry cannot be reached" in ran.err
        assert "docker load" in ran.err


def test_engine_is_down(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["redis"]) as stack:
        ran = stack.nasmigrate("stack", "up", environ={"DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
        assert ran.code == 10
        assert "the Docker engine does not answer" in ran.err
        assert "hint: start it" in ran.err


def test_no_docker_at_all(tmp_path: Path) -> None:
    """Only what is on PATH and where DSM puts it counts; a machine with neither is told what to install."""
    from nasmigrate.core.errors import ToolMissing
    from nasmigrate.stack import tools

    class Nothing:
        def run(self, *_: object, **__: object) -> object:
            raise AssertionError("nothing should be started")

    places, tools.PLACES = tools.PLACES, ()
    try:
        tools.find_tools(Nothing(), {"PATH": str(tmp_path)})
    except ToolMissing as error:
        assert "Container Manager" in (error.hint or "")
    else:
        raise AssertionError("docker was found nowhere")
    finally:
        tools.PLACES = places


def test_too_little_memory(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["killbill"]) as stack:
        stack.set_variables(NASMIGRATE_KILLBILL_MEMORY="48m")
        ran = stack.up()
        assert ran.code == 10
        assert "killbill" in ran.err
        assert "there is not enough memory" in ran.err
        assert "NASMIGRATE_KILLBILL_HEAP" in ran.err


def test_password_of_an_old_volume(tmp_path: Path) -> None:
    """The secret file was made anew, the volume was not: health is green, since 127.0.0.1 is trusted inside."""
    with new_stack(tmp_path, ["postgres"]) as stack:
        stack.must("stack", "up")
        secret = stack.folder / "secrets" / "postgres_password"
        secret.unlink()
        ran = stack.up()
        assert ran.code == 8
        assert "the password of the secret file is not the one the volume was made with" in ran.err
        assert "ALTER ROLE" in ran.err


def test_volume_of_another_major_version(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["postgres"]) as stack:
        stack.must("stack", "up")
        docker("exec", stack.container("postgres"), "sh", "-c", "echo 16 > /var/lib/postgresql/17/docker/PG_VERSION")
        stack.must("stack", "down")
        ran = stack.up()
        assert ran.code == 10
        assert "the volume holds the data of another major version of Postgres" in ran.err
        assert "  | " in ran.err  # the last lines of its log


def test_another_copy_of_the_same_project(tmp_path: Path) -> None:
    with new_stack(tmp_path / "one", ["redis"]) as stack:
        stack.must("stack", "up")
        with new_stack(tmp_path / "two", ["redis"]) as second:
            text = (second.home / "nasmigrate.toml").read_text().replace(second.project, stack.project)
            (second.home / "nasmigrate.toml").write_text(text)
            ran = second.up()
            assert ran.code == 10
            assert str(stack.folder) in ran.err
        stack.must("stack", "status")


def test_another_stack_on_the_same_folder_of_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with new_stack(tmp_path / "one", ["redis"]) as stack:
        stack.set_variables(NASMIGRATE_REDIS_DATA=str(data))
        stack.must("stack", "up")
        assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (999, 0o700)
        with new_stack(tmp_path / "two", ["redis"]) as second:
            second.set_variables(NASMIGRATE_REDIS_DATA=str(data))
            ran = second.up()
            assert ran.code == 10
            assert f"uses {data}" in ran.err


def test_down_removes_only_the_volumes_that_are_named(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["redis"]) as stack:
        stack.must("stack", "up")
        volume = f"{stack.project}_redisdata"
        refused = stack.nasmigrate("stack", "down", "--remove-volume", "redisdata")
        assert refused.code == 2
        assert volume in refused.err
        assert stack.must("stack", "down").out == "down; all data is kept\n"
        assert volume in docker("volume", "ls", "-q")
        assert stack.must("stack", "down", "--remove-volume", volume).out == f"down; removed for good: {volume}\n"
        assert volume not in docker("volume", "ls", "-q")


def test_secrets_that_others_can_read(tmp_path: Path) -> None:
    with new_stack(tmp_path, ["redis"]) as stack:
        (stack.folder / "secrets").mkdir(mode=0o755)
        ran = stack.up()
        assert ran.code == 5
        assert "mode 0755, others may enter" in ran.err
        assert "chmod 700" in ran.err
