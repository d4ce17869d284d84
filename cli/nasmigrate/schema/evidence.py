"""What the profile saw of each column and table: the evidence that decisions stand on.

Facts only; `sqlite.profile` fills them in and `schema.decide` reads them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nasmigrate.schema.codecs import SqliteValue


@dataclass(slots=True, kw_only=True)
class ColumnProfile:
    """What one column holds. Counts are values; lengths are bytes.

    `shape` is the date/time shape that all text values share, None when they do not or it was not looked for.
    `keys` holds up to five row keys per storage class, and per finding such as 'nul' or 'shape'.
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
    shape: str | None = None
    shapes: Counter[str] = field(default_factory=Counter)
    keys: dict[str, list[str]] = field(default_factory=dict)
    samples: dict[str, list[SqliteValue]] = field(default_factory=dict)

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
