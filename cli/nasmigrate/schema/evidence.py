"""What the profile saw of each column and table: the evidence that decisions stand on.

Facts only; `sqlite.profile` fills them in and `schema.decide` reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.codecs.shapes import SHAPE_TEST, is_shape

KEYS_KEPT = 5
"""Row keys kept per storage class and per oddity."""


def label_key(test: str, label: str) -> str:
    """The name under which the keys of a label are kept."""
    return f"{test} {label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnAsk:
    """What a profile is asked of one column beside what it says of all: names of tests of text, and of rules."""

    tests: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


OUTSIDE_KEY = "outside the rules"
"""Under which the keys of values that no rule takes are kept."""


def rule_key(name: str) -> str:
    """The name under which the keys of values that a rule changed are kept."""
    return f"rule {name}"


@dataclass(slots=True, kw_only=True)
class RuleEvidence:
    """What the rules of a column did to its values.

    Attributes:
        taken: values that each rule changed.
        outside: values that no rule takes, though the rules lead to a type that cannot hold them.
        forms: (rule, form) -> values that became moments, by the form in which they are stored.
    """

    taken: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    forms: Counter[tuple[str, str]] = field(default_factory=Counter)

    def merge(self, other: RuleEvidence) -> None:
        """Take in what another part of the same table holds."""
        self.taken.update(other.taken)
        self.outside += other.outside
        self.forms.update(other.forms)


@dataclass(slots=True, kw_only=True)
class ColumnProfile:
    """What one column holds. Counts are values; lengths are bytes.

    With rules, it is about the values as the rules leave them; `rules` says what they did. `odd` counts the oddities
    that `schema.oddities` names; `labels` counts, for each test of text that was run, what it said of the values.
    `keys` holds up to five row keys per storage class, per label, per rule, and per oddity such as 'nul'; `samples`
    the values that belong to them.
    """

    name: str
    nulls: int = 0
    integers: int = 0
    reals: int = 0
    texts: int = 0
    blobs: int = 0
    integer_min: int = 0
    integer_max: int = 0
    integral_reals: int = 0
    infinities: int = 0
    negative_zeros: int = 0
    max_bytes: int = 0
    total_bytes: int = 0
    nul_texts: int = 0
    raw_texts: int = 0
    odd: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    rules: RuleEvidence | None = None
    keys: dict[str, list[str]] = field(default_factory=dict)
    samples: dict[str, list[SqliteValue]] = field(default_factory=dict)

    @property
    def shapes(self) -> Counter[str]:
        """Counts of the date/time shapes of the column's text, empty where they were not looked for."""
        return self.labels.get(SHAPE_TEST, Counter())

    @property
    def shape(self) -> str | None:
        """The date/time shape that all text values share, None when they do not or it was not looked for."""
        if len(self.shapes) != 1:
            return None
        (shape,) = self.shapes
        return shape if is_shape(shape) else None

    def keys_of(self, what: str) -> tuple[list[str], list[SqliteValue]]:
        """Row keys and values for an oddity.

        'shape' = the text outside the most frequent shape; 'mixed' = the values outside the most frequent class.
        """
        if what == "mixed":
            names = list(self.classes)[1:]
        elif what == "shape":
            shapes = [label for label, _ in self.shapes.most_common() if is_shape(label)]
            names = [label_key(SHAPE_TEST, label) for label in shapes[1:]]
        else:
            names = [what]
        keys = [key for name in names for key in self.keys.get(name, [])]
        values = [value for name in names for value in self.samples.get(name, [])]
        return keys[:KEYS_KEPT], values[:KEYS_KEPT]

    def merge(self, other: ColumnProfile) -> None:
        """Take in what another part of the same table holds; `other` comes later in key order."""
        if other.integers:
            low, high = other.integer_min, other.integer_max
            self.integer_min = min(self.integer_min, low) if self.integers else low
            self.integer_max = max(self.integer_max, high) if self.integers else high
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_bytes = max(self.max_bytes, other.max_bytes)
        self.odd.update(other.odd)
        for test, labels in other.labels.items():
            self.labels.setdefault(test, Counter()).update(labels)
        if other.rules is not None:
            self.rules = self.rules or RuleEvidence()
            self.rules.merge(other.rules)
        for what, keys in other.keys.items():
            room = KEYS_KEPT - len(self.keys.setdefault(what, []))
            self.keys[what] += keys[:room]
            self.samples.setdefault(what, []).extend(other.samples[what][:room])

    @property
    def classes(self) -> dict[str, int]:
        """Counts of the storage classes present, NULL left out, most frequent first."""
        counts = {"integer": self.integers, "real": self.reals, "text": self.texts, "blob": self.blobs}
        return dict(sorted(((k, v) for k, v in counts.items() if v), key=lambda item: -item[1]))

    def evidence(self) -> dict[str, int | str | float | None]:
        """What plan.json keeps; facts that are zero are left out."""
        facts: dict[str, int | str | float | None] = {"nulls": self.nulls, **self.classes}
        if self.integers:
            facts |= {"integer_min": self.integer_min, "integer_max": self.integer_max}
        if self.texts or self.blobs:
            facts["max_bytes"] = self.max_bytes
        for name in ("integral_reals", "infinities", "negative_zeros", "nul_texts", "raw_texts"):
            if getattr(self, name):
                facts[name] = getattr(self, name)
        if self.shape:
            facts["shape"] = self.shape
        return facts


_SUMS = (
    "nulls",
    "integers",
    "reals",
    "texts",
    "blobs",
    "integral_reals",
    "infinities",
    "negative_zeros",
    "total_bytes",
    "nul_texts",
    "raw_texts",
)


def merged(parts: Sequence[TableProfile]) -> TableProfile:
    """The profile of a table from those of its parts, in key order; at least one."""
    first = parts[0]
    for part in parts[1:]:
        for name, column in part.columns.items():
            first.columns[name].merge(column)
    return TableProfile(
        name=first.name,
        rows=sum(part.rows for part in parts),
        columns=first.columns,
        max_row_bytes=max(part.max_row_bytes for part in parts),
        total_bytes=sum(part.total_bytes for part in parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProfile:
    """What one table holds."""

    name: str
    rows: int
    columns: dict[str, ColumnProfile]
    max_row_bytes: int
    total_bytes: int

    @property
    def mean_row_bytes(self) -> float:
        """Mean payload of a row in bytes; 0.0 for an empty table."""
        return self.total_bytes / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """Rows of one foreign key whose parent is missing: how many, and up to five of their keys.

    `respelled` rows have a parent, but only by its collation: it is written otherwise (a for A).
    """

    count: int
    keys: tuple[str, ...]
    respelled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Violations:
    """Rows that do not satisfy one CHECK: how many, and up to five of their keys."""

    count: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collisions:
    """Rows that mapping rules make equal to another one in a unique key: how many, and up to five of their keys."""

    count: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFacts:
    """What SQLite says of a view: the names of its columns, or why it cannot be read."""

    columns: tuple[str, ...] = ()
    problem: str | None = None
