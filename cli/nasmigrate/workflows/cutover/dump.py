"""The first backup of what serves now: a pg_dump, listed by pg_restore to show that it can be read."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.result import Gate
from nasmigrate.postgres.server_programs import find_programs
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.cutover.hooks import Runner

DUMP = "target.dump"
_LIMIT = 3600.0
_VERSION = re.compile(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)?\b")


def dump_target(ends: Ends, folder: Path, server_version: str, runner: Runner) -> Gate:
    """Dump the target into `folder` (0600). Without a pg_dump of the server's version or later, the gate says so."""
    programs = _programs(server_version, folder, runner)
    if programs is None:
        return Gate(
            name="dump",
            status="skipped",
            detail=f"no pg_dump for PostgreSQL {server_version} is here: take a backup of the database by other means",
        )
    file = folder / DUMP
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    words = conninfo_to_dict(ends.target.conninfo)
    # Other users of this machine can read a command line.
    environ = {**os.environ, **({"PGPASSWORD": str(words.pop("password"))} if words.get("password") else {})}
    target = make_conninfo("", **{key: value for key, value in words.items() if key != "password"})
    done = runner([str(programs / "pg_dump"), "-Fc", "-f", str(file), "-d", target], folder, _LIMIT, environ)
    if done.code == 0:
        done = runner([str(programs / "pg_restore"), "--list", str(file)], folder, _LIMIT, None)
    if done.code:
        return Gate(name="dump", status="inconclusive", detail=f"pg_dump failed: {done.output[-300:]}")
    return Gate(name="dump", status="pass", detail=f"{file}, {file.stat().st_size:,} bytes, readable", checked=1)


def _programs(server_version: str, folder: Path, runner: Runner) -> Path | None:
    """The folder of a pg_dump that is not older than the server."""
    wanted = int(server_version.split(".")[0].split("devel")[0])
    for directory in _directories():
        with suppress(NasmigrateError):
            done = runner([str(directory / "pg_dump"), "--version"], folder, 30.0, None)
            found = _VERSION.search(done.output)
            if done.code == 0 and found and int(found[1]) >= wanted and (directory / "pg_restore").exists():
                return directory
    return None


def _directories() -> Iterator[Path]:
    on_path = shutil.which("pg_dump")
    if on_path:
        yield Path(on_path).parent
    installed = Path("/usr/lib/postgresql")
    if installed.is_dir():
        yield from (entry / "bin" for entry in sorted(installed.iterdir(), reverse=True))
    with suppress(NasmigrateError):
        yield find_programs() / "bin"
