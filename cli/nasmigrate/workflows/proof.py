"""The gates: every check of a finished copy, each with its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from nasmigrate.core.errors import TargetError
from nasmigrate.core.result import Difference, Gate, TableResult
from nasmigrate.postgres.catalogue import catalogue_facts, compare_catalogue, compare_facts
from nasmigrate.postgres.connect import connected, mapped_errors
from nasmigrate.postgres.digests import count_rows
from nasmigrate.postgres.finish import check_sequences
from nasmigrate.postgres.ledger import read_originals
from nasmigrate.postgres.quarantine import stored_rows
from nasmigrate.schema.digest import fingerprint
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.model import SourceSchema, StorageClass
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.quarantine import count_aside, with_aside, without_aside
from nasmigrate.verify.digests import TableOutcome, compare_digests
from nasmigrate.verify.expressions import compare_expressions
from nasmigrate.verify.localise import Localiser
from nasmigrate.verify.round_trip import round_trip
from nasmigrate.verify.views import compare_views
from nasmigrate.workflows.aside import compare_aside
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import Source, file_state

_NOT_AS_PLANNED = "42"
"""Class of sqlstates for undefined tables, columns and functions, and for type mismatches."""
NAMED = 200
"""Differences a result names; the rest is counted."""


@dataclass(slots=True)
class Proof:
    """Gates, differences and per-table results as they come in."""

    gates: list[Gate] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    total: int = 0
    tables: dict[str, TableResult] = field(default_factory=dict)
    fingerprint: str | None = None

    def add(self, gate: Gate, differences: list[Difference] | None = None, total: int | None = None) -> None:
        """Take in one gate and the differences behind it."""
        self.gates.append(gate)
        found = differences or []
        self.differences += found[: max(0, NAMED - len(self.differences))]
        self.total += len(found) if total is None else total

    def leave_open(self, name: str, detail: str) -> None:
        """Take back a failure that a second look did not confirm; that does not make it a pass."""
        self.gates = [
            gate.model_copy(update={"status": "inconclusive", "detail": detail})
            if gate.name == name and gate.status == "fail"
            else gate
            for gate in self.gates
        ]


def high_water(schema: SourceSchema) -> dict[str, int]:
    """Table -> `sqlite_sequence.seq`."""
    return {table.name: table.sequence for table in schema.tables if table.sequence is not None}


def decisions_gate(plan: Plan) -> Gate:
    """Fails until every widened or decision finding is accepted by name."""
    findings = plan.findings
    looked_at = sum(len(table.columns) for table in plan.tables) + len(plan.not_carried)
    open_ones = [finding for finding in findings if finding.open]
    answerable = [finding for finding in findings if finding.severity != "note"]
    if open_ones:
        names = ", ".join(finding.identity for finding in open_ones[:3])
        more = f" and {len(open_ones) - 3} more" if len(open_ones) > 3 else ""
        return Gate(
            name="decisions",
            status="fail",
            detail=f"{len(open_ones)} findings wait for a decision: {names}{more}",
            checked=looked_at,
        )
    detail = f"{len(answerable)} accepted" if answerable else "nothing needs a decision"
    return Gate(name="decisions", status="pass" if looked_at else "inconclusive", detail=detail, checked=looked_at)


def stillness_gate(source: Source) -> Gate:
    """Whether anyone wrote to the source since the snapshot: such rows are not in the target."""
    still = file_state(source.path) == source.state
    return Gate(
        name="source-still",
        status="pass" if still else "fail",
        detail="nobody wrote to the source since the snapshot"
        if still
        else "the source was written to after the snapshot; the newer rows are not in the target",
        checked=1,
    )


def prove(
    run: Run,
    conninfo: str,
    plan: Plan,
    source: Source,
    expected: Mapping[str, list[ChunkRow]],
    *,
    recorded: Mapping[str, str] | None,
    with_round_trip: bool,
) -> Proof:
    """Run every check of the target against the source.

    Args:
        run: the run.
        conninfo: the target.
        plan: what was promised.
        source: the snapshot everything is compared with.
        expected: what the source side's digests are, by chunk.
        recorded: the catalogue's facts as they were after the load, None when not known.
        with_round_trip: also decode everything back and compare it inside SQLite.
    """
    proof = Proof()
    with connected(conninfo, purpose="nasmigrate verify") as connection:
        outcomes: list[TableOutcome] = []
        with run.phase("counts"), _or_inconclusive(proof, connection, "counts"):
            _counts(proof, connection, plan, source)
        with run.phase("digests"), _or_inconclusive(proof, connection, "digests", "originals"):
            outcomes = _digests(run, proof, conninfo, plan, expected)
        if any(outcome.mismatches for outcome in outcomes):
            with run.phase("localise"):
                _localise(run, proof, connection, plan, source, outcomes)
                connection.commit()
        with run.phase("objects"):
            _objects(proof, connection, plan, recorded)
            connection.commit()
            with _or_inconclusive(proof, connection, "sequences"):
                _sequences(proof, connection, plan, source)
        if any(table.kept for table in plan.tables):
            with run.phase("quarantine"), _or_inconclusive(proof, connection, "quarantine"):
                proof.add(*compare_aside(source.snapshot, connection, plan))
        with run.phase("expressions"), _or_inconclusive(proof, connection, "expressions"):
            _expressions(run, proof, connection, plan, source, expected)
        if plan.views:
            with run.phase("views"), _or_inconclusive(proof, connection, "views"):
                _views(run, proof, connection, plan, source)
        if with_round_trip:
            with run.phase("round trip"), _or_inconclusive(proof, connection, "round-trip"):
                round_trip_gate(run, proof, connection, plan, source)
    indexes_gate(run, proof)
    return proof


@contextmanager
def _or_inconclusive(proof: Proof, connection: psycopg.Connection, *names: str) -> Iterator[None]:
    """A check that the target's shape forbids (a lost table or column, another type) is inconclusive.

    The gate `objects` says what is wrong with the shape; any other error passes on.
    """
    try:
        with mapped_errors("checking the target"):
            yield
    except TargetError as error:
        if not str(error.details.get("sqlstate", "")).startswith(_NOT_AS_PLANNED):
            raise
        connection.rollback()
        for name in names:
            detail = f"could not be run, the target is not as planned: {error.message}"
            proof.add(Gate(name=name, status="inconclusive", detail=detail))
    else:
        connection.commit()


def indexes_gate(run: Run, proof: Proof) -> None:
    """Wait for what the examination says of the source's indexes, where there was one."""
    with run.phase("source indexes"):
        gate = run.examiner.indexes()
    if gate is not None:
        proof.add(gate)


def _counts(proof: Proof, connection: psycopg.Connection, plan: Plan, source: Source) -> None:
    started = time.perf_counter()
    differences = []
    rows = 0
    aside = _aside(source, plan)
    for table in plan.tables:
        ours, theirs = source.counts.get(table.name), count_rows(connection, table)
        if ours is not None:
            ours -= aside.get(table.name, 0)
        rows += theirs
        proof.tables[table.name] = TableResult(name=table.name, rows_source=ours, rows_target=theirs)
        if ours != theirs:
            differences.append(
                Difference(
                    kind="count",
                    table=table.name,
                    source=f"{ours} rows",
                    target=f"{theirs} rows",
                    found_by="counts",
                )
            )
    tables = len(plan.tables)
    proof.add(
        Gate(
            name="counts",
            status="fail" if differences else "pass" if tables else "inconclusive",
            detail=f"{rows:,} rows in {tables} tables, counted on both sides"
            if not differences
            else f"{len(differences)} of {tables} tables have another number of rows",
            checked=tables,
            seconds=round(time.perf_counter() - started, 3),
        ),
        differences,
    )


def _aside(source: Source, plan: Plan) -> dict[str, int]:
    """Table -> how many rows of the snapshot are set aside."""
    tables = [table for table in plan.tables if table.kept]
    if not tables:
        return {}
    with closing(open_snapshot(source.snapshot)) as reader:
        return {table.name: count_aside(reader, table) for table in tables}


def _digests(
    run: Run, proof: Proof, conninfo: str, plan: Plan, expected: Mapping[str, list[ChunkRow]]
) -> list[TableOutcome]:
    started = time.perf_counter()
    totals = {name: sum(chunk.rows for chunk in chunks) for name, chunks in expected.items()}
    outcomes = compare_digests(
        conninfo,
        plan,
        expected,
        connections=run.verify_connections,
        progress=run.meter("verify", [table.name for table in plan.tables], totals),
    )
    for outcome in outcomes:
        known = proof.tables.get(outcome.table, TableResult(name=outcome.table))
        chunks = expected.get(outcome.table, [])
        proof.tables[outcome.table] = known.model_copy(
            update={
                "digest": outcome.digest.hex(),
                "chunks": outcome.chunks,
                "bytes_copied": sum(chunk.size for chunk in chunks),
                "originals": sum(chunk.originals for chunk in chunks),
                "equal": bool(outcome.chunks)
                and not outcome.mismatches
                and known.rows_source == known.rows_target == outcome.rows_target,
            }
        )
    unchecked = [outcome.table for outcome in outcomes if not outcome.chunks]
    bad = [outcome for outcome in outcomes if outcome.mismatches]
    chunks_checked = sum(outcome.chunks for outcome in outcomes)
    columns = sum(len(table.columns) for table in plan.tables)
    if bad:
        detail = "differences in " + ", ".join(outcome.table for outcome in bad[:5])
    elif unchecked:
        detail = "no digests known for " + ", ".join(unchecked[:5])
    else:
        detail = f"{columns} columns of {len(outcomes)} tables in {chunks_checked} chunks are equal"
        proof.fingerprint = fingerprint(outcome.digest for outcome in outcomes)
    values_differ = any(
        mismatch.columns is None or mismatch.columns or not mismatch.originals
        for outcome in bad
        for mismatch in outcome.mismatches
    )
    seconds = round(time.perf_counter() - started, 3)
    status_of_rest = "inconclusive" if unchecked or not chunks_checked else "pass"
    proof.add(
        Gate(
            name="digests",
            status="fail" if values_differ else status_of_rest,  # type: ignore[arg-type]
            detail=detail,
            checked=chunks_checked,
            seconds=seconds,
        )
    )
    originals = sum(chunk.originals for chunks in expected.values() for chunk in chunks)
    differing = sum(1 for outcome in bad for mismatch in outcome.mismatches if mismatch.originals)
    proof.add(
        Gate(
            name="originals",
            status="fail" if differing else status_of_rest,  # type: ignore[arg-type]
            detail=f"{differing} chunks keep other originals"
            if differing
            else f"{originals} values kept in their original form",
            checked=chunks_checked,
        )
    )
    return outcomes


def _localise(
    run: Run,
    proof: Proof,
    connection: psycopg.Connection,
    plan: Plan,
    source: Source,
    outcomes: list[TableOutcome],
) -> None:
    unresolved = True
    with closing(open_snapshot(source.snapshot)) as reader:
        localiser = Localiser(reader, connection, plan, show_values=run.context.show_values)
        for outcome in outcomes:
            if outcome.mismatches:
                found, total = localiser.table(outcome)
                unresolved = unresolved and all(difference.kind == "chunk" for difference in found)
                proof.differences += found[: max(0, NAMED - len(proof.differences))]
                proof.total += total
    if unresolved:
        proof.leave_open(
            "digests", "rows changed while they were compared: verify again when nobody writes to the target"
        )


def _objects(proof: Proof, connection: psycopg.Connection, plan: Plan, recorded: Mapping[str, str] | None) -> None:
    # Tables that others made were not planned.
    wanted = "as they were" if plan.existing else "as planned"
    differences, checked = ([], 0) if plan.existing else compare_catalogue(connection, plan)
    if recorded is not None:
        now = catalogue_facts(connection, plan.relations)
        seen = {(difference.table, difference.object) for difference in differences}
        differences += [
            difference
            for difference in compare_facts(recorded, now)
            if (difference.table, difference.object) not in seen
        ]
        checked += len(now)
    proof.add(
        Gate(
            name="objects",
            status="fail" if differences else "pass" if checked else "inconclusive",
            detail=f"{len(differences)} objects are not {wanted}"
            if differences
            else f"columns, keys, indexes and constraints are {wanted}",
            checked=checked,
        ),
        differences,
    )


def _expressions(
    run: Run,
    proof: Proof,
    connection: psycopg.Connection,
    plan: Plan,
    source: Source,
    expected: Mapping[str, list[ChunkRow]],
) -> None:
    outcome = compare_expressions(source.snapshot, connection, plan, source.schema, expected, run.directory.root)
    proof.add(outcome.gate, list(outcome.differences))


def _views(run: Run, proof: Proof, connection: psycopg.Connection, plan: Plan, source: Source) -> None:
    snapshot = source.snapshot
    if any(table.kept for table in plan.tables):
        # Views of the target do not see the rows set aside: SQLite's shall not either.
        snapshot = run.directory.path("without-rows-set-aside.db")
        without_aside(source.snapshot, plan, snapshot)
    try:
        outcome = compare_views(snapshot, connection, plan, run.directory.root)
    finally:
        if snapshot != source.snapshot:
            snapshot.unlink(missing_ok=True)
    proof.add(outcome.gate, list(outcome.differences))


def _sequences(proof: Proof, connection: psycopg.Connection, plan: Plan, source: Source) -> None:
    with closing(open_snapshot(source.snapshot)) as reader:
        used = with_aside(reader, plan, high_water(source.schema))
    differences, checked = check_sequences(connection, plan, used)
    proof.add(
        Gate(
            name="sequences",
            status="fail" if differences else "pass" if checked else "skipped",
            detail=f"{len(differences)} of {checked} would give out a used number"
            if differences
            else f"{checked} give out numbers that were never used"
            if checked
            else "no table numbers its rows",
            checked=checked,
        ),
        differences,
    )


def round_trip_gate(
    run: Run,
    proof: Proof,
    connection: psycopg.Connection,
    plan: Plan,
    source: Source,
    *,
    written_since: bool = False,
) -> None:
    """Decode what `connection` sees back into SQLite, compare it with the snapshot, and add the gate to `proof`."""

    def originals(table: PlanTable) -> dict[tuple[bytes, str], list[tuple[int, StorageClass, bytes]]]:
        found: dict[tuple[bytes, str], list[tuple[int, StorageClass, bytes]]] = {}
        for key, ordinal, column, storage, value in read_originals(connection, table.name):
            found.setdefault((key, column), []).append((ordinal, StorageClass(storage), value))
        return found

    outcome = round_trip(
        connection,
        plan,
        source.schema,
        source.snapshot,
        run.directory.root,
        originals=originals,
        written_since=written_since,
        aside=lambda table: stored_rows(connection, table) if table.kept else (),
        show_values=run.context.show_values,
        progress=run.meter("round trip", [table.name for table in plan.tables], source.counts),
    )
    proof.add(outcome.gate, list(outcome.differences), outcome.total)
