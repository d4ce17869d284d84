"""What the configuration says of single columns, checked against the schema, and what the profile must ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from nasmigrate.core.errors import RuleRefused, SchemaError
from nasmigrate.schema.decide import text_tests
from nasmigrate.schema.evidence import ColumnAsk
from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.rules.apply import RulesClash, RuleSet
from nasmigrate.schema.rules.base import MOMENT

MOMENT_TYPE = "timestamptz"
"""What `type = "…"` calls the type that rules for dates and times lead to."""


def column_asks(
    schema: SourceSchema, forced: Mapping[str, str], rules: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, ColumnAsk]]:
    """By table and column: what the profile is asked.

    Args:
        schema: of the source.
        forced: `table.column` -> type, as configured.
        rules: `table.column` -> names of rules, as configured.

    Raises:
        SchemaError: a name is that of no column.
        RuleRefused: rules of one column cannot be combined with each other, or with its type.
    """
    columns = {f"{table.name}.{column.name}": (table, column) for table in schema.tables for column in table.columns}
    unknown = sorted((forced.keys() | rules.keys()) - columns.keys())
    if unknown:
        raise SchemaError(
            f"[columns] names {unknown[0]!r}, but there is no such column",
            hint="write it as table.column, in the case of the schema",
            details={"unknown": unknown},
            code="NM0615",
        )
    problems = []
    asks: dict[str, dict[str, ColumnAsk]] = {table.name: {} for table in schema.tables}
    for name, (table, column) in columns.items():
        wanted, names = forced.get(name), rules.get(name, ())
        if names:
            try:
                target = RuleSet(names).target
            except RulesClash as clash:
                problems.append(f"{name}: the rules {', '.join(names)} cannot be combined: {clash}")
                continue
            type_name = MOMENT_TYPE if target == MOMENT else target
            if wanted is not None and type_name is not None and wanted != type_name:
                problems.append(f"{name}: the rules {', '.join(names)} lead to {type_name}, the type says {wanted}")
            wanted = target or wanted
        tests = text_tests(column, wanted)
        if tests or names:
            asks[table.name][column.name] = ColumnAsk(tests=tests, rules=names)
    if problems:
        raise RuleRefused(
            problems[0], checks=problems, hint="change `rule` or `type` below [columns] in nasmigrate.toml"
        )
    return asks
