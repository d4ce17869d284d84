"""Turns a tree of SQLite nodes into typed PostgreSQL text, node by node, by an allow-list.

A node that is not listed, or that carries an argument that is not listed with it, is refused. Where SQLite
and PostgreSQL group operators differently, the operand must stand in parentheses.

A limit that is loud: a result beyond 64 bits, or beyond the doubles, is an error in PostgreSQL where SQLite
goes on with a REAL or an infinity. The row is refused; no other value is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from sqlglot import exp

from nasmigrate.schema.expressions import functions
from nasmigrate.schema.expressions.agree import comparable, integer_literal, merged, real_literal, truth
from nasmigrate.schema.expressions.facts import (
    Kind,
    Refusal,
    TypeName,
    Value,
    blob,
    fold,
    number,
    quote_name,
    quote_text,
)
from nasmigrate.schema.expressions.source import Source

_COMPARISONS: Mapping[type[exp.Expr], tuple[str, bool]] = {
    exp.EQ: ("=", False),
    exp.NEQ: ("<>", False),
    exp.LT: ("<", True),
    exp.LTE: ("<=", True),
    exp.GT: (">", True),
    exp.GTE: (">=", True),
    exp.NullSafeEQ: ("IS NOT DISTINCT FROM", False),
    exp.NullSafeNEQ: ("IS DISTINCT FROM", False),
}
_ARITHMETIC: Mapping[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_INTEGER_ARITHMETIC: Mapping[type[exp.Expr], str] = {exp.Div: "/", exp.Mod: "%"}
_PREDICATES = (*_COMPARISONS, exp.Is, exp.In, exp.Between, exp.Like, exp.Not, exp.And, exp.Or)


class Translator:
    """Translates the nodes of one expression over one table's columns.

    `collations`, `shapes` and `names` are per column: its SQLite collation (BINARY when missing), the shape of its
    stored dates, its name in PostgreSQL. `held_as_bytes` are those whose bytes are no blobs in SQLite. `utf8` is False
    for a UTF-16 database, whose text sorts by other bytes.
    """

    def __init__(
        self,
        source: Source,
        *,
        columns: Mapping[str, str],
        collations: Mapping[str, str],
        shapes: Mapping[str, str],
        names: Mapping[str, str],
        utf8: bool,
        held_as_bytes: Collection[str] = (),
    ) -> None:
        self._source = source
        self._columns = {fold(name): names.get(name, name) for name in columns}
        self._types = {fold(name): TypeName.parse(kind) for name, kind in columns.items()}
        self._collations = {fold(name): value for name, value in collations.items()}
        self._shapes = {fold(name): value for name, value in shapes.items()}
        self._utf8 = utf8
        self._held_as_bytes = {fold(name) for name in held_as_bytes}
        self._nodes: dict[type[exp.Expr], tuple[frozenset[str], Callable[..., Value]]] = {
            exp.Paren: (frozenset({"this"}), self._paren),
            exp.Column: (frozenset({"this", "table"}), self._column),
            exp.Literal: (frozenset({"this", "is_string"}), self._literal),
            exp.HexString: (frozenset({"this"}), self._bytes),
            exp.Null: (frozenset(), self._null),
            exp.Boolean: (frozenset({"this"}), self._boolean),
            exp.And: (frozenset({"this", "expression"}), self._connective),
            exp.Or: (frozenset({"this", "expression"}), self._connective),
            exp.Not: (frozenset({"this"}), self._not),
            exp.Is: (frozenset({"this", "expression"}), self._is),
            exp.In: (frozenset({"this", "expressions"}), self._in),
            exp.Between: (frozenset({"this", "low", "high"}), self._between),
            exp.Like: (frozenset({"this", "expression", "negate"}), self._like),
            exp.Neg: (frozenset({"this"}), self._negative),
            exp.DPipe: (frozenset({"this", "expression", "safe"}), self._concatenate),
            exp.Case: (frozenset({"this", "ifs", "default"}), self._case),
            exp.If: (frozenset({"this", "true", "false"}), self._iif),
            exp.Coalesce: (frozenset({"this", "expressions"}), self._coalesce),
            exp.Length: (frozenset({"this"}), self._length),
            exp.Lower: (frozenset({"this"}), self._fold_case),
            exp.Upper: (frozenset({"this"}), self._fold_case),
            exp.Trim: (frozenset({"this", "position"}), self._trim),
            exp.Abs: (frozenset({"this"}), self._absolute),
            exp.Substring: (frozenset({"this", "start", "length"}), self._substring),
        }
        for kind in _COMPARISONS:
            self._nodes[kind] = (frozenset({"this", "expression"}), self._comparison)
        for kind in _ARITHMETIC:
            self._nodes[kind] = (frozenset({"this", "expression"}), self._arithmetic)
        for kind in _INTEGER_ARITHMETIC:
            self._nodes[kind] = (frozenset({"this", "expression", "typed", "safe"}), self._divide)

    def translate(self) -> Value:
        """The whole expression.

        Raises:
            Refusal: some part of it has no exact equivalent.
        """
        return self._visit(self._source.tree)

    def _visit(self, node: exp.Expr) -> Value:
        allowed, visit = self._nodes.get(type(node), (frozenset(), None))
        if visit is None:
            raise Refusal(_named(node))
        extra = {name for name, value in node.args.items() if value} - allowed
        if extra:
            raise Refusal(f"{_named(node)} with {', '.join(sorted(extra))}")
        return visit(node)

    def _operand(self, node: exp.Expr) -> Value:
        """An operand of anything that binds tighter than AND: `a = b IS NULL` means two things."""
        if isinstance(node, _PREDICATES):
            raise Refusal("a condition as an operand without parentheses")
        return self._visit(node)

    def _paren(self, node: exp.Paren) -> Value:
        return self._visit(node.this)

    def _column(self, node: exp.Column) -> Value:
        identifier = node.this
        if not isinstance(identifier, exp.Identifier):
            raise Refusal(_named(identifier))
        folded = fold(identifier.name)
        if folded not in self._columns:
            # A double-quoted word that is no column is a string: https://sqlite.org/quirks.html section 8.
            if identifier.quoted and not node.args.get("table") and identifier.name not in self._source.surely_names:
                return Value(sql=quote_text(identifier.name), kind=Kind.TEXT, literal=identifier.name)
            raise Refusal(f"{identifier.name}, which is not a column")
        kind = self._types[folded]
        return Value(
            sql=quote_name(self._columns[folded]),
            kind=Kind.HELD_AS_BYTES if folded in self._held_as_bytes else kind.kind,
            type=kind,
            collation=self._collations.get(folded, "BINARY"),
            shape=self._shapes.get(folded),
            wide=kind.base == "bigint",
        )

    def _literal(self, node: exp.Literal) -> Value:
        if node.is_string:
            return Value(sql=quote_text(node.this), kind=Kind.TEXT, literal=node.this)
        value = number(node.this)
        return integer_literal(value) if isinstance(value, int) else real_literal(value)

    def _bytes(self, node: exp.HexString) -> Value:
        content = blob(node.this)
        return Value(sql=f"'\\x{content.hex()}'::bytea", kind=Kind.BYTES, literal=content)

    def _null(self, _node: exp.Null) -> Value:
        return Value(sql="NULL", kind=Kind.NULL)

    def _boolean(self, node: exp.Boolean) -> Value:
        word = "TRUE" if node.this else "FALSE"
        if fold(word) in self._columns:
            raise Refusal(f"the word {word} where a column has that name")
        return Value(sql=word, kind=Kind.BOOLEAN, literal=int(node.this))

    def _connective(self, node: exp.And | exp.Or) -> Value:
        parts: list[exp.Expr] = []
        pending: list[exp.Expr] = [node]
        while pending:  # a long chain leans to one side, deeper than Python's recursion goes
            part = pending.pop()
            if type(part) is type(node):
                pending += [part.args["expression"], part.args["this"]]
            else:
                parts.append(part)
        word = " AND " if isinstance(node, exp.And) else " OR "
        sql = word.join(truth(self._visit(part)).operand for part in parts)
        return Value(sql=sql, kind=Kind.BOOLEAN, compound=True)

    def _not(self, node: exp.Not) -> Value:
        return Value(sql=f"NOT {truth(self._visit(node.this)).operand}", kind=Kind.BOOLEAN, compound=True)

    def _comparison(self, node: exp.Binary) -> Value:
        operator, ordered = _COMPARISONS[type(node)]
        return self._compare(self._operand(node.this), operator, self._operand(node.expression), ordered=ordered)

    def _compare(self, left: Value, operator: str, right: Value, *, ordered: bool) -> Value:
        one, other = comparable(left, right, ordered=ordered, utf8=self._utf8)
        return Value(sql=f"{one} {operator} {other}", kind=Kind.BOOLEAN, compound=True)

    def _is(self, node: exp.Is) -> Value:
        value, other = self._operand(node.this), node.expression
        if isinstance(other, exp.Null):
            return Value(sql=f"{value.operand} IS NULL", kind=Kind.BOOLEAN, compound=True)
        if isinstance(other, exp.Boolean):
            word = self._boolean(other).sql
            return Value(sql=f"{truth(value).operand} IS {word}", kind=Kind.BOOLEAN, compound=True)
        raise Refusal(_named(node))

    def _in(self, node: exp.In) -> Value:
        value = self._operand(node.this)
        items = [self._operand(item) for item in node.expressions]
        if not items:
            raise Refusal("IN with an empty list or a subquery")
        if value.kind == Kind.NULL:
            raise Refusal("NULL on the left of IN")
        # In a list only the left side's collation counts: https://sqlite.org/datatype3.html section 7.1.
        sides = [comparable(value, replace(item, collation=None), ordered=False, utf8=self._utf8) for item in items]
        if len({left for left, _ in sides}) == 1:
            sql = f"{sides[0][0]} IN ({', '.join(right for _, right in sides)})"
        else:
            sql = " OR ".join(f"({left} = {right})" for left, right in sides)
        return Value(sql=sql, kind=Kind.BOOLEAN, compound=True)

    def _between(self, node: exp.Between) -> Value:
        value = self._operand(node.this)
        low, high = self._operand(node.args["low"]), self._operand(node.args["high"])
        left, bottom = comparable(value, low, ordered=True, utf8=self._utf8)
        again, top = comparable(value, high, ordered=True, utf8=self._utf8)
        sql = f"{left} BETWEEN {bottom} AND {top}" if left == again else f"({left} >= {bottom}) AND ({again} <= {top})"
        return Value(sql=sql, kind=Kind.BOOLEAN, compound=True)

    def _like(self, node: exp.Like) -> Value:
        value, pattern = self._operand(node.this), self._operand(node.expression)
        return functions.like(value, pattern, negated=bool(node.args.get("negate")))

    def _negative(self, node: exp.Neg) -> Value:
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            value = number(node.this.this)
            return integer_literal(-value) if isinstance(value, int) else real_literal(value.copy_negate())
        return functions.negative(self._operand(node.this))

    def _arithmetic(self, node: exp.Binary) -> Value:
        left, right = self._operand(node.this), self._operand(node.expression)
        return functions.calculate(left, _ARITHMETIC[type(node)], right)

    def _divide(self, node: exp.Binary) -> Value:
        left, right = self._operand(node.this), self._operand(node.expression)
        return functions.divide(left, _INTEGER_ARITHMETIC[type(node)], right)

    def _concatenate(self, node: exp.DPipe) -> Value:
        left = functions.written(self._operand(node.this), "||")
        right = functions.written(self._operand(node.expression), "||")
        return Value(sql=f"{left.operand} || {right.operand}", kind=Kind.TEXT, compound=True)

    def _case(self, node: exp.Case) -> Value:
        subject = self._operand(node.this) if node.args.get("this") is not None else None
        conditions: list[Value] = []
        results: list[Value] = []
        for branch in node.args["ifs"]:
            condition = self._operand(branch.this) if subject is not None else self._visit(branch.this)
            if subject is not None:
                condition = self._compare(subject, "=", condition, ordered=False)
            conditions.append(truth(condition))
            results.append(self._visit(branch.args["true"]))
        default = node.args.get("default")
        return self._chosen(conditions, results, None if default is None else self._visit(default))

    def _iif(self, node: exp.If) -> Value:
        default = node.args.get("false")
        return self._chosen(
            [truth(self._visit(node.this))],
            [self._visit(node.args["true"])],
            None if default is None else self._visit(default),
        )

    def _chosen(self, conditions: list[Value], results: list[Value], default: Value | None) -> Value:
        last = Value(sql="NULL", kind=Kind.NULL) if default is None else default
        texts, pattern = merged([*results, last])
        whens = [f"WHEN {c.sql} THEN {text}" for c, text in zip(conditions, texts[:-1], strict=True)]
        return pattern.rewritten(f"CASE {' '.join(whens)} ELSE {texts[-1]} END", compound=True)

    def _coalesce(self, node: exp.Coalesce) -> Value:
        texts, pattern = merged([self._visit(item) for item in (node.this, *node.expressions)])
        return pattern.rewritten(f"COALESCE({', '.join(texts)})")

    def _length(self, node: exp.Length) -> Value:
        return functions.length(self._visit(node.this))

    def _fold_case(self, node: exp.Lower | exp.Upper) -> Value:
        return functions.fold_case("lower" if isinstance(node, exp.Lower) else "upper", self._visit(node.this))

    def _trim(self, node: exp.Trim) -> Value:
        return functions.trim(node.text("position"), self._visit(node.this))

    def _absolute(self, node: exp.Abs) -> Value:
        return functions.absolute(self._visit(node.this))

    def _substring(self, node: exp.Substring) -> Value:
        numbers = [node.args[name] for name in ("start", "length") if node.args.get(name) is not None]
        return functions.substring(self._visit(node.this), [self._visit(n) for n in numbers])


def _named(node: exp.Expr) -> str:
    """What a reason calls a node."""
    if isinstance(node, exp.Anonymous):
        return f"the function {node.name.lower()}()"
    if isinstance(node, exp.Func):
        return f"the function or operator {node.sql_name().lower()}"
    return f"the construct {type(node).__name__}"
