"""What a codec module says of itself besides its codec: which columns it is tried for, in what order, and when it fits.

A module of this package that has a `CANDIDATES` tuple is found by the registry; nothing else has to name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

from nasmigrate.schema.codecs.base import Codec
from nasmigrate.schema.model import Affinity, Column

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile


class Family(StrEnum):
    """What a declared type asks for; wider than affinity, since DATE and BOOLEAN are names SQLite ignores."""

    BOOLEAN = "boolean"
    TEMPORAL = "date or time"
    DECIMAL = "decimal"
    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"
    NONE = "no type"
    OTHER = "other"


_TEMPORAL_WORDS = ("DATE", "TIME")
_DECIMAL_WORDS = ("DECIMAL", "NUMERIC", "NUMBER", "MONEY", "DEC")


def first_word(declared_type: str) -> str:
    """The first word of a declared type in upper case: `varchar (20)` -> VARCHAR; '' of none."""
    return declared_type.upper().split("(")[0].strip().partition(" ")[0]


def family_of(declared_type: str) -> Family:
    """The family of a declared type, by its first word; affinity is the floor, so no name is an error."""
    word = declared_type.upper().split("(")[0].strip()
    if word in ("BOOL", "BOOLEAN") or declared_type.upper().replace(" ", "") == "TINYINT(1)":
        return Family.BOOLEAN
    if word.startswith(_TEMPORAL_WORDS):
        return Family.TEMPORAL
    if not word:
        return Family.NONE
    if word.split()[0] in _DECIMAL_WORDS:
        return Family.DECIMAL
    return {
        Affinity.INTEGER: Family.INTEGER,
        Affinity.TEXT: Family.TEXT,
        Affinity.REAL: Family.REAL,
        Affinity.BLOB: Family.BLOB,
        Affinity.NUMERIC: Family.OTHER,
    }[Affinity.of(declared_type)]


class TextTest(Protocol):
    """A test that the profile runs over the text of a column; one instance for each scan of a column.

    It sorts values into labels. The profile counts the labels and keeps up to five row keys of each.

    Attributes:
        name: the test's name, unique among all codec modules; `ColumnProfile.labels` is keyed by it.
        one_length: values that `all_of` finds a label for are ASCII and of one length, which spares measuring them.
    """

    name: ClassVar[str]
    one_length: ClassVar[bool]

    def all_of(self, values: Sequence[str]) -> str | None:
        """The label that all values share, found in one go; None when they do not, or one by one is as quick."""
        ...

    def one(self, value: str) -> str:
        """The label of one value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to carry a column.

    Attributes:
        codecs: what `build` may return.
        build: the codec if every stored value has an exact place in it, else None.
        places: place in the order of each family it is tried for, lowest first; equal places keep the modules'
            order.
        last: place after those of the family, for any column; None = it is not tried for just anything.
        words: declared types, by their first word, that ask for it by name: there it comes before the family's own.
        forced: what `type = "…"` in the configuration calls it.
        expected: families for which it is what the declaration hopes for: no finding is needed.
        test: the test of text that `build` goes by, None when the counts of every profile are enough.
        tested: families whose columns are tested, besides those that ask for it by word or by configuration.
        comparable: False for a type that Postgres cannot compare: it is not tried for columns of a key or index.
    """

    codecs: tuple[type[Codec], ...]
    build: Callable[[Column, ColumnProfile], Codec | None]
    places: Mapping[Family, int] = field(default_factory=dict)
    last: int | None = None
    words: frozenset[str] = frozenset()
    forced: frozenset[str] = frozenset()
    expected: frozenset[Family] = frozenset()
    test: type[TextTest] | None = None
    tested: frozenset[Family] = frozenset()
    comparable: bool = True


def number_affinity(column: Column) -> bool:
    """Whether SQLite turns text that looks like a number into one when it is stored in the column."""
    return column.affinity in (Affinity.INTEGER, Affinity.NUMERIC)


def clean_text(profile: ColumnProfile) -> bool:
    """Whether Postgres' text types can hold all of the column's text."""
    return not profile.nul_texts and not profile.raw_texts
