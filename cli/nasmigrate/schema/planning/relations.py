"""Foreign keys, and why one is not carried."""

from __future__ import annotations

from nasmigrate.core.config_model import NOT_VALID
from nasmigrate.core.errors import SchemaError, UnmappableColumn
from nasmigrate.schema.decide import FORCED, decide
from nasmigrate.schema.evidence import Orphans
from nasmigrate.schema.model import ForeignKey, Table
from nasmigrate.schema.plan import PlanForeignKey
from nasmigrate.schema.planning.draft import Draft
from nasmigrate.schema.planning.keys import Keys
from nasmigrate.schema.planning.wide import is_too_wide
from nasmigrate.schema.quarantine import rule_of
from nasmigrate.schema.rules.answers import rule_block
from nasmigrate.schema.rules.codec import Ruled


class Relations:
    """Plans the foreign keys of tables."""

    def __init__(self, draft: Draft, keys: Keys) -> None:
        self._draft = draft
        self._keys = keys
        self._ruled: set[str] = set()

    def of(self, table: Table) -> tuple[PlanForeignKey, ...]:
        """The foreign keys of a table that hold in Postgres."""
        planned = []
        target, columns = self._draft.relation_names[table.name], self._draft.column_names[table.name]
        for position, key in enumerate(table.foreign_keys):
            derived = "_".join((target, *(columns[table.column(name).name] for name in key.columns), "fkey"))
            name = self._draft.constraint(table, key.name, derived)
            problem = self._foreign_key_problem(table, position, key)
            if problem is not None:
                code, message, orphans = problem
                self._draft.find(
                    code,
                    "decision",
                    f"foreign key ({', '.join(key.columns)}) to {key.parent} is not carried: {message}",
                    table=table.name,
                    object=name,
                    count=orphans.count if orphans else 0,
                    keys=orphans.keys if orphans else (),
                    rule=rule_block(f"{table.name}.{table.column(key.columns[0]).name}", (NOT_VALID,))
                    if code == "FK_ORPHANS"
                    else None,
                )
                continue
            planned.append(
                PlanForeignKey(
                    name=name,
                    columns=tuple(table.column(column).name for column in key.columns),
                    parent=self._draft.source.schema.table(key.parent).name,
                    parent_columns=tuple(
                        self._draft.source.schema.table(key.parent).column(column).name for column in key.parent_columns
                    ),
                    on_update=key.on_update,
                    on_delete=key.on_delete,
                    deferred=key.deferred,
                    not_valid=self._rule(table, key) == NOT_VALID,
                )
            )
        return tuple(planned)

    def follow_parents(self) -> None:
        """Give a column the type of its parent's key where it holds every value; all columns are decided."""
        # Twice, for a parent that itself follows one.
        for _ in range(2):
            for table in self._draft.source.schema.tables:
                for key in table.foreign_keys:
                    self._follow(table, key)

    def _follow(self, table: Table, key: ForeignKey) -> None:
        source = self._draft.source
        parent = next((other for other in source.schema.tables if other.name == key.parent), None)
        if parent is None or len(key.columns) != len(key.parent_columns):
            return
        for child_name, parent_name in zip(key.columns, key.parent_columns, strict=True):
            column = table.column(child_name)
            subject = f"{table.name}.{column.name}"
            mine = self._draft.codecs[table.name, column.name]
            theirs = self._draft.codecs[parent.name, parent.column(parent_name).name]
            asked = subject in source.forced or subject in source.rules
            if mine.pg_type == theirs.pg_type or asked or isinstance(theirs, Ruled) or theirs.name not in FORCED:
                continue
            profile = self._draft.profile(table, column.name)
            try:
                codec = decide(column, profile, table=table.name, forced=theirs.name, compared=True)
            except UnmappableColumn:
                continue
            if codec.pg_type != theirs.pg_type:
                continue
            self._draft.codecs[table.name, column.name] = codec
            self._draft.find(
                "FK_TYPE_FOLLOWS",
                "note",
                f"stands as {codec.pg_type}, as the key it points to does ({parent.name}.{parent_name}), not as"
                f" {mine.pg_type}",
                table=table.name,
                column=column.name,
            )

    def check_rules(self) -> None:
        """Refuse rules for orphans at a column that is part of no foreign key; all keys are planned.

        Raises:
            SchemaError: there is one.
        """
        unknown = sorted(self._draft.source.orphan_rules.keys() - self._ruled)
        if unknown:
            raise SchemaError(
                f'[columns."{unknown[0]}"] has a rule for orphans, but the column is part of no foreign key',
                hint="name it as table.column, in the case of the schema; the first column of the key will do",
                details={"unknown": unknown},
                code="NM0618",
            )

    def _rule(self, table: Table, key: ForeignKey) -> str | None:
        self._ruled.update(f"{table.name}.{table.column(column).name}" for column in key.columns)
        return rule_of(table, key, self._draft.source.orphan_rules)

    def _foreign_key_problem(
        self, table: Table, position: int, key: ForeignKey
    ) -> tuple[str, str, Orphans | None] | None:
        try:
            parent = self._draft.source.schema.table(key.parent)
        except KeyError:
            if key.parent in {excluded.name for excluded in self._draft.source.excluded}:
                return "FK_PARENT_EXCLUDED", "that table is excluded", None
            return "FK_PARENT_MISSING", "there is no such table", None
        if not key.parent_columns:
            return "FK_MISMATCH", "that table lacks a column it points to, or a primary key to stand for one", None
        if len(key.parent_columns) != len(key.columns):
            return "FK_MISMATCH", "the columns it points to are not a unique key", None
        reason = self._not_unique(parent, key.parent_columns)
        if reason is not None:
            return "FK_MISMATCH", reason, None
        pairs = zip(key.columns, key.parent_columns, strict=True)
        for child_name, parent_name in pairs:
            child = self._draft.codecs[table.name, table.column(child_name).name]
            other = self._draft.codecs[parent.name, parent.column(parent_name).name]
            if child.pg_type != other.pg_type:
                message = f"{child_name} is {child.pg_type}, {key.parent}.{parent_name} is {other.pg_type}"
                return "FK_TYPE_MISMATCH", message, None
        orphans = self._draft.source.orphans.get((table.name, position))
        if orphans is not None and orphans.respelled:
            return "FK_MISMATCH", f"{orphans.respelled} rows spell their parent otherwise than it is written", None
        if orphans is not None and orphans.count:
            rule = self._rule(table, key)
            if rule is not None:
                self._applied(table, key, orphans, rule)
            else:
                return "FK_ORPHANS", f"{orphans.count} rows have no parent", orphans
        return None

    def _applied(self, table: Table, key: ForeignKey, orphans: Orphans, rule: str) -> None:
        what = (
            "stay, new and changed ones must have one"
            if rule == NOT_VALID
            else "are in nasmigrate.quarantine, every value as it is stored"
        )
        self._draft.find(
            "RULE_APPLIED",
            "note",
            f"rule {rule}: {orphans.count} rows without a parent in {key.parent} {what}",
            table=table.name,
            column=table.column(key.columns[0]).name,
            count=orphans.count,
            keys=orphans.keys,
        )

    def _not_unique(self, parent: Table, columns: tuple[str, ...]) -> str | None:
        """Why no foreign key can point to these columns in Postgres; None when one can."""
        names = {parent.column(column).name for column in columns}
        reason = "the columns it points to are not a unique key"
        if names == set(parent.primary_key) and parent.rowid_alias is not None:
            return None
        for index in parent.indexes:
            if not index.unique or index.where_sql or any(term.column is None for term in index.terms):
                continue
            if {parent.column(term.column).name for term in index.terms if term.column} != names:
                continue
            if self._keys.is_mixed(parent, index):
                reason = "the key it points to is not built: it holds several storage classes"
            elif is_too_wide(self._draft, parent, index):
                reason = "the key it points to holds values too long for an index"
            elif index.origin != "pk" and any(term.collation != "BINARY" for term in index.terms):
                reason = "the key it points to does not compare by bytes, as a foreign key of Postgres does"
            else:
                return None
        return reason
