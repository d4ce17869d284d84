"""Applies changes to Postgres in bulk, inside the caller's transaction, and proves that nothing else was moved.

An updated row is deleted and inserted again: so two rows may swap a unique value, and the order of tables does not
matter, because foreign keys and triggers do not act meanwhile (`postgres.quiet`). Afterwards the server's own counts
of this transaction must be the planned ones, table by table, those with nothing planned included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from nasmigrate.core.errors import CopyFailed, TransferError
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.connect import is_lost
from nasmigrate.postgres.copy_out import read_raw_rows
from nasmigrate.postgres.digests import row_bytes, table_name
from nasmigrate.postgres.quiet import Quiet, quiet
from nasmigrate.postgres.stage import columns_of, copy_in, make_stage
from nasmigrate.schema.changes import Counts, TableChanges
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.rows import Rows

_STAGE = "nasmigrate_gone"
MovedRows = Mapping[tuple[str, str], tuple[int, int, int]]
"""(schema, table) -> rows inserted, updated and deleted in this transaction so far."""


def apply_changes(connection: psycopg.Connection, plan: Plan, changes: Sequence[TableChanges]) -> dict[str, Counts]:
    """Make the changed tables equal to what `changes` want; the caller commits.

    Args:
        connection: in a transaction, as the owner of the tables.
        plan: gives keys and foreign keys.
        changes: at most one per table; the ledger is not written here.

    Returns:
        Table -> its planned counts, which are the server's own.

    Raises:
        CopyFailed: a constraint of the target refuses a row.
        TransferError: the server counted other rows than planned (a trigger or a rule moved rows, or another session
            changed the target), or a row has no parent. The transaction must be rolled back.
    """
    before = moved_rows(connection)
    there = plan.in_target_names()
    tables = {ours.name: theirs for ours, theirs in zip(plan.tables, there.tables, strict=True)}
    parts = [(tables[change.table], change) for change in changes]
    with quiet(connection, there, [table.name for table, _ in parts]) as silence:
        for table, change in parts:
            _delete(connection, table, change, silence)
        for table, change in parts:
            _insert(connection, table, change.updated)
            _insert(connection, table, change.inserted)
        check_moved(before, moved_rows(connection), _planned(parts))
        silence.check(parts)
    return {change.table: change.counts for change in changes}


# -- deleting ------------------------------------------------------------------------------------------------------


def _delete(connection: psycopg.Connection, table: PlanTable, change: TableChanges, silence: Quiet) -> None:
    """Delete what is to be deleted, and what is to be inserted anew."""
    if not change.deleted.count + change.updated.count:
        return
    stage = sql.Identifier("pg_temp", _STAGE)
    if table.mode == "multiset":
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(stage))
        connection.execute(
            sql.SQL("CREATE TEMP TABLE {} (d bytea NOT NULL) ON COMMIT DROP").format(sql.Identifier(_STAGE))
        )
        copy_in(connection, stage, ["d"], change.deleted.blocks())
        # Of n equal rows it does not matter which go.
        statement = sql.SQL(
            "DELETE FROM ONLY {table} t USING (SELECT f.place FROM ("
            "SELECT place, d, row_number() OVER (PARTITION BY d) AS number"
            " FROM (SELECT s.ctid AS place, sha256({row}) AS d FROM ONLY {table} s) r) f"
            " JOIN (SELECT d, count(*) AS n FROM {stage} GROUP BY d) g ON g.d = f.d AND f.number <= g.n) x"
            " WHERE t.ctid = x.place"
        ).format(table=table_name(table), row=row_bytes(table, table.codecs()), stage=stage)
    else:
        make_stage(connection, _STAGE, table, table.key)
        copy_in(connection, stage, table.key, columns_of((change.deleted, change.updated), table.key_indices))
        match = sql.SQL(" AND ").join(sql.SQL("t.{0} = k.{0}").format(sql.Identifier(name)) for name in table.key)
        statement = sql.SQL("DELETE FROM ONLY {} t USING {} k WHERE {}").format(table_name(table), stage, match)
    connection.execute(sql.SQL("ANALYZE {}").format(stage))
    silence.delete(table, statement)


def read_back(connection: psycopg.Connection, plan: Plan, change: TableChanges) -> Iterator[bytes]:
    """Raw rows of the target that have the key of any row of the changes; of a table with a range key."""
    table = plan.table(change.table)
    there = table.in_target_names({ours.name: ours for ours in plan.tables})
    stage = make_stage(connection, _STAGE, there, there.key)
    rows = (change.deleted, change.updated, change.inserted)
    copy_in(connection, stage, there.key, columns_of(rows, there.key_indices))
    connection.execute(sql.SQL("ANALYZE {}").format(stage))
    match = sql.SQL(" AND ").join(sql.SQL("k.{0} = s.{0}").format(sql.Identifier(name)) for name in there.key)
    yield from read_raw_rows(
        connection, table, where=sql.SQL("EXISTS (SELECT FROM {} k WHERE {})").format(stage, match)
    )


# -- inserting -----------------------------------------------------------------------------------------------------


def _insert(connection: psycopg.Connection, table: PlanTable, rows: Rows) -> None:
    if rows.count:
        with _refusals(table):
            copy_in(
                connection,
                table_name(table),
                [table.columns[place].name for place in table.written],
                rows.blocks() if len(table.written) == len(table.columns) else columns_of((rows,), table.written),
            )


@contextmanager
def _refusals(table: PlanTable) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if is_lost(error):
            raise
        raise CopyFailed(
            f"Postgres refuses a changed row of {table.name}: {redact(str(error)).strip()}",
            hint="the source holds a row that a constraint of the target forbids; nothing of the changes was kept",
            details={
                "sqlstate": error.sqlstate,
                "table": table.name,
                "column": error.diag.column_name,
                "constraint": error.diag.constraint_name,
            },
        ) from error


# -- counting ------------------------------------------------------------------------------------------------------


def moved_rows(connection: psycopg.Connection) -> MovedRows:
    """What this transaction moved so far, by the server's own counters; temporary tables and our own left out."""
    rows = connection.execute(
        "SELECT schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables"
        " WHERE schemaname <> 'nasmigrate' AND relid NOT IN"
        " (SELECT oid FROM pg_class WHERE relnamespace = pg_my_temp_schema())"
        " AND n_tup_ins + n_tup_upd + n_tup_del > 0"
    ).fetchall()
    return {(schema, name): (inserted, updated, deleted) for schema, name, inserted, updated, deleted in rows}


def _planned(parts: Sequence[tuple[PlanTable, TableChanges]]) -> MovedRows:
    return {
        ("public", table.name): (
            change.inserted.count + change.updated.count,
            0,
            change.deleted.count + change.updated.count,
        )
        for table, change in parts
    }


def check_moved(before: MovedRows, after: MovedRows, planned: MovedRows) -> None:
    """Compare what the server counted between two moments with what was planned, tables with nothing planned included.

    Raises:
        TransferError: another row was moved.
    """
    nothing = (0, 0, 0)
    wrong = []
    for name in sorted(before.keys() | after.keys() | planned.keys()):
        moved = tuple(now - then for now, then in zip(after.get(name, nothing), before.get(name, nothing), strict=True))
        if moved != planned.get(name, nothing):
            wrong.append((".".join(name), planned.get(name, nothing), moved))
    if wrong:
        table, wanted, found = wrong[0]
        raise TransferError(
            f"{table}: planned were {wanted[0]} inserted, {wanted[1]} updated and {wanted[2]} deleted rows,"
            f" the server counted {found[0]}, {found[1]} and {found[2]}",
            hint="a trigger or a rule of the target moves rows, or someone else changed the target; nothing was kept",
            details={"tables": [{"table": name, "planned": p, "counted": c} for name, p, c in wrong]},
            code="NM0904",
        )
