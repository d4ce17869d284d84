"""A PostgreSQL server of another major version than the embedded one: the programs of the Debian package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nasmigrate.postgres.embedded import embedded_server

PROGRAMS = Path("/usr/lib/postgresql")


def debian_programs() -> Path:
    """The newest `/usr/lib/postgresql/<major>/bin`; tests/support/packages.sh installs it."""
    found = sorted(PROGRAMS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, f"no server below {PROGRAMS}: run tests/support/packages.sh"
    return found[-1].parent


@contextmanager
def debian_server() -> Iterator[str]:
    """Run it; yields the superuser's conninfo of database postgres."""
    with embedded_server(programs=debian_programs()) as server:
        yield server.dsn
