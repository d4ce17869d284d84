"""The plan for a schema that stands already: no object is made, each column gets the codec of the type it has.

A type is taken only if every stored value comes back from it, as in a plan of our own. What does not fit is said of all
columns at once, each with the rules that would make it fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nasmigrate.core.errors import UnmappableColumn
from nasmigrate.schema.codecs import Codec, SqliteValue
from nasmigrate.schema.codecs.candidate import number_affinity
from nasmigrate.schema.codecs.narrow import Char, Decimal, Enum, Integer, SmallInt, Varchar
from nasmigrate.schema.codecs.numbers import BigInt, Numeric
from nasmigrate.schema.codecs.temporal import Date, Time, Timestamp, TimestampTz
from nasmigrate.schema.codecs.text import Text
from nasmigrate.schema.existing import ExistingColumn, ExistingTable
from nasmigrate.schema.expressions.facts import TypeName
from nasmigrate.schema.model import Column, Table
from nasmigrate.schema.names import NameMap
from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable
from nasmigrate.schema.planning.columns import Columns
from nasmigrate.schema.planning.draft import Draft, PlanInput
from nasmigrate.schema.planning.keys import Keys
from nasmigrate.schema.planning.limits import check_values
from nasmigrate.schema.planning.names import decide_names
from nasmigrate.schema.planning.ruled import nulls_made
from nasmigrate.schema.planning.table_evidence import evidence_of
from nasmigrate.schema.rules.answers import rule_block, rules_towards
from nasmigrate.schema.rules.codec import Ruled
from nasmigrate.schema.selection import Selection

HALF_OF_INT4 = 2**30
_ENUM = "enum"
_CHOICES: Mapping[str, str] = {
    "bigint": "bigint",
    "boolean": "boolean",
    "bytea": "bytea",
    "character": "text",
    "character varying": "text",
    "date": "date",
    "double precision": "double",
    "integer": "bigint",
    "json": "json",
    "jsonb": "jsonb",
    "numeric": "numeric",
    "smallint": "bigint",
    "text": "text",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "uuid": "uuid",
    _ENUM: "text",
}
"""Type of the target -> what `type = "…"` calls the codec that its values come from."""
_EMPTY: Mapping[str, Codec] = {
    "date": Date("YYYY-MM-DD"),
    "time": Time("HH:II:SS"),
    "timestamp": Timestamp("YYYY-MM-DD HH:II:SS"),
    "timestamptz": TimestampTz("YYYY-MM-DDTHH:II:SSZ"),
}
"""What stands for a column without any value to take the shape from."""


def _over_length(column: PlanColumn, value: SqliteValue) -> str:
    """Blanks beyond the limit would be cut, or blanks added, without a word; anything else is an error there."""
    limit = column.parameters["length"]
    blanks = isinstance(value, str) and isinstance(limit, int) and len(value.rstrip(" ")) <= limit
    return "TRAILING_SPACES" if blanks else "OVERLENGTH"


NARROW: Mapping[str, Callable[[PlanColumn, SqliteValue], str]] = {
    "integer": lambda column, value: "INT_OVER_TARGET",
    "smallint": lambda column, value: "INT_OVER_TARGET",
    "varchar": _over_length,
    "char": _over_length,
    "decimal": lambda column, value: "DECIMAL_OVER_TARGET",
    "enum": lambda column, value: "ENUM_OVER_TARGET",
}
"""Codecs whose values must be looked at one by one -> the code of a value that does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why something does not fit, and the TOML that would make it fit, where there is some."""

    message: str
    toml: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What does not fit, as far as can be told without reading all values, and the plan with all that does."""

    plan: Plan
    unfit: tuple[Unfit, ...]


def choices(chosen: Selection, names: NameMap, existing: Mapping[str, ExistingTable]) -> dict[str, str]:
    """What the types of the target ask of the source's columns: `table.column` -> choice of a type.

    Raises:
        IdentifierClash, SchemaError: see `decide_names`.
    """
    draft = Draft(PlanInput(schema=chosen.schema, excluded=chosen.excluded, profiles={}, names=names))
    decide_names(draft)
    found = {}
    for table, columns in draft.column_names.items():
        there = existing.get(draft.relation_names[table])
        for column, target in columns.items():
            facts = there.column(target) if there is not None else None
            if facts is not None and (choice := _CHOICES.get(_base(facts))) is not None:
                found[f"{table}.{column}"] = choice
    return found


def fit_plan(source: PlanInput, existing: Mapping[str, ExistingTable]) -> Fitted:
    """Plan the copy into tables that stand already.

    Raises:
        IdentifierClash, SchemaError: as `make_plan`.
        ValueTooLarge: a value does not fit a field of Postgres.
    """
    return _Fitting(source, existing).fitted()


class _Fitting:
    def __init__(self, source: PlanInput, existing: Mapping[str, ExistingTable]) -> None:
        self._draft = Draft(source)
        self._existing = existing
        self._columns = Columns(self._draft)
        self._keys = Keys(self._draft)
        self._unfit: list[Unfit] = []

    def fitted(self) -> Fitted:
        source = self._draft.source
        check_values(self._draft)
        decide_names(self._draft)
        tables = [planned for table in source.schema.tables if (planned := self._table(table)) is not None]
        self._unfit += [Unfit(message=message) for message in self._draft.refused]
        for left_out in source.excluded:
            self._draft.find("TABLE_EXCLUDED", "note", "left out: none of it is copied", table=left_out.name)
        # The types are the application's own choice, so none of them waits for an answer.
        self._draft.findings = [
            finding.model_copy(update={"severity": "note", "rule": None}) if finding.severity == "widened" else finding
            for finding in self._draft.findings
        ]
        # The same configuration may serve a schema of our own, with other findings to answer.
        findings = self._draft.answered(strict=False)
        plan = Plan(
            encoding=source.schema.encoding,
            existing=True,
            tables=tuple(tables),
            excluded=tuple(table.name for table in source.excluded),
            accepted=tuple(sorted(finding.identity for finding in findings if finding.accepted)),
            evidence=evidence_of(source.profiles),
            findings=tuple(findings),
        ).hashed()
        return Fitted(plan=plan, unfit=tuple(self._unfit))

    def _no(self, code: str, message: str, toml: str | None = None) -> None:
        self._unfit.append(Unfit(message=f"{code}: {message}", toml=toml))

    def _table(self, table: Table) -> PlanTable | None:
        target = self._draft.relation_names[table.name]
        there = self._existing.get(target)
        if there is None:
            self._no("TARGET_TABLE_MISSING", f"{table.name}: the target has no table {target!r}")
            return None
        if there.kind not in ("table", "unlogged table"):
            self._no("TARGET_TABLE_KIND", f"{table.name}: {target!r} is a {there.kind} in the target")
            return None
        before = len(self._unfit) + len(self._draft.refused)
        columns = [self._column(table, column, there) for column in table.columns]
        names = {self._draft.column_names[table.name][column.name] for column in table.columns}
        for extra in there.columns:
            if extra.name not in names:
                self._extra(table, extra)
        fitted = tuple(column for column in columns if column is not None)
        primary_key = () if self._keys.nulls_in(table) else table.primary_key
        if len(self._unfit) + len(self._draft.refused) > before:
            # Nothing is copied; its other columns are still looked at.
            key, ranges = (primary_key if {column.name for column in fitted}.issuperset(primary_key) else ()), False
        else:
            key, ranges = self._keys.of_rows(table, primary_key)
        return PlanTable(
            name=table.name,
            target=target,
            columns=fitted,
            key=key,
            mode="range" if ranges else "multiset",
            without_rowid=table.without_rowid,
            autoincrement=table.autoincrement,
        )

    def _extra(self, table: Table, extra: ExistingColumn) -> None:
        if extra.not_null and not extra.filled:
            self._no(
                "TARGET_COLUMN_EXTRA",
                f"{table.name}: the target's column {extra.name!r} must have a value, the source has none for it",
            )
        else:
            text = f"the target has a column {extra.name!r} more; it gets its default"
            self._draft.find("TARGET_COLUMN_EXTRA", "note", text, table=table.name, column=extra.name)

    def _column(self, table: Table, column: Column, there: ExistingTable) -> PlanColumn | None:
        target = self._draft.column_names[table.name][column.name]
        facts = there.column(target)
        if facts is None:
            self._no("TARGET_COLUMN_MISSING", f"{table.name}.{column.name}: the target has no column {target!r}")
            return None
        subject = f"{table.name}.{column.name}"
        if facts.computed_sql is not None and column.generated is None:
            self._no("TARGET_COLUMN_GENERATED", f"{subject}: the target computes {target!r} itself")
            return None
        codec = self._codec(table, column, facts)
        if codec is None:
            return None
        self._draft.codecs[table.name, column.name] = codec
        profile = self._draft.profile(table, column.name)
        nulls = profile.nulls
        if facts.not_null and nulls:
            made = nulls_made(profile, codec)
            by_rules = f", {made} of them made by its rules" if made else ""
            self._no("TARGET_NOT_NULL", f"{subject}: {nulls} NULL{by_rules}, which the target's column refuses")
            return None
        if facts.numbered and codec.pg_type == "integer" and profile.integer_max >= HALF_OF_INT4:
            text = f"more than half of the numbers of an integer are used up: {profile.integer_max:,}"
            self._draft.find("INT4_HALF_USED", "note", text, table=table.name, column=column.name)
        return PlanColumn(
            name=column.name,
            target=target,
            declared_type=column.declared_type,
            codec=codec.name,
            parameters=codec.parameters(),
            rules=self._draft.source.rules.get(subject, ()),
            pg_type=facts.type,
            nullable=not facts.not_null,
            identity=facts.numbered,
            generated=column.generated,
            computed_sql=facts.computed_sql,
            raw_text=profile.raw_texts > 0,
        )

    def _codec(self, table: Table, column: Column, facts: ExistingColumn) -> Codec | None:
        """The codec for the type that the column has; None when it does not fit, which is noted."""
        profile = self._draft.profile(table, column.name)
        base = _base(facts)
        refused = len(self._draft.refused)
        if base in _EMPTY and not profile.classes and not self._draft.source.rules.get(f"{table.name}.{column.name}"):
            return _EMPTY[base]
        try:
            if base not in _CHOICES:
                raise UnmappableColumn("no codec of that type")
            self._columns.decide(table, column.name)
        except UnmappableColumn:
            codec = None
        else:
            codec = _narrowed(column, self._draft.codecs[table.name, column.name], facts)
        if len(self._draft.refused) > refused:
            return None
        if codec is None:
            held = ", ".join(f"{count} {name}" for name, count in profile.classes.items()) or "no value"
            rules = rules_towards(base, profile)
            subject = f"{table.name}.{column.name}"
            self._no(
                "TARGET_TYPE_MISMATCH",
                f"{subject}: the target's column is {facts.type}, which does not hold every stored value ({held})"
                + (f"; rule {', '.join(rules)} would make it fit" if rules else ""),
                rule_block(subject, rules) if rules else None,
            )
        return codec


def _base(facts: ExistingColumn) -> str:
    return _ENUM if facts.labels else TypeName.parse(facts.type).base


def _narrowed(column: Column, codec: Codec, facts: ExistingColumn) -> Codec | None:
    """The codec with the limits of the target's type; None when the type is another one."""
    if isinstance(codec, Ruled):
        inner = _narrowed(column, codec.inner, facts)
        return None if inner is None else Ruled(inner, [rule.name for rule in codec.rules.rules])
    there, ours = TypeName.parse(facts.type), TypeName.parse(codec.pg_type)
    match codec:
        case BigInt() if there.base == "integer":
            return Integer()
        case BigInt() if there.base == "smallint":
            return SmallInt()
        case Text() if facts.labels:
            return None if codec.numbers else Enum(facts.type, json.dumps(facts.labels, ensure_ascii=False))
        case Text() if there.base == "character varying":
            return Varchar(there.precision or 0, int(codec.numbers))
        case Text() if there.base == "character":
            return None if codec.numbers else Char(there.precision or 1)
        case Numeric() if there.base == "numeric" and there.precision is not None:
            return Decimal(there.precision, there.scale or 0, int(not number_affinity(column)))
    if there.base != ours.base:
        return None
    # Postgres would round what is finer than the type; without a precision it has all six digits.
    return codec if there.precision is None or (ours.precision or 0) <= there.precision else None
