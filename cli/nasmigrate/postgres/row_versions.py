"""What Postgres' row versions tell: which rows can have been written since an earlier moment.

A row version is never changed in place: who inserts or updates makes a new one, and its `xmin` names the transaction
(or subtransaction) that did. At a moment whose snapshot has the horizon `pg_snapshot_xmin`, every transaction before
the horizon had ended, prepared ones included, and what it had committed was visible. So a version that is visible
later, with an `xmin` before that horizon, was visible then, with the same values: it is *old*. All others are *fresh*.
Source: https://www.postgresql.org/docs/current/functions-info.html, "pg_snapshot_xmin".

`xmin` has 32 bits of a number that has 64. Fresh is, modulo 2^32, whatever lies in the window from the horizon on, and
the window is less than 2^30 wide or nothing is told. So a fresh version is never taken for an old one; an old one of
four thousand million transactions ago may be taken for fresh, which costs a comparison. Freezing keeps `xmin` (since
9.4). The three reserved numbers, as `pg_surgery` writes them, count as fresh.

What a row version does not tell is asked of the catalogue: that the name still stands for the same heap, and each
column for the same attribute and a built-in type, so that the same bytes mean the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nasmigrate.postgres.digests import table_name
from nasmigrate.schema.plan import Plan, PlanTable

_WINDOW = 1 << 30
_FIRST_OF_USERS = 16384
"""Types from this oid on are not built in (FirstNormalObjectId): an enum's label changes without any row changing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a session saw of a database at one moment.

    Every transaction before `horizon` had ended then, none from `following` on had begun. `server` is the running
    server and the database in it: transactions of another, or of a restored one, have other numbers. `shapes` has the
    identity of each table, by its name in the plan; a table whose row versions tell nothing is left out.
    """

    server: str
    horizon: int
    following: int
    shapes: Mapping[str, str]

    def tells(self, table: PlanTable, now: Moment) -> bool:
        """Whether the row versions of a table say what was written between this moment and a later one, `now`."""
        return (
            self.server == now.server
            and self.shapes.get(table.name) is not None
            and self.shapes.get(table.name) == now.shapes.get(table.name)
            and now.following - self.horizon < _WINDOW
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCounts:
    """How many rows of a table are visible, and how many of them are fresh."""

    rows: int
    fresh: int


def see_moment(connection: psycopg.Connection, plan: Plan) -> Moment:
    """The moment that the connection's transaction sees; to be called before it reads any table.

    The tables stay locked against DDL (ACCESS SHARE) until the transaction ends, so what was seen of their shapes is
    true of what is read after it.

    Args:
        connection: at the beginning of a REPEATABLE READ transaction, or while nobody can write to the tables.
        plan: tables and columns.
    """
    if plan.tables:
        names = sql.SQL(", ").join(map(table_name, plan.tables))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    row = connection.execute(
        "SELECT concat_ws(' ', pg_postmaster_start_time(), current_database()), pg_snapshot_xmin(s)::text::int8,"
        " pg_snapshot_xmax(s)::text::int8 FROM pg_current_snapshot() s"
    ).fetchone()
    assert row is not None  # noqa: S101 - a function call has a row
    shapes: dict[str, str] = dict(
        connection.execute(
            "SELECT c.relname, c.oid || ' ' || string_agg(concat_ws(' ', a.attnum, a.atttypid, a.atttypmod,"
            " quote_ident(a.attname)), ' ' ORDER BY a.attnum)"
            " FROM pg_class c JOIN pg_am m ON m.oid = c.relam"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY(%s)"
            " AND c.relkind = 'r' AND NOT c.relhassubclass AND m.amname = 'heap'"
            " GROUP BY c.oid, c.relname HAVING bool_and(a.atttypid < %s)",
            ([table.target for table in plan.tables], _FIRST_OF_USERS),
        ).fetchall()
    )
    return Moment(
        server=row[0],
        horizon=row[1],
        following=row[2],
        shapes={table.name: shapes[table.target] for table in plan.tables if table.target in shapes},
    )


def is_fresh(since: Moment) -> sql.Composed:
    """The condition that a row of the table, called `s`, can have been written since a moment that tells of it."""
    # A subquery is evaluated once, a function of this kind for every row.
    horizon = sql.SQL("(SELECT age({}::xid))").format(sql.Literal(str(since.horizon % (1 << 32))))
    # age() is now - xid in 32 bits, where now is one number for the whole transaction; of reserved numbers it is the
    # largest there is.
    return sql.SQL("(age(s.xmin) <= {horizon} OR age(s.xmin) = {reserved})").format(
        horizon=horizon, reserved=sql.Literal((1 << 31) - 1)
    )


def count_versions(connection: psycopg.Connection, table: PlanTable, since: Moment) -> VersionCounts:
    """Count the rows of a table, in one reading of it."""
    statement = sql.SQL("SELECT count(*), count(*) FILTER (WHERE {}) FROM ONLY {} s").format(
        is_fresh(since), table_name(table)
    )
    row = connection.execute(statement).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always has a row
    return VersionCounts(rows=row[0], fresh=row[1])
