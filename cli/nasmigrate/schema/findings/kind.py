"""What a kind of finding is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nasmigrate.core.result import Severity
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.codecs.candidate import Family
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.model import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a finding about a column is made from."""

    column: Column
    profile: ColumnProfile
    codec: Codec
    family: Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of finding.

    Attributes:
        code: its name in the catalogue.
        severity: note, widened (the lossless type is not the declared one) or decision.
        count: how many values it is about; 0 = it does not apply.
        message: one line for the reader.
        keys: names of the evidence whose row keys it shows.
    """

    code: str
    severity: Severity
    count: Callable[[Facts], int]
    message: str | Callable[[Facts], str]
    keys: tuple[str, ...] = ()


def odd(what: str, *families: Family) -> Callable[[Facts], int]:
    """Counts an oddity in columns of some families; of all when none is given."""
    return lambda facts: facts.profile.odd[what] if not families or facts.family in families else 0
