"""PostgreSQL servers with settings, authentication or a version of their own, and pgbouncer before them.

They listen on loopback and in a temporary folder, run as an account that may (PostgreSQL refuses root), and end with
the context, or with the process that started them. A missing program fails the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from nasmigrate.postgres.server_programs import Account, Launcher, find_programs, server_account

DEBIAN = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"
LIMIT = 60.0
SCRATCH = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


def embedded_programs() -> Path:
    """The programs of the embedded server; the newest version there is."""
    return find_programs() / "bin"


def free_port() -> int:
    """A port on loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `dsn` is its superuser's, over TCP; `folder` holds `data` and its log."""

    folder: Path
    port: int
    launcher: Launcher
    programs: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        return self.as_user(SUPERUSER)

    def as_user(self, user: str, **words: str) -> str:
        """The conninfo of a role, over TCP; `words` go first."""
        return make_conninfo(
            **{"host": "127.0.0.1", "port": str(self.port), "user": user, "dbname": "postgres", **words}
        )

    def run(self, *statements: str, dbname: str = "postgres") -> None:
        """Statements as superuser, each by itself."""
        with psycopg.connect(self.dsn, dbname=dbname, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def folder_of(account: Account, parent: str = "/tmp") -> Iterator[Path]:
    """A short-named folder that the account owns."""
    folder = Path(tempfile.mkdtemp(prefix="nasmigrate-test-", dir=parent))
    if account.uid is not None and account.gid is not None:
        os.chown(folder, account.uid, account.gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres(
    *,
    programs: Path = DEBIAN,
    settings: Mapping[str, str] | None = None,
    initdb: Sequence[str] = ("--encoding=UTF8", "--locale=C.UTF-8"),
    authentication: str = "trust",
    password: str | None = None,
    prepare: Callable[[Path, Launcher], None] | None = None,
    parent: str = "/tmp",
    certificate: bool = False,
) -> Iterator[Server]:
    """Run a server.

    Args:
        programs: the folder with its programs.
        settings: beyond those of a scratch server.
        initdb: arguments of initdb.
        authentication: the method for TCP; the superuser's password is `password`.
        prepare: makes `data` in the folder in place of initdb.
        parent: where its folder goes.
        certificate: whether it has one, made here, and takes encrypted connections.
    """
    account = server_account()
    launcher = Launcher(account=account)
    with folder_of(account, parent) as folder:
        data = folder / "data"
        if prepare is not None:
            prepare(folder, launcher)
        else:
            _initdb(programs, folder, launcher, initdb, authentication, password)
        if certificate:
            _make_certificate(data, launcher)
            settings = {**(settings or {}), "ssl": "on"}
        port = free_port()
        chosen = {**SCRATCH, "listen_addresses": "127.0.0.1", "port": str(port), **(settings or {})}
        argv = [str(programs / "postgres"), "-D", str(data), "-k", str(folder)]
        argv += [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        process = launcher.start(argv, log=folder / "log")
        server = Server(folder=folder, port=port, launcher=launcher, programs=programs, process=process)
        try:
            _wait(server, password)
            yield server
        finally:
            _stop(process, signal.SIGINT)


def _initdb(
    programs: Path, folder: Path, launcher: Launcher, words: Sequence[str], authentication: str, password: str | None
) -> None:
    argv = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", SUPERUSER, "--no-sync", *words]
    argv += ["--auth-local=trust", f"--auth-host={authentication}"]
    if password is not None:
        secret = folder / "secret"
        secret.write_text(password)
        argv.append(f"--pwfile={secret}")
    done = launcher.run(argv, timeout=LIMIT)
    assert done.returncode == 0, done.stderr


def _make_certificate(data: Path, launcher: Launcher) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    argv += ["-keyout", str(data / "server.key"), "-out", str(data / "server.crt")]
    done = launcher.run(argv, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    (data / "server.key").chmod(0o600)


def _wait(server: Server, password: str | None) -> None:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with psycopg.connect(server.dsn, connect_timeout=5, password=password):
                return
        except psycopg.OperationalError:
            log = (server.folder / "log").read_text(errors="replace")[-2000:]
            assert server.process.poll() is None, log
            if time.monotonic() > deadline:
                raise TimeoutError(log) from None
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """A streaming standby."""

    def base_backup(folder: Path, launcher: Launcher) -> None:
        argv = [
            str(primary.programs / "pg_basebackup"),
            "-D",
            str(folder / "data"),
            "-R",
            "-c",
            "fast",
            "-d",
            primary.dsn,
        ]
        done = launcher.run(argv, timeout=LIMIT)
        assert done.returncode == 0, done.stderr

    with postgres(programs=primary.programs, prepare=base_backup) as server:
        yield server


@contextmanager
def pgbouncer(server: Server, mode: str) -> Iterator[int]:
    """pgbouncer before a server that trusts everyone; yields its port."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    port = free_port()
    with folder_of(server.launcher.account) as folder:
        (folder / "users").write_text(f'"{SUPERUSER}" ""\n')
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users\npool_mode = {mode}\n"
            "ignore_startup_parameters = extra_float_digits\n"
        )
        process = server.launcher.start([program, str(settings)], log=folder / "log")
        try:
            deadline = time.monotonic() + LIMIT
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text(errors="replace")
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            yield port
        finally:
            _stop(process, signal.SIGINT)
