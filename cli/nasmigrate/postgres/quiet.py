"""Keeps foreign keys and triggers from acting while planned rows are written, and checks the foreign keys afterwards.

A cascade or a trigger of the application would move rows that nobody planned. Where the role may, the session says
that it is a replica; else the foreign keys around the touched tables are taken off and put on again in the same
transaction (which checks every row), and triggers are switched off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import psycopg
from psycopg import sql

from nasmigrate.core.errors import TransferError
from nasmigrate.postgres.digests import table_name
from nasmigrate.postgres.stage import columns_of, copy_in, make_stage
from nasmigrate.schema.changes import TableChanges
from nasmigrate.schema.plan import Plan, PlanForeignKey, PlanTable

_NAMED = 5
"""Keys of rows without parent that an error names."""


class Quiet(Protocol):
    """What stands in for foreign keys while they do not act."""

    def delete(self, table: PlanTable, statement: sql.Composed) -> None:
        """Run a DELETE whose target is called `t`."""

    def check(self, parts: Sequence[tuple[PlanTable, TableChanges]]) -> None:
        """Prove that every foreign key holds.

        Raises:
            TransferError: a row has no parent.
        """


@contextmanager
def quiet(connection: psycopg.Connection, plan: Plan, tables: Sequence[str]) -> Iterator[Quiet]:
    """Let no foreign key and no trigger of these tables act within the block.

    After an error the transaction must be rolled back: nothing is put back then.

    Args:
        connection: in a transaction.
        plan: whose foreign keys are to hold afterwards, with every name as in Postgres.
        tables: that will be written to.
    """
    if _may_be_replica(connection):
        connection.execute("SET LOCAL session_replication_role = replica")
        yield _Replica(connection, plan)
        connection.execute("SET LOCAL session_replication_role = origin")
    else:
        taken_off = _take_off(connection, tables)
        yield _TakenOff(connection, taken_off)


def _may_be_replica(connection: psycopg.Connection) -> bool:
    """Whether this role may set session_replication_role: superusers, and from PostgreSQL 15 on who was granted it."""
    row = connection.execute(
        "SELECT rolsuper, current_setting('server_version_num')::int >= 150000 FROM pg_roles"
        " WHERE rolname = current_user"
    ).fetchone()
    superuser, grantable = row if row else (False, False)
    if superuser or not grantable:
        return bool(superuser)
    granted = connection.execute(
        "SELECT has_parameter_privilege(current_user, 'session_replication_role', 'SET')"
    ).fetchone()
    return bool(granted and granted[0])


class _Replica:
    """Foreign keys do not act; what they would have found is looked for: rows without parent, parents that went."""

    def __init__(self, connection: psycopg.Connection, plan: Plan) -> None:
        self._connection = connection
        self._plan = plan
        self._keys = [(child, key) for child in plan.tables for key in child.foreign_keys]
        self._gone: dict[str, list[tuple[PlanTable, PlanForeignKey, sql.Identifier]]] = {}

    def delete(self, table: PlanTable, statement: sql.Composed) -> None:
        pointing = [(child, key) for child, key in self._keys if key.parent == table.name]
        if not pointing:
            self._connection.execute(statement)
            return
        names = sorted({column for _, key in pointing for column in key.parent_columns})
        columns = sql.SQL(", ").join(sql.Identifier("t", name) for name in names)
        stage = make_stage(self._connection, f"nasmigrate_parents_{len(self._gone)}", table, names)
        self._connection.execute(
            sql.SQL("WITH gone AS ({} RETURNING {}) INSERT INTO {} SELECT * FROM gone").format(
                statement, columns, stage
            )
        )
        self._connection.execute(sql.SQL("ANALYZE {}").format(stage))
        self._gone[table.name] = [(child, key, stage) for child, key in pointing]

    def check(self, parts: Sequence[tuple[PlanTable, TableChanges]]) -> None:
        for table, change in parts:
            for key in table.foreign_keys:
                if self._came_without_parent(table, key, change):
                    raise _orphans(self._connection, self._plan, table, key)
        for pointing in self._gone.values():
            for child, key, stage in pointing:
                if self._left_without_parent(child, key, stage):
                    raise _orphans(self._connection, self._plan, child, key)

    def _came_without_parent(self, table: PlanTable, key: PlanForeignKey, change: TableChanges) -> bool:
        """Whether a new or changed row points to nothing."""
        positions = [[column.name for column in table.columns].index(name) for name in key.columns]
        stage = make_stage(self._connection, "nasmigrate_came", table, key.columns)
        copy_in(self._connection, stage, key.columns, columns_of((change.updated, change.inserted), positions))
        found = self._connection.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} c WHERE {})").format(stage, _is_orphan(self._plan, key))
        ).fetchone()
        return bool(found and found[0])

    def _left_without_parent(self, child: PlanTable, key: PlanForeignKey, stage: sql.Identifier) -> bool:
        """Whether a row points to a parent that was there before."""
        match = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("c", ours), sql.Identifier("g", theirs))
            for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
        )
        found = self._connection.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM ONLY {} c JOIN {} g ON {} WHERE {})").format(
                table_name(child), stage, match, _is_orphan(self._plan, key)
            )
        ).fetchone()
        return bool(found and found[0])


def _is_orphan(plan: Plan, key: PlanForeignKey) -> sql.Composed:
    """The condition that a row `c` has no parent; as MATCH SIMPLE, a NULL in the key asks for none."""
    present = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("c", name)) for name in key.columns)
    match = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("p", theirs), sql.Identifier("c", ours))
        for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
    )
    return sql.SQL("{} AND NOT EXISTS (SELECT FROM ONLY {} p WHERE {})").format(
        present, table_name(plan.table(key.parent)), match
    )


def _orphans(connection: psycopg.Connection, plan: Plan, child: PlanTable, key: PlanForeignKey) -> TransferError:
    """The error that names rows without parent."""
    names = child.key or key.columns
    rows = connection.execute(
        sql.SQL("SELECT {} FROM ONLY {} c WHERE {} LIMIT {}").format(
            sql.SQL(", ").join(sql.Identifier("c", name) for name in names),
            table_name(child),
            _is_orphan(plan, key),
            sql.Literal(_NAMED),
        )
    ).fetchall()
    keys = [", ".join(f"{name}={value}" for name, value in zip(names, row, strict=True)) for row in rows]
    return _without_parent(child.name, key.name, f"rows without a row in {key.parent}: {'; '.join(keys)}", keys)


def _without_parent(table: str, constraint: str, message: str, keys: Sequence[str]) -> TransferError:
    return TransferError(
        f"{table}: {message}",
        hint="the source broke a foreign key since the plan was made: mend these rows there, or plan again",
        details={"table": table, "constraint": constraint, "keys": list(keys)},
        code="NM0905",
    )


# -- without the right to be a replica -----------------------------------------------------------------------------


class _TakenOff:
    """Foreign keys and triggers that are off; to put a key on again checks it."""

    def __init__(self, connection: psycopg.Connection, put_on: Sequence[tuple[str, sql.Composed]]) -> None:
        self._connection = connection
        self._put_on = put_on

    def delete(self, table: PlanTable, statement: sql.Composed) -> None:
        self._connection.execute(statement)

    def check(self, parts: Sequence[tuple[PlanTable, TableChanges]]) -> None:
        for name, statement in self._put_on:
            try:
                self._connection.execute(statement)
            except psycopg.errors.ForeignKeyViolation as error:
                diagnostics = error.diag
                message = f"a row without parent: {diagnostics.message_detail or diagnostics.message_primary}"
                raise _without_parent(diagnostics.table_name or name, name, message, ()) from error


_ENABLE = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _take_off(connection: psycopg.Connection, tables: Sequence[str]) -> list[tuple[str, sql.Composed]]:
    """Take foreign keys off and switch triggers off; (name, the statement that puts it on again) of each."""
    put_on: list[tuple[str, sql.Composed]] = []
    triggers = connection.execute(
        "SELECT c.relname, t.tgname, t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relnamespace = 'public'::regnamespace"
        " AND c.relname = ANY(%s) ORDER BY 1, 2",
        (list(tables),),
    ).fetchall()
    for table, name, enabled in triggers:
        off = sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}")
        connection.execute(off.format(sql.Identifier("public", table), sql.Identifier(name)))
        on = sql.SQL("ALTER TABLE {} {} TRIGGER {}")
        put_on.append(
            (name, on.format(sql.Identifier("public", table), sql.SQL(_ENABLE[enabled]), sql.Identifier(name)))
        )
    keys = connection.execute(
        "SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
        " JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_class p ON p.oid = k.confrelid"
        " WHERE k.contype = 'f' AND k.conparentid = 0 AND ("
        "(c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%(tables)s))"
        " OR (p.relnamespace = 'public'::regnamespace AND p.relname = ANY(%(tables)s))) ORDER BY 1, 2, 3",
        {"tables": list(tables)},
    ).fetchall()
    for schema, table, name, definition in keys:
        where = sql.Identifier(schema, table)
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(where, sql.Identifier(name)))
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        put_on.append((name, add.format(where, sql.Identifier(name), sql.SQL(definition))))
    return put_on
