"""Views: what SQLite's view gives over the snapshot against what Postgres' view gives, rows counted and digested.

A view has no key, so its rows are compared as those of a table without one: by the multiset of their digests.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw
import psycopg
from psycopg import sql

from nasmigrate.core.errors import TransferError
from nasmigrate.core.redaction import redact
from nasmigrate.core.result import Difference, Gate
from nasmigrate.postgres.digests import bucket_digests
from nasmigrate.schema.chunks import Buckets
from nasmigrate.schema.plan import Plan, PlanView
from nasmigrate.sqlite.encode import encoded_batches
from nasmigrate.sqlite.open import mapped_errors, open_views

GATE = "views"
SECONDS = 600
"""How long either side may take over one view."""
_BITS = 4
"""16 buckets: a view's rows are not counted before they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsOutcome:
    """The gate and the differences behind it."""

    gate: Gate
    differences: tuple[Difference, ...]


def compare_views(
    snapshot: Path, connection: psycopg.Connection, plan: Plan, workdir: Path, *, seconds: int = SECONDS
) -> ViewsOutcome:
    """Run every view of the plan on both sides.

    Args:
        snapshot: where SQLite's views are.
        connection: to the target.
        plan: the views.
        workdir: where row digests may spill.
        seconds: how long either side may take over one view; what takes longer is inconclusive.
    """
    started = time.perf_counter()
    differences, unchecked, rows = [], [], 0
    with closing(open_views(snapshot, seconds=seconds)) as reader:
        for view in plan.views:
            try:
                ours = _in_sqlite(reader, snapshot, plan, view, workdir)
                theirs = _in_postgres(connection, view, seconds)
            except (apsw.InterruptError, psycopg.errors.QueryCanceled):
                unchecked.append(view.name)
                continue
            except (TransferError, psycopg.DataError) as error:
                differences.append(_difference(view, "the rows of SQLite's view", redact(str(error)).strip()))
                continue
            rows += sum(count for count, _ in ours.values())
            if ours != theirs:
                differences.append(_difference(view, _shown(ours), _shown(theirs)))
    return ViewsOutcome(
        gate=_gate(plan, differences, unchecked, rows, round(time.perf_counter() - started, 3)),
        differences=tuple(differences),
    )


_Digests = dict[int, tuple[int, bytes]]
"""Bucket -> its number of rows and digest."""


def _in_sqlite(reader: apsw.Connection, snapshot: Path, plan: Plan, view: PlanView, workdir: Path) -> _Digests:
    table = view.as_table
    with Buckets(table, _BITS, workdir) as buckets, mapped_errors(snapshot, f"read the view {view.name}"):
        for batch in encoded_batches(reader, table, table.codecs(), encoding=plan.encoding):
            buckets.add(batch)
        return {chunk.chunk: (chunk.rows, chunk.digests[0]) for chunk in buckets.finish()[0] if chunk.rows}


def _in_postgres(connection: psycopg.Connection, view: PlanView, seconds: int) -> _Digests:
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(f"{seconds}s")))
        found = bucket_digests(connection, view.as_table, view.as_table.codecs(), _BITS)
    return {bucket: (digest.rows, digest.digests[0]) for bucket, digest in found.items()}


def _difference(view: PlanView, source: str, target: str) -> Difference:
    return Difference(
        kind="object", table=view.name, object=f"view {view.name}", source=source, target=target, found_by=GATE
    )


def _shown(digests: _Digests) -> str:
    rows = sum(count for count, _ in digests.values())
    first = min(digests.values(), default=(0, b""))[1]
    return f"{rows} rows, digest {first.hex()[:12] or 'of none'}"


def _gate(plan: Plan, differences: list[Difference], unchecked: list[str], rows: int, seconds: float) -> Gate:
    if differences:
        names = ", ".join(str(difference.table) for difference in differences[:3])
        first = f"VIEW_NOT_TRANSLATED:{differences[0].table}"
        return Gate(
            name=GATE,
            status="fail",
            detail=f"{len(differences)} of {len(plan.views)} give other rows than in SQLite: {names};"
            f' [plan] accept = ["{first}"] leaves it out',
            checked=len(plan.views) - len(unchecked),
            seconds=seconds,
        )
    if unchecked:
        return Gate(
            name=GATE,
            status="inconclusive",
            detail=f"not compared, as they take too long: {', '.join(unchecked[:3])}",
            checked=len(plan.views) - len(unchecked),
            seconds=seconds,
        )
    return Gate(
        name=GATE,
        status="pass",
        detail=f"{len(plan.views)} give the {rows:,} rows that they give in SQLite",
        checked=len(plan.views),
        seconds=seconds,
    )
