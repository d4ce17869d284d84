"""Which rows stay in a table when rows without a parent are set aside (`rule = "orphans=quarantine"`).

A row whose parent is set aside has no parent either: the condition of a table holds those of its parents.
"""

from __future__ import annotations

from collections.abc import Mapping

from nasmigrate.core.config_model import QUARANTINE
from nasmigrate.core.errors import RuleRefused
from nasmigrate.schema.model import ForeignKey, SourceSchema, Table
from nasmigrate.schema.plan import PlanKept


def rule_of(table: Table, key: ForeignKey, rules: Mapping[str, str]) -> str | None:
    """The rule for orphans that the configuration names at a column of the key; `rules` by `table.column`."""
    names = (f"{table.name}.{table.column(column).name}" for column in key.columns)
    return next((rules[name] for name in names if name in rules), None)


def kept_rows(schema: SourceSchema, rules: Mapping[str, str]) -> dict[str, tuple[PlanKept, ...]]:
    """Table -> the parents that its rows must have; tables whose rows all stay are left out.

    Raises:
        RuleRefused: the foreign keys with that rule form a circle, so that no end is reached.
    """
    found: dict[str, tuple[PlanKept, ...]] = {}
    for table in schema.tables:
        kept = _kept(schema, rules, table, ())
        if kept:
            found[table.name] = kept
    return found


def _kept(schema: SourceSchema, rules: Mapping[str, str], table: Table, path: tuple[str, ...]) -> tuple[PlanKept, ...]:
    conditions = []
    for key in table.foreign_keys:
        if rule_of(table, key, rules) != QUARANTINE or len(key.columns) != len(key.parent_columns):
            continue
        parent = next((other for other in schema.tables if other.name == key.parent), None)
        if parent is None:
            continue
        if parent.name in (*path, table.name):
            raise RuleRefused(
                f"{table.name}: rule {QUARANTINE} cannot follow foreign keys in a circle ({table.name} to"
                f" {parent.name})",
                checks=[],
                hint='rule = "orphans=not-valid" takes such a key',
            )
        conditions.append(
            PlanKept(
                columns=tuple(table.column(name).name for name in key.columns),
                parent=parent.name,
                parent_columns=tuple(parent.column(name).name for name in key.parent_columns),
                kept=_kept(schema, rules, parent, (*path, table.name)),
            )
        )
    return tuple(conditions)
