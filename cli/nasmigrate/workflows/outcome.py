"""The result of a run: verdict, figures, prediction, next step; written as `result.json`."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

import apsw
import psycopg

from nasmigrate import __version__
from nasmigrate.core.errors import ExitCode
from nasmigrate.core.result import Finding, Gate, Prediction, Result, TableResult, Verdict
from nasmigrate.postgres.connect import ServerFacts
from nasmigrate.schema.plan import Plan
from nasmigrate.transfer.engine import TableCopied
from nasmigrate.workflows.prepare import Prepared
from nasmigrate.workflows.proof import Proof
from nasmigrate.workflows.run import Run

_FIXED_PAUSE = 0.3
"""Seconds for fence, opening and route, as measured on a local server; the application's restart is not in it."""
_CHANGED_SHARE = 0.01
"""Share of the chunks assumed to have changed since the last catch-up pass."""


def verdict_of(gates: Sequence[Gate]) -> tuple[Verdict, ExitCode]:
    """One failed gate fails all; nothing checked, or a gate that could not be checked, is never a pass."""
    if any(gate.status == "fail" for gate in gates):
        return "fail", ExitCode.DIFFERENCES
    if not gates or any(gate.status == "inconclusive" for gate in gates):
        return "inconclusive", ExitCode.INCONCLUSIVE
    return "pass", ExitCode.OK


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def predict(
    run: Run, prepared: Prepared, copied: Sequence[TableCopied], database_bytes: int
) -> tuple[Prediction, dict[str, float]]:
    """What the night will cost on this machine, from the rates of this run; and those rates (rows/s)."""
    rows = sum(evidence.rows for evidence in prepared.plan.evidence.values())
    scan = max(prepared.scan_seconds, 1e-3)
    digests = run.seconds_of("digests")
    pause = scan + digests * _CHANGED_SHARE + _FIXED_PAUSE
    load_phases = ("snapshot", "profile", "tables", "copy", "keys", "finish", "counts", "digests", "objects")
    copy_seconds = sum(run.seconds_of(name) for name in load_phases)
    size = prepared.source.size
    disk = size + 3 * database_bytes
    prediction = Prediction(
        write_pause_seconds=round(pause, 2),
        write_pause_basis=(
            f"one reading of {rows:,} rows at {rows / scan:,.0f} rows/s as measured now, digests of 1 % of the chunks,"
            f" {_FIXED_PAUSE} s for fence, opening and route; the application's own restart comes on top"
        ),
        copy_seconds=round(copy_seconds, 2),
        copy_basis="snapshot, profile, copy, keys, statistics and checks as they took now",
        disk_bytes=disk,
        disk_basis=f"snapshot {_megabytes(size)}, target {_megabytes(database_bytes)}, twice that for write-ahead log,"
        " index builds and a dump",
    )
    rates = {"scan_rows_per_second": round(rows / scan, 1)}
    seconds = run.seconds_of("copy")
    if seconds:
        rates["copy_rows_per_second"] = round(sum(table.rows for table in copied) / seconds, 1)
    if digests:
        rates["digest_rows_per_second"] = round(rows / digests, 1)
    return prediction, rates


_BY_CODE_POINT = ("C", "POSIX", "C.UTF-8", "C.utf8", "PG_C_UTF8")


def collation_note(server: ServerFacts) -> Iterator[Finding]:
    """Said of a database that sorts text otherwise than SQLite does; our own columns do not follow it."""
    if server.collation.partition(": ")[2] not in _BY_CODE_POINT:
        yield Finding(
            code="TARGET_COLLATION",
            severity="note",
            object=server.database,
            message=f"the database sorts text by {server.collation}; the columns made here sort by code point"
            ' (COLLATE "C"), as SQLite does, and what is created later follows the database',
        )


def finish(
    run: Run,
    *,
    source: str,
    target: str,
    plan: Plan | None,
    source_sha256: str | None,
    proof: Proof,
    copied: Sequence[TableCopied] = (),
    prediction: Prediction | None = None,
    rates: dict[str, float] | None = None,
    server: ServerFacts | None = None,
    engine: str | None = None,
    next_step: dict[Verdict, str] | None = None,
    decided: bool = False,
) -> Result:
    """Assemble the result, write it to the run directory, return it.

    With `decided` one engine serves by now, so a result that cannot be written is no error; see `Run.keep`.
    """
    verdict, code = verdict_of(proof.gates)
    seconds = {table.table: table.seconds for table in copied}
    tables: list[TableResult] = [
        table.model_copy(update={"seconds": round(seconds.get(name, 0.0), 3)}) for name, table in proof.tables.items()
    ]
    environment = {
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "psycopg": psycopg.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if server is not None:
        environment |= {"postgres": server.version, "collation": server.collation}
    if engine:
        environment["engine"] = engine
    result = Result(
        command=run.command,
        nasmigrate_version=__version__,
        started_at=run.started_at,
        seconds=round(run.elapsed, 3),
        verdict=verdict,
        exit_code=int(code),
        source=source,
        target=target,
        run_directory=str(run.directory.root),
        plan_hash=plan.hash if plan else None,
        source_sha256=source_sha256,
        fingerprint=proof.fingerprint,
        gates=tuple(proof.gates),
        tables=tuple(tables),
        findings=(*(plan.findings if plan else ()), *(collation_note(server) if server else ())),
        excluded_tables=plan.excluded if plan else (),
        differences=tuple(proof.differences),
        differences_total=proof.total,
        timeline=tuple(run.timeline),
        rates=rates or {},
        prediction=prediction,
        environment=environment,
        next_step=(next_step or {}).get(verdict),
    )
    if decided:
        run.keep("result.json", result)
    else:
        run.directory.write_json("result.json", result)
    return result
