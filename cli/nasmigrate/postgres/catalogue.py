"""What stands in Postgres' catalogue, against the plan, and against what stood there right after the load.

Postgres prints expressions in its own words, so against the plan only their presence and place are compared; their
text is compared with the facts recorded after the load.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from nasmigrate.core.result import Difference
from nasmigrate.postgres.catalogue_read import (
    FoundColumn,
    FoundConstraint,
    FoundIndex,
    FoundTable,
    read_tables,
    user_objects,
)
from nasmigrate.schema.plan import Plan, PlanColumn, PlanForeignKey, PlanIndex, PlanTable, PlanView

__all__ = ["catalogue_facts", "compare_catalogue", "compare_facts", "user_objects"]

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_IDENTITY = {"d": " identity by default", "a": " identity always"}
_GENERATED = {"s": " generated stored", "v": " generated virtual"}
_PRECISE_TYPE = re.compile(r"(time|timestamp|timestamptz)(\(\d\))?", re.ASCII)
_NO_OBJECT = "nothing"

_Objects = dict[tuple[str, str], str]
"""(kind, name) of each object of a table -> how it stands, in the same words for both sides."""


def compare_catalogue(
    connection: psycopg.Connection[Any], plan: Plan, *, constraints: bool = True
) -> tuple[list[Difference], int]:
    """Compare schema `public` with the plan, object by object.

    Args:
        connection: to the target, which is only read.
        plan: what should stand there.
        constraints: False before the second revision ran: keys, indexes, checks, foreign keys and views are then
            not asked for, and of the tables that are there only the columns are looked at.

    Returns:
        The differences, by table and in Postgres' names, and how many objects of either side were compared:
        tables, their columns and column order, triggers, and so on.
    """
    found = read_tables(connection)
    planned = {table.name: _planned_objects(table, constraints=constraints) for table in plan.in_target_names().tables}
    if constraints:
        planned |= {view.target: _planned_view(view) for view in plan.views}
    differences: list[Difference] = []
    checked = 0
    for name in sorted({*planned, *found}):
        wanted = planned.get(name, {})
        there = {} if name not in found else _found_objects(found[name], constraints=constraints)
        if not wanted or not there:
            # One line says it; its columns need no line each.
            wanted, there = ({key: objects[key] for key in objects if key[0] == "table"} for objects in (wanted, there))
        keys = list(dict.fromkeys((*wanted, *there)))
        checked += len(keys)
        differences += [
            _difference(
                name,
                " ".join(key).strip(),
                f"planned {wanted.get(key, _NO_OBJECT)}",
                f"found {there.get(key, _NO_OBJECT)}",
            )
            for key in keys
            if wanted.get(key) != there.get(key)
        ]
    return differences, checked


def catalogue_facts(connection: psycopg.Connection[Any], tables: Iterable[str]) -> dict[str, str]:
    """Return every object of the tables with its definition in Postgres' own words, sorted by object.

    A key names kind, table and object, each name quoted so that no two objects share a key:
    `column "users"."name"`. Equal catalogues give equal mappings, whatever the session's settings. A table
    that is not there has no entry.
    """
    found = read_tables(connection)
    facts: dict[str, str] = {}
    for table in (found[name] for name in tables if name in found):
        place = _quoted(table.name)
        facts[f"table {place}"] = f"{table.kind} ({_list(column.name for column in table.columns)})"
        if table.definition is not None:
            facts[f"view {place}"] = table.definition
        for column in table.columns:
            default = f" default {column.default_sql}" if column.default_sql is not None else ""
            facts[f"column {place}.{_quoted(column.name)}"] = _column_words(column) + default
        for index in table.indexes:
            facts[f"index {place}.{_quoted(index.name)}"] = index.definition + _unless(index.usable, " not valid")
        for constraint in table.constraints:
            words = constraint.definition + _unless(not constraint.disabled, " triggers disabled")
            facts[f"constraint {place}.{_quoted(constraint.name)}"] = words
        for trigger, definition in table.triggers.items():
            facts[f"trigger {place}.{_quoted(trigger)}"] = definition
    return dict(sorted(facts.items()))


def compare_facts(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """Compare the facts of two moments: what is gone, new, or defined otherwise."""
    return [
        _difference(
            _table_of(key), key, f"recorded {recorded.get(key, _NO_OBJECT)}", f"found {now.get(key, _NO_OBJECT)}"
        )
        for key in sorted({*recorded, *now})
        if recorded.get(key) != now.get(key)
    ]


def _difference(table: str | None, name: str, planned: str, found: str) -> Difference:
    return Difference(kind="object", table=table, object=name, source=planned, target=found, found_by="catalogue")


def _table_of(fact: str) -> str | None:
    match = re.match(r'\w+ "((?:[^"]|"")*)"', fact)
    return match[1].replace('""', '"') if match else None


def _planned_objects(table: PlanTable, *, constraints: bool) -> _Objects:
    objects: _Objects = {("table", ""): "table", ("columns", ""): _list(column.name for column in table.columns)}
    for column in table.columns:
        objects["column", column.name] = _planned_column(table, column)
    if not constraints:
        return objects
    if table.primary_key:
        objects["primary key", table.key_name] = _list(table.primary_key)
    for index in table.indexes:
        objects["index", index.name] = _planned_index(index)
    for key in table.foreign_keys:
        objects["foreign key", key.name] = _planned_foreign_key(key)
    for check in table.checks:
        objects["check", check.name] = "check" + _unless(not check.not_valid, " not valid")
    return objects


def _planned_view(view: PlanView) -> _Objects:
    return _planned_objects(view.as_table.in_target_names({}), constraints=False) | {("table", ""): "view"}


def _found_objects(table: FoundTable, *, constraints: bool) -> _Objects:
    objects: _Objects = {("table", ""): table.kind, ("columns", ""): _list(column.name for column in table.columns)}
    for column in table.columns:
        default = " default" if column.default_sql is not None and not column.generated else ""
        objects["column", column.name] = _column_words(column) + default
    for trigger in table.triggers:
        objects["trigger", trigger] = "trigger"
    if not constraints:
        return objects
    for index in table.indexes:
        if not index.is_primary:
            objects["index", index.name] = _found_index(index)
    broken_keys = {index.name for index in table.indexes if index.is_primary and not index.usable}
    for constraint in table.constraints:
        state = _state(constraint)
        match constraint.type:
            case "p":
                state += " not valid" if constraint.name in broken_keys else ""
                objects["primary key", constraint.name] = _list(constraint.columns) + state
            case "f":
                objects["foreign key", constraint.name] = _found_foreign_key(constraint) + state
            case "c":
                objects["check", constraint.name] = "check" + state
            case "u":
                pass  # Read with its index.
            case _:
                objects["constraint", constraint.name] = constraint.definition
    return objects


def _planned_column(table: PlanTable, column: PlanColumn) -> str:
    collation = f" collate {_quoted(column.collation)}" if column.collation is not None else ""
    identity = _IDENTITY["d"] if column.identity else ""
    default = " default" if column.default_sql is not None and not column.identity else ""
    generated = _GENERATED["s"] if column.computed_sql is not None else ""
    null = "" if table.is_nullable(column) else " not null"
    return f"{_format_type(column.pg_type)}{collation}{null}{identity}{generated}{default}"


def _column_words(column: FoundColumn) -> str:
    collation = f" collate {_quoted(column.collation)}" if column.collation is not None else ""
    identity = _IDENTITY.get(column.identity, "")
    generated = _GENERATED.get(column.generated, "")
    null = " not null" if column.not_null else ""
    return f"{column.type}{collation}{null}{identity}{generated}"


def _format_type(pg_type: str) -> str:
    """Return a type of the plan as `format_type` prints it."""
    match = _PRECISE_TYPE.fullmatch(pg_type)
    if match is None:
        return pg_type
    name, zone = ("timestamp", "with") if match[1] == "timestamptz" else (match[1], "without")
    return f"{name}{match[2] or ''} {zone} time zone"


def _planned_index(index: PlanIndex) -> str:
    terms = [
        (_quoted(term.column) if term.column is not None else "(expression)") + (" desc" if term.descending else "")
        for term in index.terms
    ]
    kind = "unique constraint" if index.is_constraint else "unique index" if index.unique else "index"
    return f"{kind} on ({', '.join(terms)}){' where' if index.where is not None else ''}"


def _found_index(index: FoundIndex) -> str:
    terms = []
    for term in index.terms:
        word = _quoted(term.column) if term.column is not None else "(expression)"
        word += " desc" if term.descending else ""
        # Nulls come first in a descending index and last in an ascending one, unless someone asked otherwise.
        if term.nulls_first != term.descending:
            word += " nulls first" if term.nulls_first else " nulls last"
        terms.append(word)
    kind = "unique constraint" if index.is_constraint else "unique index" if index.is_unique else "index"
    words = (
        "" if index.method == "btree" else f" using {index.method}",
        " include" if index.including else "",
        " nulls not distinct" if index.nulls_not_distinct else "",
        " where" if index.partial else "",
        " deferrable" if index.is_deferrable else "",
        _unless(index.usable, " not valid"),
    )
    return f"{kind} on ({', '.join(terms)}){''.join(words)}"


def _planned_foreign_key(key: PlanForeignKey) -> str:
    deferred = " deferrable initially deferred" if key.deferred else ""
    return (
        f"({_list(key.columns)}) references {_quoted(key.parent)} ({_list(key.parent_columns)})"
        f" on update {key.on_update} on delete {key.on_delete}{deferred}{_unless(not key.not_valid, ' not valid')}"
    )


def _found_foreign_key(key: FoundConstraint) -> str:
    schema = "" if key.parent_schema == "public" else f"{_quoted(key.parent_schema or '')}."
    return (
        f"({_list(key.columns)}) references {schema}{_quoted(key.parent or '')} ({_list(key.parent_columns)})"
        f" on update {_ACTIONS[key.on_update]} on delete {_ACTIONS[key.on_delete]}"
        f"{'' if key.match == 's' else ' match full'}"
    )


def _state(constraint: FoundConstraint) -> str:
    """How a constraint stands beyond what it says: empty for one that simply holds."""
    deferrable = f" deferrable initially {'deferred' if constraint.is_deferred else 'immediate'}"
    return "".join(
        (
            deferrable if constraint.is_deferrable else "",
            _unless(constraint.validated, " not valid"),
            _unless(constraint.enforced, " not enforced"),
            _unless(not constraint.disabled, " triggers disabled"),
            " no inherit" if constraint.type == "c" and constraint.no_inherit else "",
        )
    )


def _unless(good: bool, words: str) -> str:
    return "" if good else words


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Iterable[str]) -> str:
    return ", ".join(_quoted(name) for name in names)
