"""Rows without a parent, set aside by the rule orphans=quarantine: written beside the others, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import apsw
import psycopg

from nasmigrate.core.result import Difference, Gate
from nasmigrate.postgres.quarantine import store_rows, stored_rows
from nasmigrate.schema.codecs import same
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.quarantine import rows_aside, with_aside

GATE = "quarantine"


def set_aside(
    connection: psycopg.Connection, reader: apsw.Connection, plan: Plan, used: Mapping[str, int]
) -> dict[str, int]:
    """Write the rows that the plan sets aside, in the place of those that were, into the current transaction.

    Returns:
        Table -> the highest number that it used: that of `used`, or of a row set aside.
    """
    for table in plan.tables:
        if table.kept:
            store_rows(connection, table, rows_aside(reader, table, plan.encoding))
    return with_aside(reader, plan, used)


def compare_aside(snapshot: Path, connection: psycopg.Connection, plan: Plan) -> tuple[Gate, list[Difference]]:
    """Compare the rows set aside in Postgres with those of the snapshot, value by value."""
    differences = []
    count = 0
    with closing(open_snapshot(snapshot)) as reader:
        for table in plan.tables:
            if not table.kept:
                continue
            ours = list(rows_aside(reader, table, plan.encoding))
            theirs = list(stored_rows(connection, table))
            count += len(ours)
            equal = len(ours) == len(theirs) and all(
                len(one) == len(other) and all(map(same, one, other)) for one, other in zip(ours, theirs, strict=True)
            )
            if not equal:
                differences.append(
                    Difference(
                        kind="object",
                        table=table.name,
                        object=f"rows of {table.name} set aside",
                        source=f"{len(ours)} rows",
                        target=f"{len(theirs)} rows, not the same",
                        found_by=GATE,
                    )
                )
    detail = f"{count} rows without a parent are set aside, every value as it is stored"
    if differences:
        detail = f"the rows set aside of {len(differences)} tables are not those of SQLite"
    return Gate(name=GATE, status="fail" if differences else "pass", detail=detail, checked=max(count, 1)), differences
