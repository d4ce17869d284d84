"""The documents a command leaves behind: findings, gates, differences and `result.json`.

These models are the documented contract of every `--json` output; docs/schemas/ publishes their JSON Schema.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1

Severity = Literal["note", "widened", "decision", "refusal"]
GateStatus = Literal["pass", "fail", "inconclusive", "skipped"]
Verdict = Literal["pass", "fail", "inconclusive"]


class Document(BaseModel):
    """Base of all documents: unknown keys are an error, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(Document):
    """Something the reader must know about one object of the source.

    `keys` holds up to five row keys as text; `samples` the values belonging to them, already masked
    unless `--show-values` was given. `accept` is the TOML line that answers a widened or decision finding; `rule` is
    the TOML that answers it by a mapping rule instead, where there is one.
    """

    code: str
    severity: Severity
    table: str | None = None
    column: str | None = None
    object: str | None = None
    message: str
    count: int = 0
    keys: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    accept: str | None = None
    rule: str | None = None
    accepted: bool = False

    @property
    def subject(self) -> str:
        """`table.column`, `table` or the object's name: what an acceptance names."""
        if self.table and self.column:
            return f"{self.table}.{self.column}"
        return self.object or self.table or "database"

    @property
    def identity(self) -> str:
        """`CODE:subject`, the string that `accept` in nasmigrate.toml lists."""
        return f"{self.code}:{self.subject}"

    @property
    def open(self) -> bool:
        """True while it keeps the gate `decisions` from passing."""
        return self.severity in ("widened", "decision", "refusal") and not self.accepted


class Gate(Document):
    """A named check with its verdict. `checked` is how many things it looked at: 0 is never a pass."""

    name: str
    status: GateStatus
    detail: str
    checked: int = 0
    seconds: float | None = None


class Difference(Document):
    """A place where source and target do not agree.

    `kind`: missing row (in the source only), extra row (in the target only), changed row, or an object,
    sequence or count that is not as planned. Values are masked unless asked for.
    """

    kind: Literal["missing row", "extra row", "changed row", "count", "object", "sequence", "originals", "chunk"]
    table: str | None = None
    key: str | None = None
    column: str | None = None
    object: str | None = None
    source: str | None = None
    target: str | None = None
    first_differing_byte: int | None = None
    found_by: str = "digests"

    @property
    def words(self) -> str:
        """All of it in a line: `object: later, table (planned nothing, found table)`."""
        where = ", ".join(part for part in (self.table, self.key, self.column, self.object) if part)
        sides = ", ".join(side for side in (self.source, self.target) if side)
        return f"{self.kind}: {where}" + (f" ({sides})" if sides else "")


class TableResult(Document):
    """What happened to one table. Rows are counted on each side on its own; None = not counted."""

    name: str
    rows_source: int | None = None
    rows_target: int | None = None
    bytes_copied: int = 0
    chunks: int = 0
    seconds: float = 0.0
    digest: str | None = None
    originals: int = 0
    equal: bool | None = None


class Prediction(Document):
    """What the night will cost, each figure with its basis. Seconds and bytes."""

    write_pause_seconds: float
    write_pause_basis: str
    copy_seconds: float
    copy_basis: str
    disk_bytes: int
    disk_basis: str


class Result(Document):
    """The outcome of one command: `result.json`.

    `excluded_tables` are those of the source that were left out as asked: nothing of them was copied or checked.
    `timeline` is (phase, seconds) in order. `fingerprint` is the digest over all tables when all were proven.
    """

    format_version: int = FORMAT_VERSION
    command: str
    nasmigrate_version: str
    started_at: str
    seconds: float
    verdict: Verdict
    exit_code: int
    source: str
    target: str
    run_directory: str | None = None
    plan_hash: str | None = None
    source_sha256: str | None = None
    fingerprint: str | None = None
    gates: tuple[Gate, ...] = ()
    tables: tuple[TableResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    excluded_tables: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    differences_total: int = 0
    timeline: tuple[tuple[str, float], ...] = ()
    rates: dict[str, float] = Field(default_factory=dict)
    prediction: Prediction | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    next_step: str | None = None
