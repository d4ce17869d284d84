"""Codecs: Postgres type, encode, decode. One module per family; the registry is what plan.json names."""

from __future__ import annotations

from collections.abc import Mapping

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
from nasmigrate.schema.codecs.numbers import BigInt, Boolean, Double, Numeric
from nasmigrate.schema.codecs.temporal import Date, Time, Timestamp, TimestampTz
from nasmigrate.schema.codecs.text import Bytea, Text

REGISTRY: Mapping[str, type[Codec]] = {
    codec.name: codec for codec in (BigInt, Boolean, Double, Numeric, Text, Bytea, Date, Time, Timestamp, TimestampTz)
}


def build(name: str, parameters: Mapping[str, str | int]) -> Codec:
    """The codec that plan.json describes.

    Raises:
        KeyError: no codec of that name.
    """
    return REGISTRY[name](**parameters)


__all__ = [
    "REGISTRY",
    "BigInt",
    "Boolean",
    "Bytea",
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
    "Time",
    "Timestamp",
    "TimestampTz",
    "build",
    "exact_bytes",
    "from_exact",
    "same",
    "storage_class",
]
