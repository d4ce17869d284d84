"""The findings about values: what a reader must know of a column whose codec is not the declared one.

Each is data (`kind.Kind`): a code of the catalogue (docs/traps.md), a severity, when it applies, and which row keys
it names. They are made from evidence only and never change a codec.
"""

from __future__ import annotations

from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Finding
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.codecs.candidate import Family, family_of
from nasmigrate.schema.decide import expected_codecs
from nasmigrate.schema.evidence import KEYS_KEPT, ColumnProfile
from nasmigrate.schema.findings import moments, numbers, texts
from nasmigrate.schema.findings.kind import Facts, Kind
from nasmigrate.schema.model import Column

KINDS: tuple[Kind, ...] = (*numbers.KINDS, *moments.KINDS, *texts.KINDS)


def value_findings(
    table: str,
    column: Column,
    profile: ColumnProfile,
    codec: Codec,
    *,
    chosen: bool = False,
    show_values: bool = False,
) -> list[Finding]:
    """All findings about one column's values.

    Args:
        table: the table's name.
        column: as declared.
        profile: what it holds.
        codec: what was decided.
        chosen: the configuration names the column's type, so another one than declared is no news.
        show_values: put the sample values in clear; else masked.
    """
    family = family_of(column.declared_type)
    facts = Facts(column=column, profile=profile, codec=codec, family=family)
    findings = [_finding(kind, count, table, facts, show_values) for kind in KINDS if (count := kind.count(facts))]
    expected = expected_codecs(column.declared_type)
    explained = any(finding.severity != "note" for finding in findings) or family is Family.TEMPORAL
    unexpected = expected is not None and type(codec) not in expected and bool(profile.classes)
    if unexpected and not explained and not chosen:
        # The guard of "never silence": a column that is not what it declares always says so.
        counts = ", ".join(f"{count} {name}" for name, count in profile.classes.items())
        widened = Kind(
            code="TYPE_WIDENED",
            severity="widened",
            count=lambda _: 0,
            message=f"declared {column.declared_type}, stands as {codec.pg_type} ({counts})",
        )
        findings.append(_finding(widened, sum(profile.classes.values()), table, facts, show_values))
    return findings


def _finding(kind: Kind, count: int, table: str, facts: Facts, show_values: bool) -> Finding:
    keys: list[str] = []
    samples: list[str] = []
    for what in kind.keys:
        found, values = facts.profile.keys_of(what)
        keys += found
        samples += [repr(value) if show_values else mask_value(value) for value in values]
    return Finding(
        code=kind.code,
        severity=kind.severity,
        table=table,
        column=facts.column.name,
        message=kind.message if isinstance(kind.message, str) else kind.message(facts),
        count=count,
        keys=tuple(keys[:KEYS_KEPT]),
        samples=tuple(samples[:KEYS_KEPT]),
    )
