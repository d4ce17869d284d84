"""Foreign keys, and why one is not carried."""

from __future__ import annotations

from nasmigrate.schema.evidence import Orphans
from nasmigrate.schema.model import ForeignKey, Table
from nasmigrate.schema.names import fit
from nasmigrate.schema.plan import PlanForeignKey
from nasmigrate.schema.planning.draft import Draft


class Relations:
    """Plans the foreign keys of tables."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def of(self, table: Table) -> tuple[PlanForeignKey, ...]:
        """The foreign keys of a table that hold in Postgres."""
        planned = []
        used: set[str] = set()
        for position, key in enumerate(table.foreign_keys):
            wanted = key.name or f"{table.name}_{'_'.join(key.columns)}_fkey"
            name, again = fit(wanted), 1
            while name in used:
                again += 1
                name = fit(f"{wanted}{again}")
            used.add(name)
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
                )
            )
        return tuple(planned)

    def _foreign_key_problem(
        self, table: Table, position: int, key: ForeignKey
    ) -> tuple[str, str, Orphans | None] | None:
        try:
            parent = self._draft.source.schema.table(key.parent)
        except KeyError:
            return "FK_PARENT_MISSING", "there is no such table", None
        if len(key.parent_columns) != len(key.columns) or not self._is_unique(parent, key.parent_columns):
            return "FK_MISMATCH", "the columns it points to are not a unique key", None
        pairs = zip(key.columns, key.parent_columns, strict=True)
        for child_name, parent_name in pairs:
            child = self._draft.codecs[table.name, table.column(child_name).name]
            other = self._draft.codecs[parent.name, parent.column(parent_name).name]
            if child.pg_type != other.pg_type:
                message = f"{child_name} is {child.pg_type}, {key.parent}.{parent_name} is {other.pg_type}"
                return "FK_TYPE_MISMATCH", message, None
        orphans = self._draft.source.orphans.get((table.name, position))
        if orphans is not None and orphans.count:
            return "FK_ORPHANS", f"{orphans.count} rows have no parent", orphans
        return None

    def _is_unique(self, parent: Table, columns: tuple[str, ...]) -> bool:
        names = {parent.column(column).name for column in columns}
        if names == set(parent.primary_key):
            return not any(self._draft.profile(parent, name).nulls for name in names)
        return any(
            index.unique
            and not index.where_sql
            and all(term.collation == "BINARY" for term in index.terms)
            and {parent.column(term.column).name for term in index.terms if term.column} == names
            for index in parent.indexes
        )
