"""The database a rehearsal works in: made, dropped at the end; what a killed one left is dropped by the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.preflight import check_may_create_databases
from nasmigrate.postgres.scratch import Kind, scratch

REHEARSAL = Kind(
    prefix="nasmigrate_rehearsal_",
    mark="nasmigrate: scratch database of a rehearsal; the next one drops it when nobody is connected to it",
    purpose="nasmigrate rehearse",
)


@contextmanager
def scratch_database(conninfo: str, *, keep: bool) -> Iterator[tuple[str, str]]:
    """An empty database on a server: its conninfo and its name.

    Args:
        conninfo: any database of the server, as a role that may create databases.
        keep: do not drop it, not even later.

    Raises:
        PreflightError: the role may not create databases.
        TargetError: Postgres refused.
    """
    with connected(conninfo, autocommit=True) as connection:
        check_may_create_databases(connection)
    with scratch(conninfo, REHEARSAL, keep=keep) as made:
        yield made
