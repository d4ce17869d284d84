"""What the libraries that wrote a source meant by what they stored.

An ORM is recognised by the table in which it keeps its own migrations; its habits then say what numbers in a date
column or in an integer column stand for. That is a proposal for the configuration, with the reason: nothing is
applied by guess, and a column whose values do not all fit the habit gets none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nasmigrate.core.toml import toml_string
from nasmigrate.schema.codecs.candidate import Family, family_of
from nasmigrate.schema.codecs.shapes import is_shape
from nasmigrate.schema.codecs.temporal import Timestamp, codec_of_shape
from nasmigrate.schema.evidence import ColumnProfile, TableProfile
from nasmigrate.schema.model import Column, SourceSchema, Table
from nasmigrate.schema.rules.answers import rule_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the configuration could say of one column, and why. Either rules, or a type."""

    table: str
    column: str
    why: str
    rules: tuple[str, ...] = ()
    type: str | None = None

    @property
    def subject(self) -> str:
        """`table.column`, as the configuration names it."""
        return f"{self.table}.{self.column}"

    @property
    def toml(self) -> str:
        """The block to paste into nasmigrate.toml."""
        if self.type is not None:
            return f"[columns.{toml_string(self.subject)}]\ntype = {toml_string(self.type)}"
        return rule_block(self.subject, self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A library that was recognised: its history tables, and what it proposes. `node` = it uses node-pg."""

    layer: str
    history: tuple[str, ...]
    proposals: tuple[Proposal, ...]
    node: bool


Propose = Callable[[Column, ColumnProfile], tuple[tuple[str, ...], str | None, str] | None]
"""(rules, type, why) for a column, or None."""

_MILLISECONDS = (10**11, 10**14)
_SECONDS = (10**8, 10**11)


def _within(profile: ColumnProfile, bounds: tuple[int, int]) -> bool:
    """Whether all integers are, for a date of our time, in the unit of the bounds."""
    return bool(profile.integers) and bounds[0] <= profile.integer_min and profile.integer_max < bounds[1]


def _is_naive(profile: ColumnProfile) -> bool:
    """Whether all text is a date and time without a zone."""
    return bool(profile.shapes) and all(
        is_shape(label) and codec_of_shape(label) is Timestamp for label in profile.shapes
    )


def _milliseconds(who: str) -> Propose:
    def propose(column: Column, profile: ColumnProfile) -> tuple[tuple[str, ...], str | None, str] | None:
        if family_of(column.declared_type) is not Family.TEMPORAL or not _within(profile, _MILLISECONDS):
            return None
        if set(profile.classes) == {"integer"}:
            return ("epoch-ms",), None, f"{who} stores a Date as milliseconds since 1970"
        if set(profile.classes) == {"integer", "text"} and _is_naive(profile):
            why = f"{who} stores a Date as milliseconds since 1970, and CURRENT_TIMESTAMP beside it writes text in UTC"
            return ("epoch-ms", "naive-as-utc"), None, why
        return None

    return propose


def _django(column: Column, profile: ColumnProfile) -> tuple[tuple[str, ...], str | None, str] | None:
    temporal = family_of(column.declared_type) is Family.TEMPORAL and set(profile.classes) == {"text"}
    if temporal and len(profile.shapes) > 1 and _is_naive(profile):
        return ("naive-as-utc",), None, "Django stores UTC without a zone, and leaves out a fraction of zero"
    return None


def _sequelize(column: Column, profile: ColumnProfile) -> tuple[tuple[str, ...], str | None, str] | None:
    temporal = family_of(column.declared_type) is Family.TEMPORAL and set(profile.classes) == {"text"}
    offsets = [label for label in profile.shapes if label[-6:-5] in ("+", "-")]
    if temporal and len(offsets) > 1 and len(offsets) == len(profile.shapes):
        return ("offset-as-utc",), None, "Sequelize writes the offset that was configured at the time"
    return None


def _drizzle(column: Column, profile: ColumnProfile) -> tuple[tuple[str, ...], str | None, str] | None:
    if family_of(column.declared_type) is not Family.INTEGER or set(profile.classes) != {"integer"}:
        return None
    moment = column.name.lower().endswith(("_at", "_on", "time", "date")) or column.name.endswith(("At", "On"))
    if moment and _within(profile, _SECONDS):
        return ("epoch-s",), None, "Drizzle's timestamp mode stores seconds since 1970"
    if moment and _within(profile, _MILLISECONDS):
        return ("epoch-ms",), None, "Drizzle's timestamp_ms mode stores milliseconds since 1970"
    flag = re.match(r"(is|has|can)(_|[A-Z])", column.name) is not None
    if flag and profile.integer_min >= 0 and profile.integer_max <= 1:
        return (), "boolean", "Drizzle declares booleans as integer"
    return None


def _nothing(column: Column, profile: ColumnProfile) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A library: `history` maps its own tables to columns that such a table has."""

    name: str
    history: Mapping[str, frozenset[str]]
    propose: Propose
    node: bool = False


_LAYERS = (
    _Layer(
        name="Prisma",
        history={"_prisma_migrations": frozenset({"checksum", "migration_name"})},
        propose=_milliseconds("Prisma"),
    ),
    _Layer(
        name="Knex",
        history={
            "knex_migrations": frozenset({"name", "batch"}),
            "knex_migrations_lock": frozenset({"is_locked"}),
        },
        propose=_milliseconds("Knex"),
        node=True,
    ),
    _Layer(name="Sequelize", history={"SequelizeMeta": frozenset({"name"})}, propose=_sequelize, node=True),
    _Layer(
        name="TypeORM",
        history={
            "migrations": frozenset({"timestamp", "name"}),
            "typeorm_metadata": frozenset({"type", "value"}),
        },
        propose=_nothing,
        node=True,
    ),
    _Layer(name="Drizzle", history={"__drizzle_migrations": frozenset({"hash"})}, propose=_drizzle, node=True),
    _Layer(name="Django", history={"django_migrations": frozenset({"app", "applied"})}, propose=_django),
    _Layer(name="Alembic", history={"alembic_version": frozenset({"version_num"})}, propose=_nothing),
    _Layer(name="Diesel", history={"__diesel_schema_migrations": frozenset({"version", "run_on"})}, propose=_nothing),
)


def history_tables(schema: SourceSchema) -> dict[str, str]:
    """Table in which a library records its own migrations -> the library's name."""
    tables = {table.name: table for table in schema.tables}
    return {
        name: layer.name
        for layer in _LAYERS
        for name, columns in layer.history.items()
        if name in tables and _is_history(tables[name], columns)
    }


def _is_history(table: Table, columns: frozenset[str]) -> bool:
    return columns <= {column.name for column in table.columns}


def recognise(schema: SourceSchema, profiles: Mapping[str, TableProfile]) -> tuple[Intent, ...]:
    """The libraries whose history tables are in the source, with what they propose for its columns.

    A table that only bears such a name, with other columns, is data and says nothing.
    """
    tables = history_tables(schema)
    found = []
    for layer in _LAYERS:
        history = tuple(name for name, owner in tables.items() if owner == layer.name)
        if not history:
            continue
        proposals = []
        for table in schema.tables:
            if table.name in history:
                continue
            for column in table.columns:
                proposed = layer.propose(column, profiles[table.name].columns[column.name])
                if proposed is not None:
                    rules, kind, why = proposed
                    proposals.append(Proposal(table=table.name, column=column.name, why=why, rules=rules, type=kind))
        found.append(Intent(layer=layer.name, history=history, proposals=tuple(proposals), node=layer.node))
    return tuple(found)
