"""The two ends of a migration and how to reach them: what cutover, resume, abort and rollback share."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from nasmigrate.core.config import Config
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected, server_facts
from nasmigrate.postgres.control_row import TargetIdentity
from nasmigrate.postgres.role_switch import grant_writing, revoke_writing
from nasmigrate.postgres.roles import RoleNames, role_names
from nasmigrate.sqlite.fence import Fence
from nasmigrate.workflows.authorities import Standing, read_standing

SESSION = "nasmigrate cutover"
"""Name of the sessions that may write; a run that takes over ends those of others by its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Source, target, and the roles of the target. `busy` is how long to wait for a lock on the source, in seconds."""

    source: Path
    target: Target
    roles: RoleNames
    needs_ddl: bool
    busy: float

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection]:
        """A session that may write to the target."""
        with connected(self.target.conninfo, purpose=SESSION) as connection:
            yield connection

    def standing(self) -> Standing:
        """Both authorities, read now."""
        return read_standing(self.source, self.target, busy=self.busy)

    def grant(self, connection: psycopg.Connection) -> None:
        """Let the application write to Postgres, in the caller's transaction."""
        grant_writing(connection, self.roles, needs_ddl=self.needs_ddl)

    def revoke(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Take that away, in the caller's transaction; the roles whose sessions are to be ended then."""
        return revoke_writing(connection, self.roles)

    def new_fence(self, run_id: str, identity: TargetIdentity, epoch: int) -> Fence:
        """A fence for this target; the file's permissions are those it has now."""
        return Fence(
            run_id=run_id,
            system_identifier=identity.system_identifier,
            database_oid=identity.database_oid,
            epoch=epoch,
            file_mode=stat.S_IMODE(self.source.stat().st_mode),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def make_ends(config: Config, source: Path, target: Target) -> Ends:
    """The ends that the settings describe.

    Raises:
        ConfigError: the roles cannot be told apart.
        TargetError: the name of the database had to be asked for, and the server did not answer.
    """
    return Ends(
        source=source,
        target=target,
        roles=roles_of(config, target),
        needs_ddl=config.app.needs_ddl,
        busy=config.cutover.freeze_wait,
    )


def roles_of(config: Config, target: Target) -> RoleNames:
    """The roles of a target. A database that is not named is asked for its name.

    Raises:
        ConfigError: the roles cannot be told apart.
        TargetError: the name of the database had to be asked for, and the server did not answer.
    """
    database = conninfo_to_dict(target.conninfo).get("dbname")
    if not database:
        with connected(target.conninfo, purpose="nasmigrate status") as connection:
            database = server_facts(connection).database
            connection.commit()
    return role_names(str(database), config.app.role)
