"""From the source's schema and the evidence to a plan; each part has its module in `planning`."""

from __future__ import annotations

from nasmigrate.core.errors import RuleRefused
from nasmigrate.schema.model import Table
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.planning.columns import Columns
from nasmigrate.schema.planning.declared import declared_intent
from nasmigrate.schema.planning.draft import Draft, PlanInput
from nasmigrate.schema.planning.indexes import Indexes
from nasmigrate.schema.planning.keys import Keys
from nasmigrate.schema.planning.limits import check_tables, check_values
from nasmigrate.schema.planning.names import decide_names
from nasmigrate.schema.planning.objects import not_carried
from nasmigrate.schema.planning.relations import Relations
from nasmigrate.schema.planning.table_evidence import evidence_of
from nasmigrate.schema.planning.views import Views

__all__ = ["PlanInput", "make_plan"]


def make_plan(source: PlanInput) -> Plan:
    """Decide everything.

    Raises:
        RuleRefused: a value is outside the rules of its column.
        UnmappableColumn: a forced type does not hold its column's values.
        IdentifierClash: two objects would get one name in Postgres.
        SchemaError: a name Postgres cannot take, or an acceptance that names nothing.
        ValueTooLarge: a value does not fit a field of Postgres.
        TableTooWide: a table does not fit, by its columns or by a row.
    """
    return _Planner(source).plan()


class _Planner:
    def __init__(self, source: PlanInput) -> None:
        self._draft = Draft(source)
        check_values(self._draft)
        self._columns = Columns(self._draft)
        self._keys = Keys(self._draft)
        self._indexes = Indexes(self._draft, self._keys)
        self._relations = Relations(self._draft, self._keys)

    def plan(self) -> Plan:
        source = self._draft.source
        decide_names(self._draft)
        for table in source.schema.tables:
            for column in table.columns:
                self._columns.decide(table, column.name)
        self._keys.refuse_collisions()
        if self._draft.refused:
            raise RuleRefused(
                self._draft.refused[0],
                checks=self._draft.refused,
                hint="correct the values, add a rule that takes them, or remove the rule: without it the column is"
                " copied losslessly as it is",
            )
        self._relations.follow_parents()
        check_tables(self._draft)
        tables = tuple(self._table(table) for table in source.schema.tables)
        self._relations.check_rules()
        self._keys.number_again()
        declared_intent(self._draft)
        views = Views(self._draft, tables).plan()
        others = not_carried(self._draft, {view.name for view in views})
        for excluded in source.excluded:
            self._draft.find(
                "TABLE_EXCLUDED", "note", "left out as asked: nothing of it is copied", table=excluded.name
            )
        findings = self._draft.answered()
        return Plan(
            encoding=source.schema.encoding,
            tables=tables,
            views=views,
            not_carried=others,
            excluded=tuple(table.name for table in source.excluded),
            accepted=tuple(sorted(f.identity for f in findings if f.accepted)),
            evidence=evidence_of(source.profiles),
            findings=tuple(findings),
        ).hashed()

    def _table(self, table: Table) -> PlanTable:
        columns = tuple(self._columns.plan(table, column.name) for column in table.columns)
        self._keys.notes(table)
        primary_key = self._keys.primary(table)
        key, ranges = self._keys.of_rows(table, primary_key)
        target = self._draft.relation_names[table.name]
        name = None
        if primary_key:
            name = self._draft.constraint(table, table.primary_key_name, f"{target}_pkey", index=True)
        return PlanTable(
            name=table.name,
            target=target,
            columns=columns,
            key=key,
            mode="range" if ranges else "multiset",
            primary_key=primary_key,
            primary_key_name=name,
            indexes=self._indexes.of(table),
            foreign_keys=self._relations.of(table),
            checks=self._indexes.checks(table),
            kept=self._draft.source.kept.get(table.name, ()),
            without_rowid=table.without_rowid,
            autoincrement=table.autoincrement,
        )
