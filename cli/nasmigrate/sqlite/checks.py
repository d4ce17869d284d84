"""Rows that do not satisfy a CHECK of their own table.

SQLite lets them in under `PRAGMA ignore_check_constraints`, or by ALTER TABLE of old versions (trap T91). A CHECK is
text out of the file: it is evaluated on a guarded connection, for a limited time.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from nasmigrate.schema.evidence import KEYS_KEPT, Violations
from nasmigrate.schema.model import SourceSchema, Table
from nasmigrate.sqlite.open import mapped_errors, open_views
from nasmigrate.sqlite.quoting import quote_ident

_SECONDS = 600.0


def find_violations(snapshot: Path, schema: SourceSchema) -> dict[tuple[str, int], Violations]:
    """(table, position of the CHECK) -> its violations; those without are left out.

    A CHECK that cannot be evaluated (it calls a function of the application's) is left out, too: it has no exact
    translation either.
    """
    found = {}
    with closing(open_views(snapshot, seconds=_SECONDS)) as connection, mapped_errors(snapshot, "evaluate its CHECKs"):
        # Old files hold CHECK (b <> "zz") with the double quotes meaning a string.
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
        for table in schema.tables:
            for position, count in enumerate(_counts(connection, table)):
                if count:
                    found[table.name, position] = Violations(count=count, keys=_keys(connection, table, position))
    return found


def _counts(connection: apsw.Connection, table: Table) -> list[int]:
    """The number of violations of each CHECK: all in one scan, one by one where that fails."""
    if not table.checks:
        return []
    together = _run(connection, table, [_failing(check.sql) for check in table.checks])
    if together is not None:
        return together
    return [(_run(connection, table, [_failing(check.sql)]) or [0])[0] for check in table.checks]


def _run(connection: apsw.Connection, table: Table, conditions: list[str]) -> list[int] | None:
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    try:
        row = connection.execute(f"SELECT {counts} FROM main.{quote_ident(table.name)}").fetchone()  # noqa: S608
    except (apsw.SQLError, apsw.AuthError, apsw.InterruptError):
        return None
    return [int(count) for count in row or ()]


def _failing(check: str) -> str:
    # The line break ends a comment that the text may end with.
    return f"NOT (\n{check}\n)"


def _keys(connection: apsw.Connection, table: Table, position: int) -> tuple[str, ...]:
    if not table.primary_key:
        return ()
    columns = ", ".join(quote_ident(name) for name in table.primary_key)
    failing = _failing(table.checks[position].sql)
    sql = f"SELECT {columns} FROM main.{quote_ident(table.name)} WHERE {failing} LIMIT {KEYS_KEPT}"  # noqa: S608
    return tuple(
        ", ".join(f"{name}={value}" for name, value in zip(table.primary_key, values, strict=True))
        for values in connection.execute(sql)
    )
