"""Which tables of the source a plan is about: all of them, unless the configuration says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nasmigrate.core.errors import SchemaError
from nasmigrate.schema.model import SourceSchema, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The schema with the chosen tables alone, and the tables that were left out."""

    schema: SourceSchema
    excluded: tuple[Table, ...] = ()


def select_tables(schema: SourceSchema, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """Leave out tables by name, as SQLite matches names; triggers go with their table.

    Args:
        schema: of the source.
        only: the tables to keep, all when empty.
        exclude: tables to leave out of those.

    Raises:
        SchemaError: a name is that of no table, or no table is left.
    """
    kept = _named(schema, only, "only_tables") or {table.name for table in schema.tables}
    kept -= _named(schema, exclude, "exclude_tables")
    if not kept:
        raise SchemaError(
            "every table of the source is excluded",
            hint="copying nothing is never a success: see exclude_tables and only_tables below [plan]",
            code="NM0616",
        )
    excluded = tuple(table for table in schema.tables if table.name not in kept)
    gone = {table.name for table in excluded}
    return Selection(
        schema=replace(
            schema,
            tables=tuple(table for table in schema.tables if table.name in kept),
            others=tuple(other for other in schema.others if other.kind != "trigger" or other.table not in gone),
        ),
        excluded=excluded,
    )


def _named(schema: SourceSchema, names: Sequence[str], setting: str) -> set[str]:
    found = set()
    for name in names:
        try:
            found.add(schema.table(name).name)
        except KeyError:
            raise SchemaError(
                f"[plan] {setting} names {name!r}, but the source has no such table",
                hint=f"its tables are {', '.join(table.name for table in schema.tables[:20])}",
                details={"unknown": name},
                code="NM0615",
            ) from None
    return found
