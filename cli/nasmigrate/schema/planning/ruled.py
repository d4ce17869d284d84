"""Columns with mapping rules: their codec, why rules are refused, and the notes that say what the rules did."""

from __future__ import annotations

from collections.abc import Sequence

from nasmigrate.core.errors import UnmappableColumn
from nasmigrate.core.result import Finding
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.decide import decide
from nasmigrate.schema.evidence import OUTSIDE_KEY, ColumnProfile, RuleEvidence, rule_key
from nasmigrate.schema.model import Affinity, Column, Table
from nasmigrate.schema.rules.apply import RuleSet
from nasmigrate.schema.rules.base import MOMENT
from nasmigrate.schema.rules.codec import Ruled
from nasmigrate.schema.rules.scan import INTEGER, moment_codec, originals_kept


class Refused(Exception):
    """The rules of a column do not go with its values; the message says why."""


def ruled_codec(
    table: Table, column: Column, profile: ColumnProfile, names: tuple[str, ...], *, forced: str | None, compared: bool
) -> Ruled:
    """The codec of a column with rules, from a profile that was asked for them.

    Raises:
        Refused: a value is outside the rules, or they would make a NULL in the primary key.
        UnmappableColumn: a forced type does not hold what the rules leave.
    """
    rules = RuleSet(names)
    evidence = profile.rules or RuleEvidence()
    subject = f"{table.name}.{column.name}"
    if evidence.outside:
        keys = ", ".join(profile.keys.get(OUTSIDE_KEY, []))
        hints = "; ".join(rule.hint for rule in rules.leading if rule.hint)
        raise Refused(
            f"{subject}: {rules_text(names)} refused, {_count(evidence.outside, 'value')}"
            f" {'is' if evidence.outside == 1 else 'are'} outside ({keys})" + (f": {hints}" if hints else "")
        )
    made = {rule.name: evidence.taken[rule.name] for rule in rules.rules if rule.target is None}
    if any(made.values()) and column.name in table.primary_key:
        keys = ", ".join(key for name in made for key in profile.keys.get(rule_key(name), []))
        raise Refused(
            f"{subject}: {rules_text(names)} refused, it would make {sum(made.values())} NULL in the primary key"
            f" ({keys})"
        )
    if rules.target == MOMENT:
        return Ruled(moment_codec(profile.rules, names, real=_are_real(column, evidence)), names)
    try:
        inner = decide(column, profile, table=table.name, forced=rules.target or forced, compared=compared)
    except UnmappableColumn as error:
        if rules.target is None:
            raise
        raise Refused(f"{subject}: {rules_text(names)} refused: {error.message}") from error
    return Ruled(inner, names)


def rules_text(names: Sequence[str]) -> str:
    """The beginning of a sentence about rules: "rule A is", "the rules A, B are"."""
    return f"rule {names[0]} is" if len(names) == 1 else f"the rules {', '.join(names)} are"


def _are_real(column: Column, evidence: RuleEvidence) -> bool:
    """Whether whole numbers are stored as REAL: by affinity, or because none is stored as INTEGER."""
    if column.affinity is Affinity.REAL:
        return True
    integers = any(form == INTEGER for _, form in evidence.forms)
    return column.affinity in (Affinity.BLOB, Affinity.TEXT) and not integers and bool(evidence.forms)


def applied_findings(table: Table, column: Column, profile: ColumnProfile, codec: Ruled) -> list[Finding]:
    """A note for each rule: how many values it changed, how many of them are kept as originals."""
    evidence = profile.rules or RuleEvidence()
    findings = []
    for rule in codec.rules.rules:
        changed = evidence.taken[rule.name]
        kept = originals_kept(evidence, rule, codec.inner)
        findings.append(
            Finding(
                code="RULE_APPLIED",
                severity="note",
                table=table.name,
                column=column.name,
                message=f"rule {rule.name}: {_count(changed, 'value')} changed, {_count(kept, 'original')} kept",
                count=changed,
                keys=tuple(profile.keys.get(rule_key(rule.name), [])),
            )
        )
    return findings


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nulls_made(profile: ColumnProfile, codec: Codec) -> int:
    """How many NULLs of a column its rules made."""
    if not isinstance(codec, Ruled) or profile.rules is None:
        return 0
    return sum(profile.rules.taken[rule.name] for rule in codec.rules.rules if rule.target is None)
