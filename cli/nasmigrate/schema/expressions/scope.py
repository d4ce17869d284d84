"""Names of one SELECT: the relations it reads, the aliases of its outputs, and what may be named beside GROUP BY.

Names are resolved as SQLite does: a column of a relation, an alias of an output, a column of the SELECT around, and
a word in double quotes that is none of these is a string.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlglot import exp

from nasmigrate.schema.expressions.facts import Kind, Refusal, Value, fold, quote_text
from nasmigrate.schema.expressions.relations import Bound, Relation, RelationColumn
from nasmigrate.schema.expressions.source import Source
from nasmigrate.schema.expressions.translator import Translator


class Scope(Translator):
    """Translates expressions over the relations that are bound to aliases.

    `outer` is the scope of the SELECT around it, whose columns it may use.
    """

    def __init__(self, source: Source, *, utf8: bool, outer: Scope | None) -> None:
        super().__init__(source, columns={}, names={}, collations={}, shapes={}, utf8=utf8)
        self._outer = outer
        self._bound: list[Bound] = []
        self._aliases: dict[str, exp.Expr] = {}
        self._known: dict[str, RelationColumn] = {}
        self._groups: set[str] | None = None
        self._unchecked = 0

    def _bind(self, alias: str, relation: Relation) -> None:
        """Let a relation be known by an alias.

        Raises:
            Refusal: another one is.
        """
        if any(fold(alias) == fold(bound.alias) for bound in self._bound):
            raise Refusal(f"two relations called {alias}")
        self._bound.append(Bound(alias=alias, relation=relation))
        self._known.update((column.value(alias).sql, column) for column in relation.columns)
        self._columns = {fold(c.name): c.name for bound in self._bound for c in bound.relation.columns}

    def _all_columns(self) -> Iterator[RelationColumn]:
        yield from self._known.values()
        if self._outer is not None:
            yield from self._outer._all_columns()

    def _visit(self, node: exp.Expr) -> Value:
        if self._groups is None or self._unchecked:
            return super()._visit(node)
        with self._without_check():
            value = super()._visit(node)
        # An expression that is grouped as a whole; otherwise its parts must be.
        return value if value.sql in self._groups else super()._visit(node)

    @contextmanager
    def _without_check(self) -> Iterator[None]:
        self._unchecked += 1
        try:
            yield
        finally:
            self._unchecked -= 1

    def _column(self, node: exp.Column) -> Value:
        identifier = node.this
        if not isinstance(identifier, exp.Identifier) or set(node.args) - {"this", "table"}:
            raise Refusal(f"the construct {type(identifier).__name__}")
        name, table = fold(identifier.name), fold(node.table) if node.table else None
        found = [
            (bound, column)
            for bound in self._bound
            if table is None or fold(bound.alias) == table
            for column in bound.relation.columns
            if fold(column.name) == name
        ]
        if len(found) > 1:
            raise Refusal(f"{identifier.name}, which is the name of several columns")
        if found:
            return self._of(*found[0])
        if table is None and name in self._aliases:
            meant = self._aliases.pop(name)  # an alias does not stand for itself
            try:
                return self._visit(meant)
            finally:
                self._aliases[name] = meant
        if self._outer is not None:
            return self._outer._column(node)
        if identifier.quoted and table is None and identifier.name not in self._source.surely_names:
            return Value(sql=quote_text(identifier.name), kind=Kind.TEXT, literal=identifier.name)
        raise Refusal(f"{identifier.name}, which is not a column")

    def _of(self, bound: Bound, column: RelationColumn) -> Value:
        value = column.value(bound.alias)
        if self._groups is not None and not self._unchecked and value.sql not in self._groups:
            key = {c.value(bound.alias).sql for c in bound.relation.columns if c.name in bound.relation.key}
            if not key or not key <= self._groups:
                raise Refusal(f"{column.name}, which is neither grouped nor aggregated")
        return value
