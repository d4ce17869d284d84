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

    A column of a foreign key is asked what the column that it points to is asked: it may follow that one's type.

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
    tests: dict[str, tuple[str, ...]] = {}
    for name, (_, column) in columns.items():
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
        tests[name] = text_tests(column, wanted)
    if problems:
        raise RuleRefused(
            problems[0], checks=problems, hint="change `rule` or `type` below [columns] in nasmigrate.toml"
        )
    _follow_parents(schema, tests)
    asks: dict[str, dict[str, ColumnAsk]] = {table.name: {} for table in schema.tables}
    for name, (table, column) in columns.items():
        if tests[name] or name in rules:
            asks[table.name][column.name] = ColumnAsk(tests=tests[name], rules=rules.get(name, ()))
    return asks


def _follow_parents(schema: SourceSchema, tests: dict[str, tuple[str, ...]]) -> None:
    """Add to the tests of columns of foreign keys those of the columns they point to, however many keys away."""
    tables = {table.name: table for table in schema.tables}
    pairs = [
        (f"{table.name}.{table.column(ours).name}", f"{parent.name}.{parent.column(theirs).name}")
        for table in schema.tables
        for key in table.foreign_keys
        if (parent := tables.get(key.parent)) is not None and len(key.columns) == len(key.parent_columns)
        for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
    ]
    grown = True
    while grown:
        grown = False
        for ours, theirs in pairs:
            both = tuple(dict.fromkeys(tests[ours] + tests[theirs]))
            grown = grown or both != tests[ours]
            tests[ours] = both
