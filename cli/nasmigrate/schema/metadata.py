"""The plan as SQLAlchemy metadata: what `alembic check` compares with, and what the revisions are written from.

Names and SQL of a plan come from somebody's SQLite file, so nothing here trusts them: names are quoted by
SQLAlchemy, SQL goes through `sql_text`, which keeps SQLAlchemy from reading bind parameters into it.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from nasmigrate.core.errors import UnmappableColumn
from nasmigrate.schema.plan import Plan, PlanCheck, PlanColumn, PlanForeignKey, PlanIndex, PlanIndexTerm, PlanTable

_TYPE = re.compile(r"([a-z ]+?)\s*(?:\((\d)\))?", re.ASCII)
_READ_BY_TEXT = re.compile(r"(?<![:\w\\]):\w|\\:")
"""What `sqlalchemy.text` would change: a bind parameter, or an escaped colon."""
_SIMPLE_DEFAULT = re.compile(r"[+-]?\d+(?:\.\d+)?|'(?:[^']|'')*'|\w+(?:\(\))?", re.ASCII)


def metadata_from_plan(plan: Plan) -> sa.MetaData:
    """Build all tables of a plan, with columns, keys, indexes, checks and foreign keys, without a schema name.

    Names are those of Postgres.

    Raises:
        UnmappableColumn: a column's `pg_type` is none that a codec has.
    """
    metadata = sa.MetaData()
    plan = plan.in_target_names()
    for table in plan.tables:
        _table(metadata, table)
    # Last, when every parent stands: a key given as "parent.column" would break on a dot in a name.
    for table in plan.tables:
        for key in table.foreign_keys:
            metadata.tables[table.name].append_constraint(_foreign_key(metadata, table, key))
    return metadata


def column_type(column: PlanColumn) -> TypeEngine[Any]:
    """Return the Postgres type of a column, with precision and collation.

    Raises:
        UnmappableColumn: the type is none that a codec has.
    """
    match = _TYPE.fullmatch(column.pg_type)
    name, precision = (match[1], int(match[2]) if match[2] else None) if match else (column.pg_type, None)
    plain: dict[str, type[TypeEngine[Any]]] = {
        "bigint": postgresql.BIGINT,
        "boolean": postgresql.BOOLEAN,
        "bytea": postgresql.BYTEA,
        "json": postgresql.JSON,
        "jsonb": postgresql.JSONB,
        "uuid": postgresql.UUID,
        "date": postgresql.DATE,
        "double precision": postgresql.DOUBLE_PRECISION,
        "numeric": postgresql.NUMERIC,
    }
    if name in plain and precision is None:
        return plain[name]()
    match name:
        case "text" if precision is None:
            return postgresql.TEXT(collation=column.collation)
        case "time":
            return postgresql.TIME(precision=precision)
        case "timestamp":
            return postgresql.TIMESTAMP(precision=precision)
        case "timestamptz":
            return postgresql.TIMESTAMP(timezone=True, precision=precision)
    raise UnmappableColumn(f"column {column.name}: no revision can be written for type {column.pg_type}")


def type_code(column: PlanColumn) -> str:
    """The Python that makes a column's type, for a revision.

    Raises:
        UnmappableColumn: as column_type.
    """
    found = column_type(column)
    # The repr of the JSON types names a class that a revision does not import, for a default that it need not state.
    code = f"{type(found).__name__}()" if isinstance(found, postgresql.JSON) else repr(found)
    return f"postgresql.{code}"


class _EveryWord(set[str]):
    """A set that holds every word."""

    def __contains__(self, word: object) -> bool:
        return True


def quote_all_names(dialect: sa.Dialect) -> None:
    """Let a dialect quote every name.

    SQLAlchemy quotes the reserved words that it knows; `collation`, for one, it does not, and every release of
    Postgres may reserve more.
    """
    dialect.identifier_preparer.reserved_words = _EveryWord()


def sql_text(sql: str) -> str:
    """Return SQL such that `sqlalchemy.text` yields it unchanged.

    Only SQL in which it would see something is touched, so that `value::text` stays readable in a revision.
    """
    return sql.replace(":", "\\:") if _READ_BY_TEXT.search(sql) else sql


def default_text(sql: str) -> str:
    """Return a default expression for `DEFAULT`, in parentheses unless it is a literal or a bare function.

    The grammar takes only a `b_expr` there (no AT TIME ZONE, IS, IN): `ColConstraintElem` in gram.y.
    """
    return sql_text(sql if _SIMPLE_DEFAULT.fullmatch(sql) else f"({sql})")


def term_text(term: PlanIndexTerm) -> str:
    """Return an index term that is an expression, as text for `sqlalchemy.text`."""
    return sql_text(f"({term.expression}){' DESC' if term.descending else ''}")


def foreign_key_options(key: PlanForeignKey) -> dict[str, Any]:
    """Return the keyword arguments of a foreign key that are not the default."""
    options: dict[str, Any] = {}
    if key.on_update != "NO ACTION":
        options["onupdate"] = key.on_update
    if key.on_delete != "NO ACTION":
        options["ondelete"] = key.on_delete
    if key.deferred:
        options |= {"deferrable": True, "initially": "DEFERRED"}
    return options | not_valid_option(key)


def not_valid_option(constraint: PlanForeignKey | PlanCheck) -> dict[str, Any]:
    """Return the keyword argument of a constraint that rows which are there need not satisfy."""
    return {"postgresql_not_valid": True} if constraint.not_valid else {}


def _table(metadata: sa.MetaData, table: PlanTable) -> sa.Table:
    columns = {column.name: _column(table, column) for column in table.columns}
    items: list[SchemaItem] = []
    if table.primary_key:
        key = [columns[name] for name in table.primary_key]
        items.append(sa.PrimaryKeyConstraint(*key, name=table.key_name))
    for index in table.indexes:
        if index.is_constraint:
            unique = [columns[term.column] for term in index.terms if term.column is not None]
            items.append(sa.UniqueConstraint(*unique, name=index.name))
        else:
            items.append(_index(columns, index))
    items += [
        sa.CheckConstraint(sa.text(sql_text(check.sql)), name=check.name, **not_valid_option(check))
        for check in table.checks
    ]
    return sa.Table(table.name, metadata, *columns.values(), *items)


def _column(table: PlanTable, column: PlanColumn) -> sa.Column[Any]:
    default: sa.Identity | sa.Computed | sa.TextClause | None = None
    if column.identity:
        default = sa.Identity(always=False)
    elif column.computed_sql is not None:
        default = sa.Computed(sa.text(sql_text(column.computed_sql)), persisted=True)
    elif column.default_sql is not None:
        default = sa.text(default_text(column.default_sql))
    return sa.Column(
        column.name,
        column_type(column),
        *([default] if isinstance(default, sa.Identity | sa.Computed) else []),
        server_default=default if isinstance(default, sa.TextClause) else None,
        nullable=table.is_nullable(column),
        # Otherwise SQLAlchemy makes a SERIAL of an integer primary key.
        autoincrement=column.identity,
    )


def _index(columns: dict[str, sa.Column[Any]], index: PlanIndex) -> sa.Index:
    terms: list[Any] = []
    for term in index.terms:
        if term.column is None:
            terms.append(sa.text(term_text(term)))
        else:
            terms.append(columns[term.column].desc() if term.descending else columns[term.column])
    where = None if index.where is None else sa.text(sql_text(index.where))
    return sa.Index(index.name, *terms, unique=index.unique, postgresql_where=where)


def _foreign_key(metadata: sa.MetaData, table: PlanTable, key: PlanForeignKey) -> sa.ForeignKeyConstraint:
    parent = metadata.tables[key.parent]
    return sa.ForeignKeyConstraint(
        [metadata.tables[table.name].c[name] for name in key.columns],
        [parent.c[name] for name in key.parent_columns],
        name=key.name,
        **foreign_key_options(key),
    )
