"""Codecs: Postgres type, encode, decode. One module per family; the registry is what plan.json names.

Every module of this package with a `CANDIDATES` tuple takes part; see docs/add-a-type.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from nasmigrate.schema.codecs.base import (
    Codec,
    Encoded,
    Misfit,
    Original,
    RawText,
    SqliteValue,
    exact_bytes,
    from_exact,
    same,
    storage_class,
)
from nasmigrate.schema.codecs.candidate import Candidate, TextTest
from nasmigrate.schema.codecs.numbers import BigInt, Boolean, Double, Numeric
from nasmigrate.schema.codecs.temporal import Date, Time, Timestamp, TimestampTz
from nasmigrate.schema.codecs.text import Bytea, Text


def _found() -> tuple[Candidate, ...]:
    """The candidates of all modules, by the modules' names."""
    names = sorted(module.name for module in iter_modules(__path__))
    modules = (import_module(f"{__name__}.{name}") for name in names)
    return tuple(candidate for module in modules for candidate in getattr(module, "CANDIDATES", ()))


CANDIDATES: tuple[Candidate, ...] = _found()
REGISTRY: Mapping[str, type[Codec]] = {codec.name: codec for candidate in CANDIDATES for codec in candidate.codecs}
TESTS: Mapping[str, type[TextTest]] = {
    candidate.test.name: candidate.test for candidate in CANDIDATES if candidate.test is not None
}
"""The tests of text that the profile may run, by name."""


def build(name: str, parameters: Mapping[str, str | int]) -> Codec:
    """The codec that plan.json describes.

    Raises:
        KeyError: no codec of that name.
    """
    return REGISTRY[name](**parameters)


__all__ = [
    "CANDIDATES",
    "REGISTRY",
    "TESTS",
    "BigInt",
    "Boolean",
    "Bytea",
    "Candidate",
    "Codec",
    "Date",
    "Double",
    "Encoded",
    "Misfit",
    "Numeric",
    "Original",
    "RawText",
    "SqliteValue",
    "Text",
    "TextTest",
    "Time",
    "Timestamp",
    "TimestampTz",
    "build",
    "exact_bytes",
    "from_exact",
    "same",
    "storage_class",
]
