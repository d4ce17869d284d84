"""What the profile saw of each column and table: the evidence that decisions stand on.

Facts only; `sqlite.profile` fills them in and `schema.decide` reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import SqliteValue

KEYS_KEPT = 5
"""Row keys kept per storage class and per oddity."""
NO_SHAPE = "other"
"""Counts text that is no date or time we know."""
SHAPE_KEY = "shape "
"""Prefix under which the keys of each shape are kept."""


@dataclass(slots=True, kw_only=True)
class ColumnProfile:
    """What one column holds. Counts are values; lengths are bytes.

    `shapes` counts the date/time shapes of its text, where they were looked for. `keys` holds up to five row
    keys per storage class, and per oddity such as 'nul'; `samples` the values that belong to them.
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
    shapes: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[str]] = field(default_factory=dict)
    samples: dict[str, list[SqliteValue]] = field(default_factory=dict)

    @property
    def shape(self) -> str | None:
        """The date/time shape that all text values share, None when they do not or it was not looked for."""
        if len(self.shapes) != 1:
            return None
        (shape,) = self.shapes
        return None if shape == NO_SHAPE else shape

    def keys_of(self, what: str) -> tuple[list[str], list[SqliteValue]]:
        """Row keys and values for an oddity; 'shape' = the text outside the most frequent shape."""
        if what != "shape":
            return self.keys.get(what, []), self.samples.get(what, [])
        keys: list[str] = []
        values: list[SqliteValue] = []
        for shape, _ in self.shapes.most_common()[1:] or self.shapes.most_common():
            keys += self.keys.get(SHAPE_KEY + shape, [])
            values += self.samples.get(SHAPE_KEY + shape, [])
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
        self.shapes += other.shapes
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
    """Rows of one foreign key whose parent is missing: how many, and up to five of their keys."""

    count: int
    keys: tuple[str, ...]
