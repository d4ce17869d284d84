"""The primary key, and the columns that name a row: what chunks are ranges of."""

from __future__ import annotations

from nasmigrate.schema.model import Index, Table
from nasmigrate.schema.planning.draft import Draft


class Keys:
    """Plans the keys of tables."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def primary(self, table: Table) -> tuple[str, ...]:
        """The columns of the primary key in key order; none where Postgres would refuse it."""
        nulls = sum(self._draft.profile(table, name).nulls for name in table.primary_key)
        if nulls:
            self._draft.find(
                "NULL_IN_PK",
                "decision",
                f"{nulls} NULL in the primary key ({', '.join(table.primary_key)}); no primary key is built",
                table=table.name,
                count=nulls,
            )
            return ()
        pk_index = next((index for index in table.indexes if index.origin == "pk"), None)
        if pk_index is not None and self.class_collision(table, pk_index):
            return ()
        return table.primary_key

    def of_rows(self, table: Table, primary_key: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """The columns that identify a row, and whether chunks can be ranges of them."""
        candidates = [primary_key] if primary_key else []
        for index in table.indexes:
            names = tuple(term.column for term in index.terms if term.column)
            plain = len(names) == len(index.terms) and not index.where_sql
            if index.unique and plain and all(term.collation == "BINARY" for term in index.terms):
                candidates.append(names)
        usable = [
            key
            for key in candidates
            if all(not self._draft.profile(table, name).nulls and table.column(name).not_null for name in key)
            or key == primary_key
        ]
        for key in usable:
            if all(self._orders_alike(table, name) for name in key):
                return key, True
        return (usable[0] if usable else ()), False

    def _orders_alike(self, table: Table, name: str) -> bool:
        """SQLite and Postgres order the column's values alike, so that a chunk can be a range of them."""
        codec = self._draft.codecs[table.name, name]
        utf8 = self._draft.source.schema.encoding == "UTF-8" or "str" not in {kind.__name__ for kind in codec.native}
        return (
            codec.ordered
            and codec.uniform
            and len(self._draft.profile(table, name).classes) <= 1
            and table.column(name).collation == "BINARY"
            and utf8
        )

    def class_collision(self, table: Table, index: Index) -> bool:
        """A unique column of several classes: 5, '5' and x'35' are three values, equal once written alike."""
        mixed = [
            term.column
            for term in index.terms
            if term.column and len(self._draft.profile(table, table.column(term.column).name).classes) > 1
        ]
        mixed = [
            name
            for name in mixed
            if not set(self._draft.profile(table, table.column(name).name).classes) <= {"integer", "real"}
        ]
        if mixed:
            self._draft.find(
                "CLASS_COLLISION",
                "decision",
                f"several storage classes in a unique key; {index.name} is not built",
                table=table.name,
                column=mixed[0],
            )
        return bool(mixed)
