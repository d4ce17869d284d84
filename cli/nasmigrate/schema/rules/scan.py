"""What the rules of a column do to it, counted while its table is profiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.codecs.moment import Moment
from nasmigrate.schema.codecs.shapes import ShapeTest, exact_shape
from nasmigrate.schema.evidence import KEYS_KEPT, OUTSIDE_KEY, ColumnProfile, RuleEvidence, rule_key
from nasmigrate.schema.rules.apply import RuleSet
from nasmigrate.schema.rules.base import MOMENT, Rule

INTEGER, REAL, FRACTION, ROUNDED = "integer", "real", "fraction", "rounded"
"""Forms of a number that became a moment: INTEGER; a whole REAL; a REAL that comes back; one that was rounded."""


@dataclass(slots=True, kw_only=True)
class Scanned:
    """A column of a batch after its rules.

    Attributes:
        values: what is left to profile; None when the rules made moments of all of it.
        widest: bytes of the largest stored value that the rules changed.
        marks: (name, row) of rows whose key is worth remembering.
    """

    values: Sequence[SqliteValue] | None
    widest: int
    marks: list[tuple[str, int]] = field(default_factory=list)


class RuleScan:
    """The rules of one column during one scan."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rules = RuleSet(names)
        self._shapes = ShapeTest()

    def add(self, column: ColumnProfile, values: Sequence[SqliteValue]) -> Scanned:
        """Apply the rules to a batch and count what they did."""
        if column.rules is None:
            column.rules = RuleEvidence()
        applied = self._rules.without_nulls_made(values)
        at_once = self._at_once(applied.values) if self._rules.target == MOMENT else None
        if at_once is not None:
            rule, form, rows = at_once
            marks = self._marks(column.rules, applied.taken)
            room = max(0, KEYS_KEPT - column.rules.taken[rule.name])
            marks += [(rule_key(rule.name), row) for row in rows[:room]]
            column.rules.taken[rule.name] += len(rows)
            column.rules.forms[rule.name, form] += len(rows)
            self._count(column, len(rows), len(values) - len(rows))
            widest = max((_bytes(values[row]) for row in applied.taken), default=4)
            return Scanned(values=None, widest=max(widest, _bytes(values[rows[0]])), marks=marks)
        applied = self._rules.lead(applied)
        evidence = column.rules
        marks = self._marks(evidence, applied.taken)
        evidence.outside += len(applied.outside)
        marks += [(OUTSIDE_KEY, row) for row in applied.outside[:KEYS_KEPT]]
        widest = max((_bytes(values[row]) for row in (*applied.taken, *applied.outside)), default=4)
        if self._rules.target != MOMENT:
            return Scanned(values=applied.values, widest=widest, marks=marks)
        for row, rule in applied.taken.items():
            if rule.target is not None:
                evidence.forms[rule.name, _form(rule, values[row])] += 1
        nulls = sum(value is None for value in applied.values)
        self._count(column, len(values) - nulls, nulls)
        return Scanned(values=None, widest=widest, marks=marks)

    def _at_once(self, values: Sequence[Any]) -> tuple[Rule, str, Sequence[int]] | None:
        """A batch of moments of one form, NULLs aside: the rule that takes them, the form, and their rows.

        None when it is no such batch, or has nothing but NULLs.
        """
        kinds = set(map(type, values)) - {type(None)}
        rows = [row for row, value in enumerate(values) if value is not None] if None in values else range(len(values))
        present = [values[row] for row in rows] if None in values else values
        if kinds == {int}:
            rule = next((rule for rule in self._rules.leading if rule.many is not None), None)
            if rule is None or rule.many is None or rule.many(np.array(present, dtype=np.int64)) is None:
                return None
            return rule, INTEGER, rows
        if kinds == {str}:
            shape = self._shapes.all_of(present)
            # All have the first one's shape, and the rules for text go by the shape alone.
            rule = self._rules.taking(present[0]) if shape is not None else None
            return None if rule is None or shape is None else (rule, shape, rows)
        return None

    @staticmethod
    def _count(column: ColumnProfile, moments: int, nulls: int) -> None:
        column.nulls += nulls
        column.texts += moments
        column.max_bytes = max(column.max_bytes, 8 if moments else 0)
        column.total_bytes += 8 * moments

    @staticmethod
    def _marks(evidence: RuleEvidence, taken: dict[int, Rule]) -> list[tuple[str, int]]:
        marks = []
        for row, rule in sorted(taken.items(), key=lambda item: item[0]):
            evidence.taken[rule.name] += 1
            if evidence.taken[rule.name] <= KEYS_KEPT:
                marks.append((rule_key(rule.name), row))
        return marks


def _form(rule: Rule, value: SqliteValue) -> str:
    """What the inverse of the rule must write to give a value back."""
    if isinstance(value, str):
        return exact_shape(value)
    if isinstance(value, int):
        return INTEGER
    assert isinstance(value, float)  # noqa: S101 - such rules take text and numbers only
    moment = rule.normalise(value)
    codec = Moment(inverse=rule.name, precision=6, number="real")
    if not isinstance(moment, int) or codec.decode_one(codec.encode_native([moment])[0]) != value:
        return ROUNDED
    return REAL if value.is_integer() or rule.many is None else FRACTION


def _bytes(value: SqliteValue) -> int:
    """Bytes that a stored value takes in a row at most, with its length."""
    if isinstance(value, str):
        return 4 * len(value) + 4
    return len(value) + 4 if isinstance(value, bytes) else 12


def moment_codec(evidence: RuleEvidence | None, names: Sequence[str], *, real: bool) -> Moment:
    """The codec for a column whose rules make moments.

    Its inverse is the first of the rules that leads to moments: what the application writes from now on comes home
    in that form. Its precision is the finest that a value needs.

    Args:
        evidence: what the rules did; None when the table is empty.
        names: the rules.
        real: the column's numbers are stored as REAL.
    """
    rules = RuleSet(names)
    inverse = rules.leading[0]
    forms = evidence.forms if evidence is not None else {}
    by_name = {rule.name: rule for rule in rules.leading}
    needed = [_precision(by_name[name], form) for name, form in forms] or [inverse.precision]
    shape = ""
    if inverse.kinds == frozenset({str}):
        shapes = [(count, form) for (name, form), count in forms.items() if name == inverse.name]
        shape = _preferred(shapes) or _DEFAULT_SHAPES[inverse.name]
        needed.append(shape.count("f"))
    return Moment(inverse=inverse.name, precision=max(needed), shape=shape, number="real" if real and not shape else "")


_DEFAULT_SHAPES = {"naive-as-utc": "YYYY-MM-DD HH:II:SS", "offset-as-utc": "YYYY-MM-DDTHH:II:SSZ"}


def _preferred(shapes: Sequence[tuple[int, str]]) -> str:
    """The most frequent shape, of those with a time of day if there are any: a date alone cannot write a moment."""
    return max(shapes, key=lambda entry: ("HH" in entry[1], entry[0], entry[1]), default=(0, ""))[1]


def _precision(rule: Rule, form: str) -> int:
    if form in (INTEGER, REAL):
        return rule.precision
    if form in (FRACTION, ROUNDED):
        return rule.precision if rule.many is None else 6
    return form.count("f")


def originals_kept(evidence: RuleEvidence, rule: Rule, codec: object) -> int:
    """How many of the values a rule took are kept as originals, under the codec that was chosen."""
    if not isinstance(codec, Moment) or rule.target is None:
        return evidence.taken[rule.name] if rule.name != "invalid-utf8=bytea" else 0
    return sum(count for form, count in _forms(evidence, rule.name) if not _comes_back(codec, rule, form))


def _forms(evidence: RuleEvidence, name: str) -> Iterator[tuple[str, int]]:
    return ((form, count) for (rule, form), count in evidence.forms.items() if rule == name)


def _comes_back(codec: Moment, rule: Rule, form: str) -> bool:
    if rule.name != codec.inverse:
        return False
    if codec.shape:
        return form == codec.shape
    return form == FRACTION or form == (REAL if codec.number or rule.many is None else INTEGER)
