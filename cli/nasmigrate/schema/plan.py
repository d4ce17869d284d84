"""The plan: what will stand in Postgres, column by column, and why. It is `plan.json`.

The hash covers schema, codecs, rules and what the configuration decided; never counts, samples or paths, so the
plan of tonight's live file equals the plan that was rehearsed on yesterday's.

Names: `name`, and every name by which one part of a plan speaks of another (keys, terms of indexes, foreign keys and
their parents), is the source's, as it is in `sqlite/`, in findings and in results. `target` is what a table or column
is called in Postgres: `postgres/` and the revisions use it, or a whole plan `in_target_names`. Names of indexes and
constraints, and SQL, are Postgres' alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field

from nasmigrate.core.result import Document, Finding
from nasmigrate.schema.codecs import Codec, build
from nasmigrate.schema.names import fit
from nasmigrate.schema.rules.codec import Ruled

PLAN_VERSION = 1


def _as_in_the_source(validated: dict[str, Any]) -> str:
    """What a table or column is called in Postgres unless the plan says otherwise."""
    name: str = validated["name"]
    return name


class PlanColumn(Document):
    """One column of the target, called `target` there; left out, that is its name in the source.

    `pg_type` is what DDL writes. `rules` are the mapping rules that its values go through before the codec.
    `generated` says that SQLite computes the column. With `computed_sql`, the expression in Postgres' SQL, Postgres
    does so too (GENERATED ALWAYS AS … STORED) and nothing is copied into it; without, it stands as a plain column
    that holds the computed values (the finding GENERATED_FROZEN says so).
    """

    name: str
    target: str = Field(default_factory=_as_in_the_source)
    declared_type: str
    codec: str
    parameters: dict[str, str | int] = Field(default_factory=dict)
    rules: tuple[str, ...] = ()
    pg_type: str
    collation: str | None = None
    nullable: bool = True
    default_sql: str | None = None
    identity: bool = False
    generated: Literal["stored", "virtual"] | None = None
    computed_sql: str | None = None
    raw_text: bool = False

    def build_codec(self) -> Codec:
        """The codec that encodes and decodes this column, behind its rules if there are any."""
        codec = build(self.codec, self.parameters)
        return Ruled(codec, self.rules) if self.rules else codec


class PlanIndexTerm(Document):
    """One term of an index as Postgres DDL: a plain column, or an expression in parentheses.

    `source` is the SQL of SQLite whose values the expression has; None where there is none (a hash of ours).
    """

    column: str | None = None
    expression: str | None = None
    descending: bool = False
    source: str | None = None


class PlanIndex(Document):
    """An index; `constraint` says that it carries a UNIQUE constraint of the source.

    `where_source` is the WHERE as SQLite has it.
    """

    name: str
    unique: bool
    terms: tuple[PlanIndexTerm, ...]
    where: str | None = None
    where_source: str | None = None
    constraint: bool = False

    @property
    def is_constraint(self) -> bool:
        """Whether it stands as UNIQUE constraint: those have plain ascending columns only."""
        return (
            self.unique
            and self.constraint
            and self.where is None
            and all(term.column is not None and not term.descending for term in self.terms)
        )


class PlanKept(Document):
    """That a row has a parent which stays in its table, or a NULL in the key: otherwise it is set aside."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    kept: tuple[PlanKept, ...] = ()


class PlanForeignKey(Document):
    """A foreign key, all columns in key order; parent and columns as the source calls them.

    `not_valid`: rows that are there need not satisfy it, new and changed ones must.
    """

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_update: str
    on_delete: str
    deferred: bool = False
    not_valid: bool = False


class PlanCheck(Document):
    """A CHECK constraint in Postgres' SQL, `source` in SQLite's; `not_valid` as for a foreign key."""

    name: str
    sql: str
    source: str = ""
    not_valid: bool = False


class PlanTable(Document):
    """One table of the target, called `target` there; left out, that is its name in the source.

    `key` identifies a row: the primary key or the first usable unique key; empty when there is none. `mode` is
    `range` when chunks are ranges of the key, `multiset` when they are buckets of row digests. `kept` are the parents
    that a row must have; those without are in `nasmigrate.quarantine`, by the rule orphans=quarantine.
    """

    name: str
    target: str = Field(default_factory=_as_in_the_source)
    columns: tuple[PlanColumn, ...]
    key: tuple[str, ...] = ()
    mode: Literal["range", "multiset"] = "range"
    primary_key: tuple[str, ...] = ()
    primary_key_name: str | None = None
    indexes: tuple[PlanIndex, ...] = ()
    foreign_keys: tuple[PlanForeignKey, ...] = ()
    checks: tuple[PlanCheck, ...] = ()
    kept: tuple[PlanKept, ...] = ()
    without_rowid: bool = False
    autoincrement: bool = False

    def column(self, name: str) -> PlanColumn:
        """The column called `name` exactly.

        Raises:
            KeyError: no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name}.{name}")

    def is_nullable(self, column: PlanColumn) -> bool:
        """Whether the column may hold NULL; never within the primary key."""
        return column.nullable and not column.identity and column.name not in self.primary_key

    @property
    def key_name(self) -> str:
        """The planned name of the primary key, else one that follows from the table's."""
        return self.primary_key_name or fit(f"{self.target}_pkey")

    @property
    def key_indices(self) -> tuple[int, ...]:
        """Positions of the key columns."""
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)

    @property
    def identity(self) -> PlanColumn | None:
        """The identity column, or None."""
        return next((column for column in self.columns if column.identity), None)

    def codecs(self) -> list[Codec]:
        """One codec per column, in column order."""
        return [column.build_codec() for column in self.columns]

    @property
    def written(self) -> tuple[int, ...]:
        """Positions of the columns that rows are written into: all that Postgres does not compute itself."""
        return tuple(place for place, column in enumerate(self.columns) if column.computed_sql is None)

    def targets(self, names: Iterable[str]) -> tuple[str, ...]:
        """What columns of the source are called in Postgres.

        Raises:
            KeyError: no such column.
        """
        return tuple(self.column(name).target for name in names)

    def in_target_names(self, parents: Mapping[str, PlanTable]) -> PlanTable:
        """The same table with every name as in Postgres; `parents` are the tables of the plan by their names."""
        return self.model_copy(
            update={
                "name": self.target,
                "columns": tuple(column.model_copy(update={"name": column.target}) for column in self.columns),
                "key": self.targets(self.key),
                "primary_key": self.targets(self.primary_key),
                "indexes": tuple(self._index_in_target_names(index) for index in self.indexes),
                "foreign_keys": tuple(
                    key.model_copy(
                        update={
                            "columns": self.targets(key.columns),
                            "parent": parents[key.parent].target,
                            "parent_columns": parents[key.parent].targets(key.parent_columns),
                        }
                    )
                    for key in self.foreign_keys
                ),
            }
        )

    def _index_in_target_names(self, index: PlanIndex) -> PlanIndex:
        terms = tuple(
            term if term.column is None else term.model_copy(update={"column": self.column(term.column).target})
            for term in index.terms
        )
        return index.model_copy(update={"terms": terms})


class PlanView(Document):
    """A view, called `target` in Postgres; `sql` is its SELECT in Postgres' SQL, which puts out the columns in order.

    A column says how a value that SQLite's view gives stands in Postgres, as the columns of tables do.
    """

    name: str
    target: str = Field(default_factory=_as_in_the_source)
    columns: tuple[PlanColumn, ...]
    sql: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    @property
    def as_table(self) -> PlanTable:
        """The view as a table without a key, which is what its rows are compared as."""
        return PlanTable(name=self.name, target=self.target, columns=self.columns, mode="multiset")


class TableEvidence(Document):
    """What the profile saw of a table: not part of the hash."""

    rows: int
    max_row_bytes: int
    mean_row_bytes: float
    columns: dict[str, dict[str, int | str | float | None]]


class Plan(Document):
    """The whole plan.

    `existing` says that rows go into tables that others made: no object is ours. `excluded` are tables of the source
    that the configuration leaves out. `hash` is over everything but `evidence`, `findings`, `source` and `created_at`.
    """

    format_version: int = PLAN_VERSION
    hash: str = ""
    encoding: str
    existing: bool = False
    tables: tuple[PlanTable, ...]
    views: tuple[PlanView, ...] = ()
    not_carried: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    source: str = ""
    source_sha256: str = ""
    created_at: str = ""
    profile_seconds: float = 0.0
    evidence: dict[str, TableEvidence] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def table(self, name: str) -> PlanTable:
        """The table called `name` exactly.

        Raises:
            KeyError: no such table.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    @property
    def relations(self) -> tuple[str, ...]:
        """What the tables and views are called in Postgres."""
        return (*(table.target for table in self.tables), *(view.target for view in self.views))

    def in_target_names(self) -> Plan:
        """The same plan with every name as in Postgres, for what looks at the target alone; the hash stays."""
        parents = {table.name: table for table in self.tables}
        return self.model_copy(update={"tables": tuple(table.in_target_names(parents) for table in self.tables)})

    def hashed(self) -> Plan:
        """The same plan with its hash set."""
        return self.model_copy(update={"hash": self.compute_hash()})

    def compute_hash(self) -> str:
        """sha256 (hexadecimal) over the canonical JSON of what decides the target's shape."""
        content = {
            "version": self.format_version,
            "encoding": self.encoding,
            "existing": self.existing,
            "tables": [table.model_dump(mode="json") for table in self.tables],
            "views": [view.model_dump(mode="json") for view in self.views],
            "not_carried": sorted(self.not_carried),
            "excluded": sorted(self.excluded),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()
