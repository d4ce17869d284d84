"""Indexes, UNIQUE constraints and CHECKs."""

from __future__ import annotations

from nasmigrate.schema.expressions import NotTranslated, Translated
from nasmigrate.schema.model import Index, IndexTerm, Table
from nasmigrate.schema.plan import PlanCheck, PlanIndex, PlanIndexTerm
from nasmigrate.schema.planning.draft import LEFT_OUT, Draft, short
from nasmigrate.schema.planning.keys import Keys
from nasmigrate.schema.planning.wide import hashed_terms, is_too_wide


class Indexes:
    """Plans the indexes and checks of tables."""

    def __init__(self, draft: Draft, keys: Keys) -> None:
        self._draft = draft
        self._keys = keys

    def of(self, table: Table) -> tuple[PlanIndex, ...]:
        """The indexes of a table, UNIQUE constraints among them, without those of its primary key."""
        planned = list(self._keys.in_place_of_primary(table))
        for index in table.indexes:
            if index.origin == "pk" and not self._is_folded(table, index):
                continue
            if index.unique and self._keys.class_collision(table, index):
                continue
            terms = [self._term(table, term) for term in index.terms]
            where = self._draft.predicate(table, index.where_sql) if index.where_sql else None
            failed = [part for part in (*terms, where) if isinstance(part, NotTranslated)]
            if self._draft.accepts("INDEX_NOT_TRANSLATED", index.name):
                failed = [NotTranslated(reason=LEFT_OUT)]
            if failed:
                self._draft.find(
                    "INDEX_NOT_TRANSLATED",
                    "decision",
                    f"index {index.name} is not carried: {failed[0].reason}",
                    table=table.name,
                    object=index.name,
                )
                continue
            for sql in (index.where_sql, *(term.expression_sql for term in index.terms)):
                if sql is not None:
                    self._draft.note_strings(sql, self._draft.types(table), table=table.name, object=index.name)
            name = self._name(table, index)
            written: tuple[PlanIndexTerm, ...] | None
            written = tuple(term for term in terms if isinstance(term, PlanIndexTerm))
            if is_too_wide(self._draft, table, index):
                written = hashed_terms(self._draft, table, index, written, name=name)
            if written is None:
                continue
            planned.append(
                PlanIndex(
                    name=name,
                    unique=index.unique,
                    terms=written,
                    where=where.sql if where is not None and not isinstance(where, NotTranslated) else None,
                    where_source=index.where_sql,
                    constraint=index.origin == "u",
                )
            )
        return tuple(planned)

    def _is_folded(self, table: Table, index: Index) -> bool:
        """Whether a primary key compares text otherwise than by its bytes: then it takes an index beside the key."""
        compared_as_text = {name for name, pg_type in self._draft.types(table).items() if pg_type == "text"}
        compared_as_text |= self._draft.held_as_bytes(table)
        return not self._keys.is_mixed(table, index) and any(
            term.collation != "BINARY" and term.column and table.column(term.column).name in compared_as_text
            for term in index.terms
        )

    def _name(self, table: Table, index: Index) -> str:
        given = self._draft.relation_names.get(index.name)
        if given is not None:
            return given
        names = self._draft.column_names[table.name]
        columns = (names[table.column(term.column).name] if term.column else "expr" for term in index.terms)
        derived = "_".join((self._draft.relation_names[table.name], *columns, "key"))
        return self._draft.constraint(table, index.constraint_name, derived, index=True)

    def _term(self, table: Table, term: IndexTerm) -> PlanIndexTerm | NotTranslated:
        if term.expression_sql is not None:
            result = self._draft.term(table, term.expression_sql)
            if isinstance(result, NotTranslated):
                return result
            return PlanIndexTerm(expression=result.sql, descending=term.descending, source=term.expression_sql)
        assert term.column is not None  # noqa: S101 - a term is a column or an expression
        name = self._draft.column_names[table.name][table.column(term.column).name]
        quoted = '"' + name.replace('"', '""') + '"'
        stored = '"' + table.column(term.column).name.replace('"', '""') + '"'
        collation = term.collation.upper()
        column = table.column(term.column).name
        if collation != "BINARY" and column in self._draft.held_as_bytes(table):
            return NotTranslated(reason=f"{column} stands as bytea, which has no collation {collation}")
        if collation == "BINARY" or self._draft.types(table)[column] != "text":
            return PlanIndexTerm(column=column, descending=term.descending)
        if collation == "NOCASE":
            # SQLite folds ASCII only; this is its exact equivalent (trap T104).
            self._draft.find(
                "NOCASE",
                "note",
                'compared without case in SQLite (ASCII letters only); the index is on lower(… COLLATE "C")',
                table=table.name,
                column=term.column,
            )
            return PlanIndexTerm(
                expression=f'lower({quoted} COLLATE "C")', descending=term.descending, source=f"lower({stored})"
            )
        if collation == "RTRIM":
            self._draft.find(
                "COLLATION_RTRIM",
                "note",
                "compared without trailing blanks; the index is on rtrim(…, ' ')",
                table=table.name,
                column=term.column,
            )
            return PlanIndexTerm(
                expression=f"rtrim({quoted}, ' ')", descending=term.descending, source=f"rtrim({stored}, ' ')"
            )
        return NotTranslated(reason=f"collation {term.collation} is the application's own")

    def checks(self, table: Table) -> tuple[PlanCheck, ...]:
        """The CHECKs of a table that have an exact translation."""
        planned = []
        for number, check in enumerate(table.checks, start=1):
            result: Translated | NotTranslated = self._draft.predicate(table, check.sql)
            derived = f"{self._draft.relation_names[table.name]}_check{number}"
            if self._draft.accepts("CHECK_NOT_TRANSLATED", check.name or derived):
                result = NotTranslated(reason=LEFT_OUT)
            if isinstance(result, NotTranslated):
                self._draft.find(
                    "CHECK_NOT_TRANSLATED",
                    "decision",
                    f"CHECK ({short(check.sql)}) is not carried: {result.reason}",
                    table=table.name,
                    object=check.name or derived,
                )
                continue
            name = self._draft.constraint(table, check.name, derived)
            self._draft.note_strings(check.sql, self._draft.types(table), table=table.name, object=name)
            violations = self._draft.source.violations.get((table.name, number - 1))
            if violations is not None:
                self._draft.find(
                    "CHECK_VIOLATED",
                    "decision",
                    f"{violations.count} rows do not satisfy CHECK ({short(check.sql)}); it stands NOT VALID: they"
                    " stay, new and changed rows must satisfy it, as in SQLite",
                    table=table.name,
                    object=name,
                    count=violations.count,
                    keys=violations.keys,
                )
            planned.append(PlanCheck(name=name, sql=result.sql, source=check.sql, not_valid=violations is not None))
        return tuple(planned)
