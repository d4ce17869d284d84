"""Run Alembic revisions on the target, each call in one transaction, without a word to stdout or the logs.

The revisions do not name a schema, so the session's search path is `public` and nothing else.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy.pool import NullPool

from nasmigrate.core.errors import ConnectionLost, DiskFull, SchemaError
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import DISK_FULL, connect, disk_full

VERSION_SCHEMA = "nasmigrate"
VERSION_TABLE = "alembic_version"
"""In our own schema, because a source may bring a table of that name (made by its own Alembic)."""

MAINTENANCE_MEMORY = "256MB"
LOCK_TIMEOUT = "30s"

_HINTS = {
    "23502": "a row holds NULL where the plan says NOT NULL: plan again from a fresh snapshot",
    "23503": "rows without a parent: see finding FK_ORPHANS and its rules",
    "23505": "the rows are not unique where the plan says so: a rule below [columns] may make two values one, or the"
    " snapshot is not the plan's: plan again from a fresh one",
    "23514": "a row does not satisfy the check: see finding CHECK_VIOLATED",
    "42501": "the role needs CREATE on the database and on schema public: "
    "GRANT CREATE ON DATABASE …; GRANT CREATE ON SCHEMA public",
    "42710": "an object of that name is there already: use an empty database",
    "42P07": "a relation of that name is there already: use an empty database",
    "42P17": "Postgres wants an IMMUTABLE expression there: leave the index out and accept the finding",
    "54000": "a value is too long for an index: see finding INDEX_ROW_TOO_LARGE",
    "55P03": "another session holds a lock on the table: end it, then try again",
}


def upgrade(
    conninfo: str,
    directory: Path,
    revision: str,
    metadata: sa.MetaData | None = None,
    *,
    guard: Callable[[psycopg.Connection], None] | None = None,
) -> None:
    """Run the revisions up to and with `revision`; all of it or, after an error, nothing.

    Args:
        conninfo: libpq words or a `postgresql://` URL of the target.
        directory: the folder with the revisions.
        revision: a revision id, or `head`.
        metadata: what a revision's environment may compare with; needed by `check` only.
        guard: called first in the transaction; raises when this run may not write.

    Raises:
        SchemaError: Postgres refused a statement, or the revisions do not fit the database; details carry
            sqlstate and object.
        CannotConnect: no connection could be made.
        ConnectionLost: the connection broke; look whether the revision was committed with `current`.
    """
    _run(conninfo, directory, metadata, lambda config: command.upgrade(config, revision), guard)


def downgrade(conninfo: str, directory: Path, revision: str, metadata: sa.MetaData | None = None) -> None:
    """Undo the revisions after `revision`; `base` undoes all, and drops the tables with their rows.

    Args and errors are those of `upgrade`.
    """
    _run(conninfo, directory, metadata, lambda config: command.downgrade(config, revision))


def check(conninfo: str, directory: Path, metadata: sa.MetaData) -> None:
    """Compare the target's schema with the metadata, as `alembic check` does.

    Raises:
        SchemaError: they differ, or the database is not at the last revision.
    """
    _run(conninfo, directory, metadata, command.check)


def current(conninfo: str) -> str | None:
    """Return the revision that the database is at; None before the first one. Nothing is written.

    Raises:
        SchemaError: the version table cannot be read, or holds more than one revision.
        CannotConnect: no connection could be made.
    """
    with _mapped_errors("reading the revision"), connect_engine(conninfo).connect() as connection:
        options = {"version_table": VERSION_TABLE, "version_table_schema": VERSION_SCHEMA}
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def connect_engine(conninfo: str) -> sa.Engine:
    """Return an engine whose connections are psycopg's own, so that sockets and all libpq words work."""
    return sa.create_engine("postgresql+psycopg://", creator=lambda: _connect(conninfo), poolclass=NullPool)


def environment_directory() -> Path:
    """Return the folder with `env.py`: in the installed package, or in the checkout of an editable install.

    Raises:
        SchemaError: it is in neither place; the installation is broken.
    """
    spec = importlib.util.find_spec("nasmigrate")
    for package in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        for candidate in (package / "_alembic", package.parent.parent / "alembic"):
            if (candidate / "env.py").is_file():
                return candidate
    raise SchemaError("the Alembic environment is missing from the installed package", hint="install nasmigrate again")


def _connect(conninfo: str) -> psycopg.Connection:
    connection = connect(conninfo, autocommit=True, purpose="nasmigrate schema")
    settings = {
        "search_path": "public",
        "maintenance_work_mem": MAINTENANCE_MEMORY,
        "lock_timeout": LOCK_TIMEOUT,
    }
    try:
        for name, value in settings.items():
            connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def _config(directory: Path, connection: sa.Connection, metadata: sa.MetaData | None) -> Config:
    # Messages that Alembic would print belong to nobody here: what matters is raised.
    config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
    # ConfigParser takes a percent sign for interpolation.
    config.set_main_option("script_location", str(environment_directory()).replace("%", "%%"))
    config.set_main_option("version_locations", str(directory.resolve()).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    config.attributes["target_metadata"] = metadata if metadata is not None else sa.MetaData()
    return config


def _run(
    conninfo: str,
    directory: Path,
    metadata: sa.MetaData | None,
    action: Callable[[Config], None],
    guard: Callable[[psycopg.Connection], None] | None = None,
) -> None:
    with _mapped_errors(f"running the revisions in {directory}"), connect_engine(conninfo).begin() as connection:
        if guard is not None and isinstance(driver := connection.connection.driver_connection, psycopg.Connection):
            guard(driver)
        action(_config(directory, connection, metadata))


@contextmanager
def _mapped_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise SchemaError(
            f"{doing}: {error}",
            hint="the database and the folder of revisions do not belong together: see `alembic current` and `history`",
        ) from error
    except sa.exc.DBAPIError as error:
        cause = error.orig if isinstance(error.orig, psycopg.Error) else None
        raise _database_error(doing, cause, error) from error
    except psycopg.Error as error:
        raise _database_error(doing, error, error) from error
    except sa.exc.SQLAlchemyError as error:
        raise SchemaError(f"{doing}: {error}", hint="nothing of this step was kept") from error


def _database_error(
    doing: str, cause: psycopg.Error | None, error: Exception
) -> SchemaError | ConnectionLost | DiskFull:
    diagnostics = cause.diag if cause is not None else None
    sqlstate = cause.sqlstate if cause is not None else None
    if cause is not None and sqlstate == DISK_FULL:
        return disk_full(doing, cause)
    # Only the first line: DETAIL may quote values of a row.
    primary = diagnostics.message_primary if diagnostics is not None else None
    text = redact(primary or str(cause or error)).strip()
    if (
        cause is not None
        and (sqlstate is None or sqlstate.startswith(("08", "57P")))
        and isinstance(cause, psycopg.OperationalError)
    ):
        return ConnectionLost(
            f"{doing}: the connection to Postgres broke: {text}",
            hint="look at the server's log; what was not committed is not there",
            details={"sqlstate": sqlstate},
        )
    names: dict[str, object] = {}
    if diagnostics is not None:
        named = {
            "table": diagnostics.table_name,
            "column": diagnostics.column_name,
            "constraint": diagnostics.constraint_name,
        }
        names = {kind: name for kind, name in named.items() if name}
    return SchemaError(
        f"{doing}: {text}{f' (SQLSTATE {sqlstate})' if sqlstate else ''}",
        hint=_HINTS.get(sqlstate or "", "nothing of this step was kept; see the statement in the run's log"),
        details={"sqlstate": sqlstate, **names, "statement": _statement(error)},
    )


def _statement(error: Exception) -> str | None:
    return error.statement.strip() if isinstance(error, sa.exc.StatementError) and error.statement else None
