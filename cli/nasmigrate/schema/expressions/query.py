"""Translates a SELECT: what it reads from, its conditions, groups and outputs, by an allow-list as for expressions.

Names are resolved as SQLite does, so that every column is written with the alias it belongs to; an output has the
type, the collation "C" and the order of NULLs that SQLite gives it. What one row out of several would answer (a
column that is neither grouped nor aggregated, LIMIT) is refused: the two systems may choose another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from nasmigrate.schema.expressions import aggregates
from nasmigrate.schema.expressions.agree import as_double, comparable, truth
from nasmigrate.schema.expressions.facts import Kind, Refusal, Value, fold, quote_name
from nasmigrate.schema.expressions.relations import Output, Relation
from nasmigrate.schema.expressions.scope import Scope
from nasmigrate.schema.expressions.source import Source

_SELECT_PARTS = frozenset({"expressions", "from_", "joins", "where", "group", "having", "distinct", "order", "with_"})
_AGGREGATES = (exp.Count, exp.Sum, exp.Min, exp.Max, exp.Avg)
_COMPUTED_TYPES = {
    Kind.NULL: "text",
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "bigint",
    Kind.DOUBLE: "double precision",
    Kind.TEXT: "text",
    Kind.BYTES: "bytea",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A translated SELECT."""

    sql: str
    outputs: tuple[Output, ...]


class QueryTranslator(Scope):
    """Translates one SELECT, or several that are joined by UNION.

    `relations` are the tables and views by folded name; `outer` is the SELECT around it, whose columns it may use.
    """

    def __init__(
        self, source: Source, relations: Mapping[str, Relation], *, utf8: bool, outer: QueryTranslator | None = None
    ) -> None:
        super().__init__(source, utf8=utf8, outer=outer)
        self._relations = dict(relations)
        self._may_aggregate = False
        self._filter = ""
        for kind, name in ((exp.Min, "min"), (exp.Max, "max")):
            self._nodes[kind] = (frozenset({"this"}), self._extreme(name))
        self._nodes |= {
            exp.Count: (frozenset({"this", "big_int"}), self._count),
            exp.Sum: (frozenset({"this"}), lambda node: aggregates.total(self._argument(node), where=self._filter)),
            exp.Avg: (frozenset({"this"}), lambda node: aggregates.average(self._argument(node), where=self._filter)),
            exp.Filter: (frozenset({"this", "expression"}), self._filtered),
            exp.Exists: (frozenset({"this"}), self._exists),
            exp.Subquery: (frozenset({"this"}), self._scalar),
            exp.In: (frozenset({"this", "expressions", "query"}), self._in_or_among),
        }

    # -- statements --------------------------------------------------------------------------------------------

    def statement(self, tree: exp.Expr) -> Statement:
        """The whole of it.

        Raises:
            Refusal: some part of it has no exact equivalent.
        """
        if isinstance(tree, exp.Union) and type(tree) is exp.Union:
            return self._union(tree)
        if not isinstance(tree, exp.Select):
            raise Refusal(f"a {type(tree).__name__.upper()}")
        extra = {name for name, value in tree.args.items() if value} - _SELECT_PARTS
        if extra:
            raise Refusal(", ".join(sorted(name.strip("_").upper() for name in extra)))
        with_sql = self._common_tables(tree.args.get("with_"))
        parts = [self._from(tree)]
        self._aliases = {fold(e.alias): e.this for e in tree.expressions if isinstance(e, exp.Alias)}
        if tree.args.get("where") is not None:
            parts.append(f"WHERE {truth(self._visit(tree.args['where'].this)).sql}")
        if self._is_grouped(tree):
            parts.append(self._group(tree))
        self._may_aggregate = True
        outputs = tuple(output for expression in tree.expressions for output in self._outputs(expression))
        if tree.args.get("having") is not None:
            parts.append(f"HAVING {truth(self._visit(tree.args['having'].this)).sql}")
        distinct = self._distinct(tree, outputs)
        parts.append(self._order(tree, outputs, distinct=bool(distinct)))
        columns = ", ".join(f"{o.sql} AS {quote_name(o.name)}" if o.name is not None else o.sql for o in outputs)
        sql = " ".join(part for part in (f"{with_sql}SELECT {distinct}{columns}", *parts) if part)
        return Statement(sql=sql, outputs=outputs)

    def _inner(self) -> QueryTranslator:
        return QueryTranslator(self._source, self._relations, utf8=self._utf8, outer=self)

    def _apart(self) -> QueryTranslator:
        """For a SELECT that may not use the columns around it."""
        return QueryTranslator(self._source, self._relations, utf8=self._utf8)

    def _union(self, tree: exp.Union) -> Statement:
        extra = {name for name, value in tree.args.items() if value} - {"this", "expression", "distinct", "with_"}
        if extra:
            raise Refusal("UNION with " + ", ".join(sorted(name.strip("_").upper() for name in extra)))
        with_sql = self._common_tables(tree.args.get("with_"))
        left, right = self._apart().statement(tree.this), self._apart().statement(tree.expression)
        if len(left.outputs) != len(right.outputs):
            raise Refusal("UNION of different numbers of columns")
        for one, other in zip(left.outputs, right.outputs, strict=True):
            if (one.pg_type, one.value.shape) != (other.pg_type, other.value.shape):
                raise Refusal(f"UNION of {one.pg_type} with {other.pg_type}")
            if tree.args.get("distinct") and not (one.is_comparable and other.is_comparable):
                raise Refusal(f"UNION compares {one.value.described}")
        word = "UNION" if tree.args.get("distinct") else "UNION ALL"
        return Statement(sql=f"{with_sql}{left.sql} {word} {right.sql}", outputs=left.outputs)

    def _common_tables(self, node: exp.With | None) -> str:
        if node is None:
            return ""
        if node.args.get("recursive"):
            raise Refusal("WITH RECURSIVE")
        written = []
        for table in node.expressions:
            extra = {name for name, value in table.args.items() if value} - {"this", "alias"}
            if extra or table.args["alias"].args.get("columns"):
                raise Refusal("WITH with a list of columns or a hint")
            name = table.alias
            inner = self._apart().statement(table.this)
            self._relations[fold(name)] = _relation(name, inner)
            written.append(f"{quote_name(name)} AS ({inner.sql})")
        return f"WITH {', '.join(written)} "

    # -- FROM --------------------------------------------------------------------------------------------------

    def _from(self, tree: exp.Select) -> str:
        node = tree.args.get("from_")
        if node is None:
            return ""
        sql = f"FROM {self._item(node.this)}"
        for join in tree.args.get("joins") or ():
            extra = {name for name, value in join.args.items() if value} - {"this", "side", "kind", "on"}
            if extra:
                raise Refusal("JOIN with " + ", ".join(sorted(name.upper() for name in extra)))
            item = self._item(join.this)
            if join.args.get("on") is None:
                if join.side:
                    raise Refusal("an outer JOIN without ON")
                sql += f" CROSS JOIN {item}"
            else:
                sql += f" {join.side or 'INNER'} JOIN {item} ON {truth(self._visit(join.args['on'])).sql}"
        return sql

    def _item(self, node: exp.Expr) -> str:
        """A table, a view or a SELECT in FROM; it is bound to its alias."""
        extra = {name for name, value in node.args.items() if value} - {"this", "alias", "db"}
        if extra or (node.args.get("alias") is not None and node.args["alias"].args.get("columns")):
            raise Refusal("FROM with more than a name and an alias")
        if isinstance(node, exp.Subquery):
            if not node.alias:
                raise Refusal("a SELECT in FROM without an alias")
            inner = self._apart().statement(node.this)
            relation, sql = _relation(node.alias, inner), f"({inner.sql})"
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            if node.db and fold(node.db) != "main":
                raise Refusal(f"a table of the schema {node.db}")
            found = self._relations.get(fold(node.name))
            if found is None:
                raise Refusal(f"{node.name}, which is no table or view that is carried")
            relation, sql = found, quote_name(found.target)
        else:
            raise Refusal(f"{type(node).__name__} in FROM")
        alias = node.alias or node.name
        self._bind(alias, relation)
        return f"{sql} AS {quote_name(alias)}"

    # -- outputs -----------------------------------------------------------------------------------------------

    def _outputs(self, node: exp.Expr) -> Iterator[Output]:
        star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
        if isinstance(star, exp.Star):
            if {name for name, value in star.args.items() if value}:
                raise Refusal("* with exceptions")
            table = fold(node.table) if isinstance(node, exp.Column) else None
            for bound in self._bound:
                if table is None or fold(bound.alias) == table:
                    for column in bound.relation.columns:
                        yield self._output(column.name, self._of(bound, column))
            return
        name, inner = (node.alias, node.this) if isinstance(node, exp.Alias) else (None, node)
        value = self._visit(inner)
        if name is None and isinstance(inner, exp.Column) and (known := self._known.get(value.sql)):
            name = known.name
        yield self._output(name, value)

    def _output(self, name: str | None, value: Value) -> Output:
        known = self._known.get(value.sql)
        if known is not None:
            return Output(name=name, value=value, sql=value.sql, pg_type=known.pg_type, like=known.like)
        if value.kind in (Kind.MOMENT, Kind.NUMERIC) and value.type is not None:
            # An aggregate forgets the precision of its type.
            alike = (column for column in self._all_columns() if column.pg_type == value.type.sql)
            like = next((column.like for column in alike if column.shape == value.shape), None)
            if like is not None:
                sql = f"({value.sql})::{value.type.sql}"
                return Output(name=name, value=value, sql=sql, pg_type=value.type.sql, like=like)
        pg_type = _COMPUTED_TYPES.get(value.kind)
        if pg_type is None:
            raise Refusal(f"puts out {value.described}")
        return Output(name=name, value=value, sql=_with_type(value), pg_type=pg_type)

    def _distinct(self, tree: exp.Select, outputs: tuple[Output, ...]) -> str:
        node = tree.args.get("distinct")
        if node is None:
            return ""
        if node.args.get("on"):
            raise Refusal("DISTINCT ON")
        unlike = next((output for output in outputs if not output.is_comparable), None)
        if unlike is not None:
            raise Refusal(f"DISTINCT compares {unlike.value.described}")
        return "DISTINCT "

    # -- groups and order --------------------------------------------------------------------------------------

    def _is_grouped(self, tree: exp.Select) -> bool:
        places = [*tree.expressions, tree.args.get("having"), tree.args.get("order")]
        return bool(tree.args.get("group") or tree.args.get("having")) or any(
            _aggregates_in(place) for place in places if place is not None
        )

    def _group(self, tree: exp.Select) -> str:
        node = tree.args.get("group")
        terms = []
        if node is not None:
            if {name for name, value in node.args.items() if value} - {"expressions"}:
                raise Refusal("GROUP BY with sets")
            for term in node.expressions:
                output = self._output(None, self._visit(self._meant(tree, term)))
                if not output.is_comparable or output.value.is_literal:
                    raise Refusal(f"GROUP BY {output.value.described}")
                terms.append(output.value.sql)
        self._groups = set(terms)
        return f"GROUP BY {', '.join(terms)}" if terms else ""

    def _order(self, tree: exp.Select, outputs: tuple[Output, ...], *, distinct: bool) -> str:
        node = tree.args.get("order")
        if node is None:
            return ""
        terms = []
        for term in node.expressions:
            inner, collation = term.this, None
            if isinstance(inner, exp.Collate):
                inner, collation = inner.this, inner.expression.name.upper()
            value = self._visit(self._meant(tree, inner, aliases=True))
            if distinct and value.sql not in {output.sql for output in outputs}:
                raise Refusal("ORDER BY of another expression than those that are DISTINCT")
            sql = value.operand
            if value.kind == Kind.HELD_AS_BYTES:
                raise Refusal(f"ORDER BY {value.described}")
            if value.kind == Kind.TEXT:
                # What is ordered is compared with itself, as by a comparison.
                sql, _ = comparable(value, Value(sql="", kind=Kind.TEXT, collation=collation or value.collation),
                                    ordered=True, utf8=self._utf8)  # fmt: skip
                if distinct:
                    raise Refusal("ORDER BY of text that is DISTINCT")
            direction = "DESC" if term.args.get("desc") else "ASC"
            terms.append(f"{sql} {direction} NULLS {'FIRST' if term.args.get('nulls_first') else 'LAST'}")
        return f"ORDER BY {', '.join(terms)}"

    def _meant(self, tree: exp.Select, term: exp.Expr, *, aliases: bool = False) -> exp.Expr:
        """What a term of GROUP BY or ORDER BY stands for: a number counts outputs; an alias is one, if asked for."""
        if isinstance(term, exp.Literal) and not term.is_string and term.this.isdigit():
            place = int(term.this) - 1
            if not 0 <= place < len(tree.expressions) or any(e.is_star for e in tree.expressions):
                raise Refusal("a number that counts no output")
            chosen: exp.Expr = tree.expressions[place]
            return chosen.this if isinstance(chosen, exp.Alias) else chosen
        if aliases and isinstance(term, exp.Column) and not term.table:
            return self._aliases.get(fold(term.name), term)
        return term

    # -- aggregates and subqueries -----------------------------------------------------------------------------

    def _argument(self, node: exp.Expr) -> Value:
        """The argument of an aggregate."""
        if not self._may_aggregate:
            raise Refusal("an aggregate where there is none to be")
        self._may_aggregate = False
        try:
            with self._without_check():
                return self._visit(node.this)
        finally:
            self._may_aggregate = True

    def _count(self, node: exp.Count) -> Value:
        if not self._may_aggregate:
            raise Refusal("an aggregate where there is none to be")
        if isinstance(node.this, exp.Star):
            return aggregates.count(None, distinct=False, where=self._filter)
        distinct = isinstance(node.this, exp.Distinct)
        if distinct and len(node.this.expressions) != 1:
            raise Refusal("count() of several distinct columns")
        value = self._argument(exp.Paren(this=node.this.expressions[0]) if distinct else node)
        return aggregates.count(value, distinct=distinct, where=self._filter)

    def _extreme(self, name: str) -> Callable[[exp.Expr], Value]:
        return lambda node: aggregates.extreme(name, self._argument(node), where=self._filter, utf8=self._utf8)

    def _filtered(self, node: exp.Filter) -> Value:
        if not isinstance(node.this, _AGGREGATES) or not isinstance(node.expression, exp.Where):
            raise Refusal("FILTER")
        condition = self._argument(node.expression)
        self._filter = f" FILTER (WHERE {truth(condition).sql})"
        try:
            return self._visit(node.this)
        finally:
            self._filter = ""

    def _exists(self, node: exp.Exists) -> Value:
        return Value(sql=f"EXISTS ({self._inner().statement(node.this).sql})", kind=Kind.BOOLEAN, compound=True)

    def _scalar(self, node: exp.Subquery) -> Value:
        """A SELECT as a value: of several rows SQLite takes the first, so there must be exactly one."""
        tree = node.this
        one_row = isinstance(tree, exp.Select) and not tree.args.get("group") and not tree.args.get("having")
        if not one_row or not any(_aggregates_in(expression) for expression in tree.expressions):
            raise Refusal("a SELECT as a value that may have other than one row")
        inner = self._inner().statement(tree)
        if len(inner.outputs) != 1:
            raise Refusal("a SELECT as a value with several columns")
        output, sql = inner.outputs[0], f"({inner.sql})"
        if output.like is not None:
            self._known[sql] = output.column(sql)
        return Value(
            sql=sql,
            kind=output.value.kind,
            type=output.value.type,
            shape=output.value.shape,
            wide=output.pg_type == "bigint",
        )

    def _in_or_among(self, node: exp.In) -> Value:
        query = node.args.get("query")
        if query is None:
            return self._in(node)
        value, inner = self._operand(node.this), self._inner().statement(query.this)
        if len(inner.outputs) != 1 or value.kind == Kind.NULL:
            raise Refusal("IN with a SELECT of several columns")
        other = inner.outputs[0].value
        sides = comparable(value, other, ordered=False, utf8=self._utf8)
        if sides != (value.operand, other.operand):
            raise Refusal(f"IN compares {value.described} with {other.described}")
        return Value(sql=f"{value.operand} IN ({inner.sql})", kind=Kind.BOOLEAN, compound=True)


def _relation(name: str, statement: Statement) -> Relation:
    columns = []
    for output in statement.outputs:
        if output.name is None:
            raise Refusal(f"an expression without an alias in {name}")
        columns.append(output.column(output.name))
    if len({fold(column.name) for column in columns}) < len(columns):
        raise Refusal(f"two columns of one name in {name}")
    return Relation(name=name, target=name, columns=tuple(columns))


def _aggregates_in(node: exp.Expr) -> bool:
    """Whether an aggregate belongs to this SELECT; those of a SELECT inside are its own."""
    if isinstance(node, _AGGREGATES):
        return True
    return not isinstance(node, exp.Query) and any(_aggregates_in(child) for child in node.iter_expressions())


def _with_type(value: Value) -> str:
    """A computed output with a type of its own, and text with the collation of the tables."""
    match value.kind:
        case Kind.NULL:
            return 'NULL::text COLLATE "C"'
        case Kind.TEXT:
            return f'({value.sql})::text COLLATE "C"' if value.is_literal else f'({value.sql}) COLLATE "C"'
        case Kind.INTEGER if not value.wide:
            return f"({value.sql})::bigint"
        case Kind.DOUBLE if value.is_literal:
            return as_double(value)
    return value.sql
