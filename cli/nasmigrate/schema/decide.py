"""Which codec a column gets.

Candidates are tried from the most useful to the widest; the first whose predicate holds for every stored value
wins. The declared type only orders the candidates (design: "a hint, never a proof"). The candidates are those of
the modules in `codecs`; nothing here knows a type by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from nasmigrate.core.errors import UnmappableColumn
from nasmigrate.schema.codecs import CANDIDATES, Candidate, Codec
from nasmigrate.schema.codecs.candidate import Family, family_of, first_word
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.model import Column

__all__ = ["EXPECTED", "FORCED", "Family", "candidates_of", "decide", "expected_codecs", "family_of", "text_tests"]


def _forced() -> dict[str, tuple[Candidate, ...]]:
    names = sorted({name for candidate in CANDIDATES for name in candidate.forced})
    return {name: tuple(candidate for candidate in CANDIDATES if name in candidate.forced) for name in names}


FORCED: Mapping[str, tuple[Candidate, ...]] = _forced()
"""What `type = "…"` in the configuration may ask for; it must still hold every value."""

EXPECTED: Mapping[Family, frozenset[type[Codec]]] = {
    family: frozenset(codec for candidate in CANDIDATES if family in candidate.expected for codec in candidate.codecs)
    for family in Family
    if any(family in candidate.expected for candidate in CANDIDATES)
}
"""The codecs a family hopes for; another one is a finding."""


def expected_codecs(declared_type: str) -> frozenset[type[Codec]] | None:
    """The codecs a declared type hopes for, by its name or its family; None when it hopes for nothing."""
    word = first_word(declared_type)
    named = frozenset(codec for candidate in CANDIDATES if word in candidate.words for codec in candidate.codecs)
    return named or EXPECTED.get(family_of(declared_type))


@cache
def candidates_of(declared_type: str) -> tuple[Candidate, ...]:
    """The candidates for a declared type in order. The last one takes anything."""
    word, family = first_word(declared_type), family_of(declared_type)
    places = []
    for candidate in CANDIDATES:
        if word in candidate.words:
            places.append((0, candidate))
        if family in candidate.places:
            places.append((candidate.places[family], candidate))
        if candidate.last is not None:
            places.append((candidate.last, candidate))
    return tuple(candidate for _, candidate in sorted(places, key=lambda entry: entry[0]))


def text_tests(column: Column, forced: str | None) -> tuple[str, ...]:
    """The names of the tests that the profile should run over the column's text."""
    word, family = first_word(column.declared_type), family_of(column.declared_type)
    names = (
        candidate.test.name
        for candidate in CANDIDATES
        if candidate.test is not None
        and (family in candidate.tested or word in candidate.words or forced in candidate.forced)
    )
    return tuple(dict.fromkeys(names))


def decide(
    column: Column, profile: ColumnProfile, *, table: str, forced: str | None = None, compared: bool = False
) -> Codec:
    """The codec for one column.

    Args:
        column: as declared.
        profile: what it holds.
        table: its table's name, for messages.
        forced: the type that the configuration asks for.
        compared: the column is part of a key or an index, so Postgres must be able to compare its values.

    Raises:
        UnmappableColumn: the forced type does not hold every stored value, or is no type.
    """
    if forced is not None:
        return _forced_codec(column, profile, table, forced, compared)
    for candidate in candidates_of(column.declared_type):
        codec = candidate.build(column, profile) if candidate.comparable or not compared else None
        if codec is not None:
            return codec
    raise AssertionError("the last candidate takes anything")


def _forced_codec(column: Column, profile: ColumnProfile, table: str, forced: str, compared: bool) -> Codec:
    subject = f"{table}.{column.name}"
    if forced not in FORCED:
        raise UnmappableColumn(
            f"{subject}: {forced!r} is no type to choose",
            hint=f"the types are {', '.join(FORCED)}",
            details={"table": table, "column": column.name, "forced": forced},
        )
    for candidate in FORCED[forced]:
        if compared and not candidate.comparable:
            raise UnmappableColumn(
                f"{subject}: Postgres cannot compare values of type {forced}, and the column is part of a key or index",
                hint="choose a type that can be compared, such as jsonb or text",
                details={"table": table, "column": column.name, "forced": forced},
            )
        codec = candidate.build(column, profile)
        if codec is not None and codec.name == forced:
            return codec
    counts = ", ".join(f"{count} {name}" for name, count in profile.classes.items()) or "no value"
    raise UnmappableColumn(
        f"{subject}: type {forced!r} does not hold every stored value ({counts})",
        hint=f'remove `type` from [columns."{subject}"], or choose a wider one',
        details={"table": table, "column": column.name, "forced": forced},
    )
