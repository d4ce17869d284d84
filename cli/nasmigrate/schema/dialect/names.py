"""The names of the plan that a statement of the application may mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nasmigrate.schema.plan import Plan, PlanColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Tables (name in Postgres) and columns by their lower-case names in the source; empty when there is no plan.

    A statement is looked at with the columns of those tables whose names occur in it: which table an unqualified
    column belongs to is not worked out.
    """

    tables: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, PlanColumn]] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Names:
        """The names of a plan."""
        return cls(
            tables={table.name.lower(): table.target for table in plan.tables},
            columns={
                table.name.lower(): {column.name.lower(): column for column in table.columns} for table in plan.tables
            },
            keys={
                table.name.lower(): tuple(name.lower() for name in table.primary_key or table.key)
                for table in plan.tables
            },
        )

    def among(self, words: Iterable[str]) -> dict[str, PlanColumn]:
        """The columns of all tables that are named by the words, by lower-case name."""
        found: dict[str, PlanColumn] = {}
        for word in words:
            found.update(self.columns.get(word, {}))
        return found
