"""What pgloader cannot carry, known before it is started: a table, each line of which a test shows with pgloader.

Measured with pgloader 3.6.9 of Debian 12 (it calls itself 3.6.7~devel), data only, into our tables, casts given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable

Facts = dict[str, int | str | float | None]
"""What the profile saw of a column: `TableEvidence.columns`."""

_NAME = re.compile(r"[\w $-]+")
"""Names that its load file and its queries take, each proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A line of the table.

    Attributes:
        name: in messages and docs.
        does: what pgloader makes of it; it ends with 0 unless this says otherwise.
        applies: whether a column with these facts has it.
    """

    name: str
    does: str
    applies: Callable[[PlanTable, PlanColumn, Facts], bool]


def _codec(name: str, *facts: str) -> Callable[[PlanTable, PlanColumn, Facts], bool]:
    return lambda _, column, seen: column.codec == name and any(seen.get(fact) for fact in facts)


def _fact(name: str) -> Callable[[PlanTable, PlanColumn, Facts], bool]:
    return lambda _, column, seen: bool(seen.get(name))


LIMITS: tuple[Limit, ...] = (
    Limit(
        name="NUL in text",
        does="cuts the text at the NUL",
        applies=_fact("nul_texts"),
    ),
    Limit(
        name="text that is not UTF-8",
        does="stops reading the table at that row",
        applies=_fact("raw_texts"),
    ),
    Limit(
        name="text in bytea",
        does="decodes it as base64; where it is none, stops reading the table at that row",
        applies=_codec("bytea", "text"),
    ),
    Limit(
        name="a number in bytea",
        does="loses the rows of the batch",
        applies=_codec("bytea", "integer", "real"),
    ),
    Limit(
        name="a REAL in text",
        does="writes it as Lisp does, 1.5d0",
        applies=_codec("text", "real"),
    ),
    Limit(
        name="a REAL in numeric",
        does="writes another scale: 1e-7 becomes 0.00000010",
        applies=_codec("numeric", "real"),
    ),
    Limit(
        name="infinity",
        does="writes Lisp's name of it, and loses the rows of the batch",
        applies=_fact("infinities"),
    ),
    Limit(
        name="a mapping rule",
        does="knows nothing of it: the value arrives as it is stored, or (a date stored as a number) not at all",
        applies=lambda _, column, seen: bool(column.rules),
    ),
    Limit(
        name="a generated column that Postgres does not compute",
        does="leaves it NULL",
        applies=lambda _, column, seen: column.generated is not None and column.computed_sql is None,
    ),
    Limit(
        name="rows that are set aside",
        does="knows nothing of it: rows without a parent arrive among the others",
        applies=lambda table, column, seen: any(column.name in parent.columns for parent in table.kept),
    ),
    Limit(
        name="another name in Postgres",
        does="finds no such table or column there: leaves it out, or ends with 1",
        applies=lambda table, column, seen: (table.name, column.name) != (table.target, column.target),
    ),
    Limit(
        name="a name with other characters than letters, digits, space and _ $ -",
        does="writes it into its queries as it is: loses the table, or ends with 1",
        applies=lambda table, column, seen: not (_NAME.fullmatch(table.name) and _NAME.fullmatch(column.name)),
    ),
)


def limits_of(plan: Plan, table: PlanTable, limits: Sequence[Limit] = LIMITS) -> list[str]:
    """Why pgloader cannot carry a table, each as `column: limit`; empty when it can."""
    evidence = plan.evidence[table.name].columns
    return [
        f"{column.name}: {limit.name}"
        for column in table.columns
        for limit in limits
        if limit.applies(table, column, evidence.get(column.name, {}))
    ]
