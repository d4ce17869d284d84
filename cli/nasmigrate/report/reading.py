"""What a `Result` says: the verdict in words, what supports it, what contradicts it. Both renderings use it.

A rendering must not look better than its evidence, so the reasons are taken from gates, tables and
differences, not from the verdict alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nasmigrate.core.result import Finding, Result, TableResult
from nasmigrate.report.figures import count, plural

TableState = Literal["equal", "differs", "unproven"]

# Commands whose pass is a claim about tables; without a gate or a table there is nothing behind the claim.
_PROVING = ("rehearse", "verify", "cutover")
_QUESTIONS = {
    "rehearse": ("Can I go tonight?", "Yes, you can go tonight.", "No, not tonight.", "Not yet known."),
    "verify": ("Are both sides equal?", "Yes, both sides are equal.", "No.", "Not known."),
    "copy": ("Is everything copied?", "Yes, copied and proven.", "No.", "Not known."),
    "cutover": ("Did the cutover succeed?", "Yes, and it is proven.", "No.", "Not known."),
    "rollback": ("Is everything home?", "Yes, and it is proven.", "No.", "Not known."),
    "backup": ("Does the backup restore?", "Yes: it was restored and compared.", "No.", "Not known."),
    "restore": ("Is everything restored?", "Yes, and it is proven.", "No.", "Not known."),
}
_WHOLE_DATABASES = ("backup", "restore")
_ANY = ("Did it work?", "Yes.", "No.", "Not known.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The first thing read: a word (PASS, FAIL, INCONCLUSIVE), the question it answers, the answer, why."""

    word: str
    question: str
    answer: str
    reasons: tuple[str, ...]
    contradictions: tuple[str, ...] = ()

    @property
    def tone(self) -> str:
        """`pass`, `fail` or `inconclusive`: the colour; a verdict that contradicts its evidence is no pass."""
        return "fail" if self.contradictions else self.word.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """Findings that wait for an answer, and those already answered, of one table or of the whole database."""

    subject: str
    open: tuple[Finding, ...]
    accepted: tuple[Finding, ...]


def headline(result: Result) -> Headline:
    """The verdict with its reasons."""
    question, yes, no, unknown = _QUESTIONS.get(result.command, _ANY)
    contradictions = tuple(_contradictions(result)) if result.verdict == "pass" else ()
    if contradictions:
        answer = "No: this result contradicts itself."
    else:
        answer = {"pass": yes, "fail": no, "inconclusive": unknown}[result.verdict]
    return Headline(
        word=result.verdict.upper(),
        question=question,
        answer=answer,
        reasons=tuple(_reasons(result)),
        contradictions=contradictions,
    )


def table_state(table: TableResult) -> TableState:
    """Equal only when the digests agree and both sides were counted, separately, to the same number."""
    counted = table.rows_source is not None and table.rows_target is not None
    if table.equal is False or (counted and table.rows_source != table.rows_target):
        return "differs"
    return "equal" if table.equal and counted else "unproven"


def rows_sign(table: TableResult) -> str:
    """What stands between the two counts: `=`, `!=`, or `?` when a side was not counted."""
    if table.rows_source is None or table.rows_target is None:
        return "?"
    return "=" if table.rows_source == table.rows_target else "!="


def open_findings(result: Result) -> tuple[Finding, ...]:
    """The findings that keep the gate `decisions` from passing."""
    return tuple(finding for finding in result.findings if finding.open)


def accept_line(finding: Finding) -> str | None:
    """The TOML line that answers a finding; a refusal has none, whatever the document says."""
    return None if finding.severity == "refusal" else finding.accept


def acceptances(result: Result) -> tuple[str, ...]:
    """Every entry `[plan] accept` needs, those it has included; empty when one finding's own line is enough."""
    answerable = [finding for finding in result.findings if finding.severity in ("widened", "decision")]
    waiting = any(not finding.accepted for finding in answerable)
    identities = tuple(dict.fromkeys(finding.identity for finding in answerable))
    return identities if waiting and len(identities) > 1 else ()


def notes(result: Result) -> tuple[Finding, ...]:
    """The findings the application will not notice."""
    return tuple(finding for finding in result.findings if finding.severity == "note")


def finding_groups(result: Result) -> tuple[FindingGroup, ...]:
    """Findings other than notes by table, in order of appearance; those of no table under their object."""
    groups: dict[str, list[Finding]] = {}
    for finding in result.findings:
        if finding.severity != "note":
            groups.setdefault(finding.table or finding.object or "database", []).append(finding)
    return tuple(
        FindingGroup(
            subject=subject,
            open=tuple(finding for finding in findings if finding.open),
            accepted=tuple(finding for finding in findings if not finding.open),
        )
        for subject, findings in groups.items()
    )


def differences_total(result: Result) -> int:
    """How many differences there are; the document may list fewer."""
    return max(result.differences_total, len(result.differences))


def copy_seconds(result: Result) -> float | None:
    """Measured seconds of the phase `copy`, or None when it did not run."""
    measured = [seconds for phase, seconds in result.timeline if phase == "copy"]
    return sum(measured) if measured else None


def gate_summary(result: Result) -> str:
    """`7 passed, 1 failed, 1 skipped`."""
    words = (("pass", "passed"), ("fail", "failed"), ("inconclusive", "inconclusive"), ("skipped", "skipped"))
    numbers = ((sum(gate.status == status for gate in result.gates), word) for status, word in words)
    return ", ".join(f"{number} {word}" for number, word in numbers if number) or "none"


def compared(result: Result) -> str:
    """What each of the result's tables stands for: `table`, or the `database` that was dumped or restored whole."""
    return "database" if result.command in _WHOLE_DATABASES else "table"


def table_summary(result: Result) -> str:
    """`22 tables, 752,865 rows, all equal`."""
    states = [table_state(table) for table in result.tables]
    rows = [table.rows_source for table in result.tables if table.rows_source is not None]
    parts = [plural(len(states), compared(result)), plural(sum(rows), "row") if rows else "rows not counted"]
    if states.count("differs"):
        verb = "differs" if states.count("differs") == 1 else "differ"
        parts.append(f"{count(states.count('differs'))} {verb}")
    if states.count("unproven"):
        parts.append(f"{count(states.count('unproven'))} not proven")
    if states and states.count("equal") == len(states):
        parts.append("all equal")
    return ", ".join(parts)


def _reasons(result: Result) -> Iterable[str]:
    gates = result.gates
    for status, word in (("fail", "failed"), ("inconclusive", "could not be decided")):
        names = [gate.name for gate in gates if gate.status == status]
        if names:
            yield f"{len(names)} of {plural(len(gates), 'gate')} {word}: {', '.join(names)}."
    if total := differences_total(result):
        yield f"{plural(total, 'difference')} between source and target."
    waiting = len(open_findings(result))
    if waiting:
        yield f"{plural(waiting, 'finding')} {'waits' if waiting == 1 else 'wait'} for your decision."
    if result.verdict == "pass":
        passed = sum(gate.status == "pass" for gate in gates)
        if gates:
            which = "Every gate passed" if passed == len(gates) else f"{passed} of {plural(len(gates), 'gate')} passed"
            yield f"{which}{', the others were skipped' if _rest_skipped(result) else ''}."
        if result.tables and all(table_state(table) == "equal" for table in result.tables):
            yield f"{table_summary(result)}: counted and compared by digest on both sides."
    elif not any(gate.status in ("fail", "inconclusive") for gate in gates):
        yield f"The command ended with exit code {result.exit_code}; no gate says more."


def _rest_skipped(result: Result) -> bool:
    statuses = {gate.status for gate in result.gates}
    return statuses == {"pass", "skipped"}


def _contradictions(result: Result) -> Iterable[str]:
    """Why a verdict `pass` cannot be right. Nothing here should ever be seen; if it is, it must be seen first."""
    if result.exit_code:
        yield f"the verdict is pass, but the exit code is {result.exit_code}"
    for gate in result.gates:
        if gate.status in ("fail", "inconclusive"):
            yield f"the verdict is pass, but gate {gate.name} is {gate.status}"
        elif gate.status == "pass" and gate.checked <= 0:
            yield f"gate {gate.name} passed without checking anything"
    if differences_total(result):
        yield f"the verdict is pass, but there are {plural(differences_total(result), 'difference')}"
    for table in result.tables:
        if table_state(table) == "differs":
            yield f"the verdict is pass, but table {table.name} differs"
    for finding in open_findings(result):
        yield f"the verdict is pass, but {finding.identity} is not accepted"
    if result.command in _PROVING:
        if not any(gate.status == "pass" for gate in result.gates):
            yield "the verdict is pass, but no gate passed"
        if not result.tables:
            yield "the verdict is pass, but no table was compared"
        for table in result.tables:
            if table_state(table) == "unproven":
                yield f"the verdict is pass, but table {table.name} was not compared"
