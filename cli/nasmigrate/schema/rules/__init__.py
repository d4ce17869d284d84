"""Mapping rules: what may be changed on the way to Postgres when the configuration asks for it by name.

One module per family of rules, each with a `RULES` tuple. `apply` runs the rules of a column, `codec` is the codec
that does so while encoding, `scan` counts what they do while a table is profiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from nasmigrate.schema.rules import documents, moments, nulls, values
from nasmigrate.schema.rules.base import Rule

REGISTRY: Mapping[str, Rule] = {
    rule.name: rule for module in (nulls, moments, values, documents) for rule in module.RULES
}
"""All rules by name."""

__all__ = ["REGISTRY", "Rule"]
