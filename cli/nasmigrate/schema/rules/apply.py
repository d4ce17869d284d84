"""The rules of one column, applied: makers of NULL first, then the rules that lead to a codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import RawText, SqliteValue
from nasmigrate.schema.codecs.json_text import is_canonical, is_json
from nasmigrate.schema.codecs.uuid import canonical
from nasmigrate.schema.rules import REGISTRY
from nasmigrate.schema.rules.base import MOMENT, OUTSIDE, Outside, Rule


class RulesClash(ValueError):
    """Rules that cannot be combined on one column."""


def _no(value: SqliteValue) -> bool:
    return False


_FITS: Mapping[str, Callable[[SqliteValue], bool]] = {
    "boolean": lambda value: type(value) is int and value in (0, 1),
    "bigint": lambda value: type(value) is int,
    "text": lambda value: type(value) is str and "\x00" not in value,
    "uuid": lambda value: type(value) is str and canonical(value) == value,
    "jsonb": lambda value: type(value) is int or (type(value) is str and is_canonical(value)),
    "json": lambda value: type(value) is str and is_json(value),
    "bytea": lambda value: type(value) in (str, RawText),
    MOMENT: _no,
}
"""By target: whether a value that no rule takes is one that the codec takes as it is stored."""


@dataclass(slots=True, kw_only=True)
class Applied:
    """A column after its rules.

    Attributes:
        values: one for each row; those at `outside` are as stored.
        taken: row -> the rule that changed its value.
        outside: rows whose value no rule takes and the target does not hold.
    """

    values: Sequence[SqliteValue]
    taken: dict[int, Rule] = field(default_factory=dict)
    outside: list[int] = field(default_factory=list)


class RuleSet:
    """The rules of one column, in the order of the configuration.

    Attributes:
        target: the codec that all of them lead to; None when they only make NULLs.
        leading: the rules that lead to it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Look up the rules.

        Raises:
            RulesClash: they lead to different codecs, or two of them take the same numbers.
            KeyError: there is no such rule.
        """
        self.rules = tuple(REGISTRY[name] for name in names)
        self._null_makers = tuple(rule for rule in self.rules if rule.target is None)
        self.leading = tuple(rule for rule in self.rules if rule.target is not None)
        targets = {rule.target for rule in self.leading}
        if len(targets) > 1:
            words = " and ".join(f"{rule.name} to {rule.target}" for rule in self.leading)
            raise RulesClash(f"they lead to different types: {words}")
        units = [rule.name for rule in self.leading if rule.many is not None]
        if len(units) > 1:
            raise RulesClash(f"a number is of one unit: {' or '.join(units)} (EPOCH_MIXED_UNITS)")
        self.target: str | None = next(iter(targets), None)

    def without_nulls_made(self, column: Sequence[SqliteValue]) -> Applied:
        """The column after the rules that make NULLs; nothing is outside of them."""
        if not self._null_makers:
            return Applied(values=column)
        kinds = set(map(type, column))
        applied = Applied(values=column)
        for rule in self._null_makers:
            if kinds & rule.kinds:
                for row, value in enumerate(column):
                    if type(value) in rule.kinds and row not in applied.taken and rule.normalise(value) is None:
                        applied.taken[row] = rule
        if applied.taken:
            values = list(column)
            for row in applied.taken:
                values[row] = None
            applied.values = values
        return applied

    def lead(self, applied: Applied) -> Applied:
        """The column after the other rules as well; `applied` is changed."""
        if self.target is None:
            return applied
        fits = _FITS[self.target]
        values = list(applied.values)
        for row, value in enumerate(values):
            if value is None:
                continue
            rule, found = self._first(value)
            if rule is None or found is OUTSIDE:
                if not fits(value):
                    applied.outside.append(row)
            elif found is not value or self.target == MOMENT:
                # A number that equals its moment is taken as well, though it may be the very same object.
                values[row] = found
                applied.taken[row] = rule
        applied.values = values
        return applied

    def taking(self, value: SqliteValue) -> Rule | None:
        """The rule that takes a value, of those that lead to a codec; None when none does."""
        return self._first(value)[0]

    def _first(self, value: SqliteValue) -> tuple[Rule | None, SqliteValue | Outside]:
        for rule in self.leading:
            if type(value) in rule.kinds:
                found = rule.normalise(value)
                if found is not OUTSIDE:
                    return rule, found
        return None, OUTSIDE
