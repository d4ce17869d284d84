"""A PostgreSQL server of another major version than the embedded one: the programs of the Debian package."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from nasmigrate.postgres.server_programs import Launcher, server_account

PROGRAMS = Path("/usr/lib/postgresql")


def debian_programs() -> Path:
    """The newest `/usr/lib/postgresql/<major>/bin`; tests/support/packages.sh installs it."""
    found = sorted(PROGRAMS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, f"no server below {PROGRAMS}: run tests/support/packages.sh"
    return found[-1].parent


@contextmanager
def debian_server() -> Iterator[str]:
    """Run it on a Unix socket in a private directory; yields the superuser's conninfo of database postgres."""
    launcher = Launcher(account=server_account())
    programs = debian_programs()
    with tempfile.TemporaryDirectory(prefix="nm-", dir="/tmp") as name:
        place = Path(name)
        if launcher.account.uid is not None:
            os.chown(place, launcher.account.uid, -1)
        data = place / "data"
        done = launcher.run(
            [
                str(programs / "initdb"),
                "-D",
                str(data),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ],
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        words = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "unix_socket_permissions=0700"]
        argv = [str(programs / "postgres"), "-D", str(data), "-k", str(place), *words]
        process = launcher.start(argv, log=place / "server.log")
        conninfo = f"host={place} user=postgres dbname=postgres"
        try:
            _wait(conninfo, place / "server.log")
            yield conninfo
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)


def _wait(conninfo: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        else:
            return
