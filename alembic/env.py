"""The Alembic environment of a migration to Postgres, for nasmigrate and for `alembic` run by hand.

nasmigrate itself gives a connection and the metadata in `config.attributes`. By hand, in a folder with
`[tool.alembic]`:

    alembic -x dsn='host=/run/postgresql dbname=app' upgrade head      or NASMIGRATE_TARGET_DSN=…
    alembic -x plan=plan.json check                                    or NASMIGRATE_PLAN=…
    alembic upgrade head --sql                                         (needs no server)

`check` needs a plan to compare with. Without one it takes data_samples/expected/plan.json if that is there (in the
checkout), else the plan of the latest run, .nasmigrate/runs/latest/plan.json.

`check` does not see checks, primary keys and the text of expressions, and SQLAlchemy cannot read foreign keys whose
names hold quotes or line ends; `nasmigrate verify` compares all of it by the catalogue.

The version table is `nasmigrate.alembic_version`: a source may have an `alembic_version` of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import context, util
from alembic.ddl.postgresql import PostgresqlImpl
from sqlalchemy.schema import CreateSchema

from nasmigrate.postgres.migrate import VERSION_SCHEMA, VERSION_TABLE, connect_engine
from nasmigrate.schema.metadata import metadata_from_plan, quote_all_names
from nasmigrate.schema.plan import Plan

FALLBACK_PLANS = (Path("data_samples/expected/plan.json"), Path(".nasmigrate/runs/latest/plan.json"))


def setting(name: str, variable: str) -> str | None:
    """What `-x name=…` says, else the environment variable."""
    return context.get_x_argument(as_dictionary=True).get(name) or os.environ.get(variable) or None


def planned_metadata() -> sa.MetaData | None:
    given = context.config.attributes.get("target_metadata")
    if given is not None:
        return given
    named = setting("plan", "NASMIGRATE_PLAN")
    folder = Path(context.config.config_file_name or context.config.toml_file_name or "").parent
    candidates = [Path(named)] if named else [folder / path for path in FALLBACK_PLANS]
    for path in candidates:
        if named or path.is_file():
            try:
                return metadata_from_plan(Plan.model_validate_json(path.read_bytes()))
            except (OSError, ValueError) as error:
                raise util.CommandError(f"{path}: not a plan that can be read: {error}") from error
    return None


def include_object(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any | None) -> bool:
    """Leave out what a comparison of texts cannot decide: an index that Postgres prints in its own words.

    Number of terms and uniqueness are compared all the same. `nasmigrate verify` compares the rest, with
    Postgres' own text as it was right after the load.
    """
    if kind != "index" or compare_to is None:
        return True
    same_shape = item.unique == compare_to.unique and len(item.expressions) == len(compare_to.expressions)
    return not (same_shape and any(not isinstance(term, sa.Column) for term in item.expressions))


def compare_type(
    migration_context: Any, inspected_column: Any, planned_column: Any, inspected_type: Any, planned_type: Any
) -> bool:
    """Compare name, precision and collation. Alembic's own comparison takes a missing precision as equal."""
    dialect = migration_context.dialect
    return bool(inspected_type.compile(dialect=dialect) != planned_type.compile(dialect=dialect))


class ServerDefaultsAsPrinted(PostgresqlImpl):
    """Alembic's own way with Postgres, but for how two defaults are compared.

    A function for `compare_server_default` is the usual place, but Alembic (1.20) calls it for identity columns
    too, and fails at them. Defining the class registers it.
    """

    __dialect__ = "postgresql"

    def compare_server_default(
        self, inspected_column: Any, planned_column: Any, planned_default: Any, inspected_default: Any
    ) -> bool:
        """Compare as Postgres prints both. Alembic evaluates them, and no two random() are equal."""
        if inspected_default is None or planned_default is None:
            return inspected_default is not planned_default
        connection = self.connection
        column = sa.Column("value", planned_column.type, server_default=planned_column.server_default.arg)
        table = sa.Table("nasmigrate_default", sa.MetaData(), column, prefixes=["TEMPORARY"])
        savepoint = connection.begin_nested()
        try:
            table.create(connection, checkfirst=False)
            printed = connection.scalar(
                sa.text("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = to_regclass(:name)"),
                {"name": f"pg_temp.{table.name}"},
            )
        finally:
            savepoint.rollback()
        return printed != inspected_default

    def _normalize_computed_default(self, sqltext: str) -> str:
        """Take all expressions of generated columns for one: Alembic could but warn that it cannot change them.

        `nasmigrate verify` compares them, with Postgres' own text as it was right after the load.
        """
        return ""


def configure(metadata: sa.MetaData | None, **where: Any) -> None:
    context.configure(
        **where,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        version_table_schema=VERSION_SCHEMA,
        include_schemas=False,
        include_object=include_object,
        compare_type=compare_type,
        compare_server_default=True,
    )
    quote_all_names(context.get_context().dialect)


def run_online(connection: sa.Connection) -> None:
    configure(planned_metadata(), connection=connection)
    looks_only = context.get_context().opts.get("dont_mutate", False)
    if not looks_only and not sa.inspect(connection).has_schema(VERSION_SCHEMA):
        connection.execute(CreateSchema(VERSION_SCHEMA))
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    # Named parameters: with those of psycopg every percent sign would be written twice.
    configure(None, dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.execute("SET search_path = public")
        context.execute(CreateSchema(VERSION_SCHEMA, if_not_exists=True))
        context.run_migrations()


def run_by_hand() -> None:
    dsn = setting("dsn", "NASMIGRATE_TARGET_DSN")
    if dsn is None:
        raise util.CommandError("no target: give -x dsn=postgresql://… or set NASMIGRATE_TARGET_DSN")
    with connect_engine(dsn).begin() as connection:
        run_online(connection)


given_connection = context.config.attributes.get("connection")
if context.is_offline_mode():
    run_offline()
elif given_connection is not None:
    run_online(given_connection)
else:
    run_by_hand()
