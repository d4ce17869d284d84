"""How the key space of a large table is dealt out, so that several readers can work on it at once."""

from __future__ import annotations

from itertools import pairwise

from nasmigrate.schema.ledger import Key
from nasmigrate.schema.plan import PlanTable, TableEvidence

PART_ROWS = 250_000
"""Rows of a part, about: small enough that workers end together and progress moves."""
SPREAD_ROWS = 300_000
"""Fewer rows are not worth the half second that starting workers takes."""


def split_range(low: int, high: int, rows: int) -> list[tuple[int | None, int | None]]:
    """Parts (after, last] of an integer key between `low` and `high`; the first and the last are open."""
    parts = max(1, min(rows // PART_ROWS, high - low))
    bounds = [low + (high - low) * number // parts for number in range(1, parts)]
    edges: list[int | None] = [None, *bounds, None]
    return list(pairwise(edges))


def split_keys(table: PlanTable, evidence: TableEvidence) -> list[tuple[Key | None, Key | None]]:
    """Parts of a table's key space; one part where the key is not a single integer."""
    whole: list[tuple[Key | None, Key | None]] = [(None, None)]
    if len(table.key) != 1 or table.column(table.key[0]).codec != "bigint":
        return whole
    facts = evidence.columns[table.key[0]]
    low, high = facts.get("integer_min"), facts.get("integer_max")
    if not isinstance(low, int) or not isinstance(high, int):
        return whole
    return [
        (None if after is None else (after,), None if last is None else (last,))
        for after, last in split_range(low, high, evidence.rows)
    ]
