"""Whether Kill Bill has everyone, field by field: gates, findings and differences of a seeding."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nasmigrate import __version__
from nasmigrate.core.context import Context
from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Difference, Finding, Gate, Result, Severity, TableResult
from nasmigrate.core.target import Target
from nasmigrate.core.toml import toml_string
from nasmigrate.killbill.account import FieldDifference, StoredAccount, as_sent, checksum, differences
from nasmigrate.killbill.client import KillBill
from nasmigrate.killbill.people import People
from nasmigrate.postgres.seeded import SeededRow
from nasmigrate.workflows.outcome import verdict_of
from nasmigrate.workflows.run import Run

NAMED = 200
"""Differences a result names; the rest is counted."""

_KEYS = 5


@dataclass(slots=True)
class SeedProof:
    """Gates, findings and differences as they come in."""

    gates: list[Gate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    tables: list[TableResult] = field(default_factory=list)
    fingerprint: str | None = None

    def add_tags(self, made: Sequence[SeededRow], tagged: Collection[str], *, expected: bool) -> None:
        """Add the gate of the tag that keeps new accounts from being invoiced.

        Only accounts made in this run are looked at: later it may have been taken off, because billing is wanted.
        """
        if not expected or not made:
            return
        missing = [row for row in made if row.account_id not in tagged]
        self.gates.append(
            Gate(
                name="invoicing-off",
                status="fail" if missing else "pass",
                detail=f"{len(missing)} new accounts lack the tag AUTO_INVOICING_OFF"
                if missing
                else "every new account has the tag AUTO_INVOICING_OFF",
                checked=len(made),
            )
        )


def prove(
    context: Context, people: People, stored: Mapping[str, StoredAccount], *, closed: Collection[str]
) -> SeedProof:
    """Compare everyone with what Kill Bill has: one account each, every field equal.

    Args:
        context: accepted findings, and whether values may be shown.
        people: the source of truth.
        stored: Kill Bill's accounts by external key.
        closed: external keys of accounts that undoing has closed.
    """
    proof = SeedProof()
    missing = [each for each in people.accounts if each.external_key not in stored]
    pairs = [(each, stored[each.external_key].account) for each in people.accounts if each.external_key in stored]
    unequal = [found for source, kept in pairs for found in differences(source, kept, people.compared)]
    known = {each.external_key for each in people.accounts}
    extra = [key for key in stored if key not in known]
    proof.findings = _findings(context, unequal, closed=sorted(closed), extra=extra)
    proof.gates.append(_count_gate(len(people.accounts), len(missing)))
    ours = checksum(people.accounts, people.compared)
    theirs = checksum([as_sent(source, kept) for source, kept in pairs], people.compared)
    equal = ours == theirs
    proof.gates.append(_fields_gate(people, unequal, proof.findings, equal=equal))
    proof.gates.append(_decisions_gate(proof.findings, len(people.accounts)))
    proof.differences = [
        *(Difference(kind="missing row", table="accounts", key=each.external_key, found_by="seed") for each in missing),
        *(_difference(context, found) for found in unequal),
    ]
    proof.tables = [
        TableResult(
            name="accounts", rows_source=len(people.accounts), rows_target=len(pairs), digest=theirs, equal=equal
        )
    ]
    proof.fingerprint = ours if equal and people.accounts else None
    return proof


def closed_gate(client: KillBill, rows: Sequence[SeededRow]) -> SeedProof:
    """Ask Kill Bill of every account that was to be closed whether it is."""
    ours = [row for row in rows if row.state == "closed" and row.account_id]
    if not ours:
        detail = "the ledger has no account of ours that is open"
        return SeedProof(gates=[Gate(name="closed", status="skipped", detail=detail)])
    still_open = [row.external_key for row in ours if not client.is_closed(str(row.account_id))]
    return SeedProof(
        gates=[
            Gate(
                name="closed",
                status="fail" if still_open else "pass",
                detail=f"{len(still_open)} accounts are still open"
                if still_open
                else f"{len(ours)} accounts are closed, for good",
                checked=len(ours),
            )
        ],
        differences=[Difference(kind="object", object=key, found_by="seed") for key in still_open],
    )


def result_of(run: Run, target: Target, proof: SeedProof, *, made: int) -> Result:
    """The outcome, written to the run directory; `made` is how many accounts this run made or closed."""
    verdict, code = verdict_of(proof.gates)
    settings = run.context.config.killbill
    seconds = run.seconds_of("seed") or run.seconds_of("close")
    result = Result(
        command=run.command,
        nasmigrate_version=__version__,
        started_at=run.started_at,
        seconds=round(run.elapsed, 3),
        verdict=verdict,
        exit_code=int(code),
        source=target.display,
        target=f"{settings.url}, tenant {settings.api_key}",
        run_directory=str(run.directory.root),
        fingerprint=proof.fingerprint,
        gates=tuple(proof.gates),
        tables=tuple(proof.tables),
        findings=tuple(proof.findings),
        differences=tuple(proof.differences[:NAMED]),
        differences_total=len(proof.differences),
        timeline=tuple(run.timeline),
        rates={"accounts_per_second": round(made / seconds, 2)} if made and seconds else {},
        next_step={"fail": "nasmigrate report", "inconclusive": "nasmigrate seed"}.get(verdict),
    )
    run.directory.write_json("result.json", result)
    return result


def _count_gate(people: int, missing: int) -> Gate:
    if not people:
        return Gate(name="accounts", status="inconclusive", detail="the query gives nobody, so nothing was compared")
    return Gate(
        name="accounts",
        status="fail" if missing else "pass",
        detail=f"{missing:,} of {people:,} people have no account"
        if missing
        else f"each of {people:,} people has one account",
        checked=people,
    )


def _fields_gate(
    people: People, unequal: Sequence[FieldDifference], findings: Sequence[Finding], *, equal: bool
) -> Gate:
    checked = len(people.accounts) * len(people.compared)
    if equal:
        status, detail = "pass", "the checksums of all fields are equal"
    elif unequal and not any(finding.open for finding in findings if finding.code == "ACCOUNT_DIFFERS"):
        status, detail = "pass", f"{len(unequal):,} fields differ, all in fields whose differences are accepted"
    else:
        status, detail = "fail", f"{len(unequal):,} fields are not what the people's rows say"
    return Gate(name="fields", status=status if checked else "inconclusive", detail=detail, checked=checked)  # type: ignore[arg-type]


def _decisions_gate(findings: Sequence[Finding], people: int) -> Gate:
    waiting = [finding.identity for finding in findings if finding.open]
    return Gate(
        name="decisions",
        status="fail" if waiting else "pass",
        detail=f"{len(waiting)} findings wait for a decision: {', '.join(waiting[:3])}"
        if waiting
        else "nothing needs a decision",
        checked=people,
    )


def _findings(
    context: Context, unequal: Sequence[FieldDifference], *, closed: Sequence[str], extra: Sequence[str]
) -> list[Finding]:
    found = []
    for name in dict.fromkeys(difference.field for difference in unequal):
        keys = [difference.external_key for difference in unequal if difference.field == name]
        text = "is not what the person's row says; Kill Bill's account was left as it is"
        found.append(_finding(context, "ACCOUNT_DIFFERS", "decision", f"{name} {text}", keys, column=name))
    if closed:
        text = (
            "closed by an earlier undoing; Kill Bill never frees an external key, so these people have no open account"
        )
        found.append(_finding(context, "ACCOUNT_CLOSED", "decision", text, closed))
    if extra:
        text = "accounts of this tenant that belong to none of the people"
        found.append(_finding(context, "ACCOUNT_EXTRA", "note", text, extra))
    return found


def _finding(
    context: Context, code: str, severity: Severity, message: str, keys: Sequence[str], *, column: str | None = None
) -> Finding:
    finding = Finding(
        code=code,
        severity=severity,
        table="accounts",
        column=column,
        message=message,
        count=len(keys),
        keys=tuple(keys[:_KEYS]),
    )
    if severity == "note":
        return finding
    accepted = finding.identity in context.config.plan.accept
    return finding.model_copy(update={"accepted": accepted, "accept": f"accept = [{toml_string(finding.identity)}]"})


def _difference(context: Context, found: FieldDifference) -> Difference:
    source, target = (
        (found.source, found.stored) if context.show_values else (mask_value(found.source), mask_value(found.stored))
    )
    return Difference(
        kind="changed row",
        table="accounts",
        key=found.external_key,
        column=found.field,
        source=source,
        target=target,
        found_by="seed",
    )
