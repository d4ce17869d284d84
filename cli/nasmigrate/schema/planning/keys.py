"""The primary key, the numbers it gives out, and the columns that name a row: what chunks are ranges of."""

from __future__ import annotations

from nasmigrate.schema.codecs.candidate import first_word
from nasmigrate.schema.model import Affinity, Index, Table
from nasmigrate.schema.plan import PlanIndex, PlanIndexTerm
from nasmigrate.schema.planning.draft import Draft
from nasmigrate.schema.planning.ruled import rules_text
from nasmigrate.schema.planning.wide import hashed_terms, is_too_wide
from nasmigrate.schema.rules.codec import Ruled

MAX_BIGINT = 2**63 - 1
_NUMBERING_WORDS = frozenset({"SERIAL", "BIGSERIAL", "SMALLSERIAL"})


class Keys:
    """Plans the keys of tables."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def primary(self, table: Table) -> tuple[str, ...]:
        """The columns of the primary key in key order; none where Postgres would refuse it."""
        nulls = self.nulls_in(table)
        if nulls:
            self._draft.find(
                "NULL_IN_PK",
                "decision",
                f"{nulls} NULL in the primary key ({', '.join(table.primary_key)}); a UNIQUE constraint stands in its"
                " place, which allows them as SQLite did",
                table=table.name,
                count=nulls,
            )
            return ()
        pk_index = next((index for index in table.indexes if index.origin == "pk"), None)
        if pk_index is not None and (
            self.class_collision(table, pk_index) or is_too_wide(self._draft, table, pk_index)
        ):
            return ()
        return table.primary_key

    def nulls_in(self, table: Table) -> int:
        """How many NULLs the columns of the primary key hold; SQLite allows them, but in a rowid."""
        return sum(self._draft.profile(table, name).nulls for name in table.primary_key)

    def in_place_of_primary(self, table: Table) -> tuple[PlanIndex, ...]:
        """What stands for a primary key with NULLs, or with values too long for one: it is unique as well."""
        pk_index = next((index for index in table.indexes if index.origin == "pk"), None)
        if pk_index is None or self.is_mixed(table, pk_index):
            return ()
        wide = is_too_wide(self._draft, table, pk_index)
        if not wide and not self.nulls_in(table):
            return ()
        terms = tuple(PlanIndexTerm(column=column) for column in table.primary_key)
        derived = f"{self._draft.relation_names[table.name]}_pkey"
        name = self._draft.constraint(table, table.primary_key_name, derived, index=True)
        return (
            PlanIndex(
                name=name,
                unique=True,
                terms=(hashed_terms(self._draft, table, pk_index, terms, name=name) or terms) if wide else terms,
                constraint=True,
            ),
        )

    def notes(self, table: Table) -> None:
        """What the application may count on: who numbers the rows, and up to where."""
        if not table.primary_key:
            self._draft.find(
                "NO_PRIMARY_KEY",
                "note",
                "no primary key: its rows are compared as a multiset; SQLite's own rowid is not carried",
                table=table.name,
            )
        elif len(table.primary_key) == 1 and table.rowid_alias is None:
            column = table.column(table.primary_key[0])
            named = first_word(column.declared_type) in _NUMBERING_WORDS
            if column.affinity is Affinity.INTEGER or named:
                self._draft.find(
                    "PK_NOT_ROWID",
                    "note",
                    f"declared {column.declared_type}, which SQLite does not number: a row inserted without it gets"
                    " NULL" + (" or fails" if column.not_null else "") + "; in Postgres nothing numbers it either",
                    table=table.name,
                    column=column.name,
                )
        if table.rowid_alias is not None:
            self._numbering(table, table.rowid_alias)

    def _numbering(self, table: Table, name: str) -> None:
        profile = self._draft.profile(table, name)
        highest = max(profile.integer_max if profile.integers else 0, table.sequence or 0)
        if highest == MAX_BIGINT:
            self._draft.find(
                "SEQUENCE_EXHAUSTED",
                "decision",
                "the highest number there is was given out: Postgres will refuse the next row as SQLite does with"
                " AUTOINCREMENT (without it, SQLite looks for a free number)",
                table=table.name,
                column=name,
            )
        if table.autoincrement and profile.integers and profile.integer_max > max(table.sequence or 0, 0):
            self._draft.find(
                "SEQUENCE_BEHIND",
                "note",
                f"sqlite_sequence says {table.sequence or 0}, the highest number in use is {profile.integer_max};"
                " the higher one counts",
                table=table.name,
                column=name,
            )

    def number_again(self) -> None:
        """One note for all tables that may give out a number again, which an identity column does not."""
        names = [
            table.name
            for table in self._draft.source.schema.tables
            if table.rowid_alias is not None and not table.autoincrement
        ]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            self._draft.find(
                "ID_REUSE_ENDS",
                "note",
                f"without AUTOINCREMENT, SQLite gives the highest number out again once its row is deleted; Postgres"
                f" does not ({shown})",
                count=len(names),
            )

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

    def refuse_collisions(self) -> None:
        """Refuse rules that make rows equal in a unique key that is built; all columns are decided."""
        for table in self._draft.source.schema.tables:
            for index in table.indexes:
                found = self._draft.source.collisions.get((table.name, index.name))
                left_out = index.origin != "pk" and self._draft.accepts("INDEX_NOT_TRANSLATED", index.name)
                if found is None or left_out or self.is_mixed(table, index):
                    continue
                columns = [table.column(term.column).name for term in index.terms if term.column]
                codecs = {name: self._draft.codecs[table.name, name] for name in columns}
                rules = [
                    f"{rules_text([rule.name for rule in codec.rules.rules])} refused for {table.name}.{name}"
                    for name, codec in codecs.items()
                    if isinstance(codec, Ruled)
                ]
                if rules:
                    self._draft.refused.append(
                        f"{', '.join(rules)}: {found.count} rows would be equal in the unique key"
                        f" ({', '.join(columns)}) of {table.name} ({'; '.join(found.keys)})"
                    )

    def class_collision(self, table: Table, index: Index) -> bool:
        """A unique column of several classes: 5, '5' and x'35' are three values, equal once written alike."""
        mixed = self._mixed(table, index)
        if mixed:
            self._draft.find(
                "CLASS_COLLISION",
                "decision",
                f"several storage classes in a unique key; {index.name} is not built",
                table=table.name,
                column=mixed[0],
            )
        return bool(mixed)

    def is_mixed(self, table: Table, index: Index) -> bool:
        """Whether a unique index is not built because a column of it holds several classes."""
        return bool(self._mixed(table, index))

    def _mixed(self, table: Table, index: Index) -> list[str]:
        names = [term.column for term in index.terms if term.column]
        return [
            name
            for name in names
            if len(classes := set(self._draft.profile(table, table.column(name).name).classes)) > 1
            and not classes <= {"integer", "real"}
        ]
