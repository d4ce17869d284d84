"""`nasmigrate copy --into-existing`: rows alone, into tables that an ORM or a migration tool made.

The catalogues are compared first, and everything that does not fit is said at once. Then all rows go in within one
transaction, and with them the ledger: it is committed when every foreign key holds, or nothing was done.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg

from nasmigrate.core.config_model import SeedPolicy
from nasmigrate.core.context import Context
from nasmigrate.core.errors import CopyFailed, RolledBack, TargetMismatch, TransferError
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.apply import check_moved, moved_rows
from nasmigrate.postgres.catalogue import catalogue_facts, compare_facts
from nasmigrate.postgres.connect import connected, server_facts
from nasmigrate.postgres.control import await_writers, set_state
from nasmigrate.postgres.digests import bucket_digests, range_digest
from nasmigrate.postgres.existing import delete_rows, lock_tables, orphans, read_existing
from nasmigrate.postgres.finish import analyze, set_sequences
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.postgres.preflight import check_target
from nasmigrate.postgres.quiet import quiet
from nasmigrate.schema.existing import ExistingTable
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.plan import Plan
from nasmigrate.transfer.engine import TableCopied
from nasmigrate.transfer.within import copy_within
from nasmigrate.workflows.conclude import conclude
from nasmigrate.workflows.fit import fit
from nasmigrate.workflows.load import Loaded, copy_job, record_run
from nasmigrate.workflows.prepare import Prepared
from nasmigrate.workflows.proof import high_water
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.source import take_source
from nasmigrate.workflows.state import naming_state, nothing_written
from nasmigrate.workflows.target import lock_target, refuse_earlier_copy

KEEP: SeedPolicy = "keep-if-equal"


def copy_into_existing(context: Context, source: Path, target: Target, *, round_trip: bool = False) -> Result:
    """Copy all rows into the target's own tables and prove it. No object of the target is changed.

    Args:
        context: settings and reporter.
        source: the SQLite file; it is only read, and nobody may write to it meanwhile (that is checked).
        target: a database whose schema `public` has a table for each of the source's.
        round_trip: also decode everything back into SQLite and compare.

    Raises:
        TargetMismatch: a table or a column does not take the source's rows as they are.
        TargetNotEmpty: a table holds rows, and the configuration does not say what is to become of them.
        RolledBack: Postgres refused rows; the target is as it was.
        SourceError, SchemaError, TargetError: what could not be done.
    """
    with running(context, "copy") as run:
        run.examiner.prepare()
        existing = _examine(target)
        prepared = fit(run, take_source(run, source), existing)
        with naming_state(target.conninfo):
            loaded = _load(run, target, prepared, existing)
            return conclude(run, target, prepared, loaded, round_trip=round_trip)


def _examine(target: Target) -> dict[str, ExistingTable]:
    """The target's tables, of a server that is fit and holds no copy of ours."""
    with nothing_written(), connected(target.conninfo) as connection:
        check_target(connection, target.conninfo, makes_tables=False)
        refuse_earlier_copy(connection, target.display)
        existing = read_existing(connection)
        connection.commit()
    return existing


def _load(run: Run, target: Target, prepared: Prepared, existing: Mapping[str, ExistingTable]) -> Loaded:
    """Everything in one transaction.

    Raises:
        RolledBack: something did not hold; the target is as it was.
    """
    plan = prepared.plan
    seeds = run.context.config.existing.seeds
    with connected(target.conninfo, purpose="nasmigrate copy") as connection:
        with run.phase("target", target.display):
            facts = server_facts(connection)
            connection.commit()
            lock_target(connection)
            await_writers(connection)
            lock_tables(connection, [table.target for table in plan.tables])
            _refuse_changes(read_existing(connection), existing, plan)
            catalogue = _facts(connection, plan)
            run_id = record_run(run, connection, prepared)
        try:
            copied = _copy(run, connection, prepared, existing, run_id)
            ledger = read_chunks(connection, run_id)
            _check_kept(connection, plan, ledger, seeds)
            _check_keys(connection, plan, read_existing(connection))
            changed = compare_facts(catalogue, _facts(connection, plan))
            if changed:
                raise TransferError(f"{changed[0].object}: not as it was ({changed[0].target})")
        except (CopyFailed, TransferError) as error:
            connection.rollback()
            raise RolledBack(
                f"{error.message}; the target is as it was",
                hint="correct the source or the target's schema, then copy again",
                details=error.details,
            ) from error
        with run.phase("finish", "sequences, statistics"):
            # Last before the commit: what a sequence was set to is not rolled back.
            set_sequences(connection, plan, high_water(prepared.source.schema))
            analyze(connection, plan)
            set_state(connection, run_id, "finished", catalogue)
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            connection.commit()
    return Loaded(
        run_id=run_id,
        held=None,
        ledger=ledger,
        catalogue=catalogue,
        copied=copied,
        engine="",
        server=facts,
        database_bytes=int(row[0]) if row else 0,
    )


def _facts(connection: psycopg.Connection, plan: Plan) -> dict[str, str]:
    return catalogue_facts(connection, [table.target for table in plan.tables])


def _refuse_changes(now: Mapping[str, ExistingTable], then: Mapping[str, ExistingTable], plan: Plan) -> None:
    """Refuse tables that are no longer as they were when the plan was made, in shape or in rows."""
    changed = [table.target for table in plan.tables if now.get(table.target) != then[table.target]]
    if changed:
        raise TargetMismatch(
            f"{changed[0]}: changed in the target while the source was read; nothing was touched",
            hint="stop the application there, then copy again",
            checks=changed,
        )


def _copy(
    run: Run,
    connection: psycopg.Connection,
    prepared: Prepared,
    existing: Mapping[str, ExistingTable],
    run_id: str,
) -> list[TableCopied]:
    plan, seeds = prepared.plan, run.context.config.existing.seeds
    order = [table.name for table in plan.tables]
    kept = [table.name for table in plan.tables if seeds.get(table.name) == KEEP and existing[table.target].rows]
    totals = {name: plan.evidence[name].rows for name in order}
    with run.phase("copy", f"{sum(totals.values())} rows"):
        before = moved_rows(connection)
        with quiet(connection, plan, [table.target for table in plan.tables]) as silence:
            for table in plan.tables:
                if existing[table.target].rows and table.name not in kept:
                    delete_rows(connection, table.target)
            copied = copy_within(
                copy_job(run, "", prepared, run_id, {}), connection, run.meter("copy", order, totals), kept=kept
            )
            wanted = {
                ("public", table.target): (
                    0 if table.name in kept else totals[table.name],
                    0,
                    0 if table.name in kept else existing[table.target].rows,
                )
                for table in plan.tables
            }
            check_moved(before, moved_rows(connection), wanted)
            silence.check(())
    return copied


def _check_kept(
    connection: psycopg.Connection,
    plan: Plan,
    ledger: Mapping[str, list[ChunkRow]],
    seeds: Mapping[str, SeedPolicy],
) -> None:
    """Rows that were to stay are the source's.

    Raises:
        TransferError: they are not.
    """
    for table in plan.tables:
        if seeds.get(table.name) != KEEP:
            continue
        codecs, chunks = table.codecs(), ledger[table.name]
        if table.mode == "range":
            found = {c.chunk: range_digest(connection, table, codecs, c.after, c.last, careful=True) for c in chunks}
        else:
            bits = chunks[0].after
            assert bits is not None and isinstance(bits[0], int)  # noqa: S101 - the bits of a bucket
            found = bucket_digests(connection, table, codecs, bits[0])
        rows = sum(digest.rows for digest in found.values())
        same = all(
            (chunk.rows == 0 and chunk.chunk not in found)
            or (chunk.chunk in found and chunk.digests == found[chunk.chunk].digests)
            for chunk in chunks
        )
        if not same or rows != sum(chunk.rows for chunk in chunks):
            raise TransferError(
                f"SEED_DIFFERS: {table.name}: the target's rows are not the source's",
                hint='look at them, then say "replace" instead of "keep-if-equal"',
                details={"table": table.name},
            )


def _check_keys(connection: psycopg.Connection, plan: Plan, existing: Mapping[str, ExistingTable]) -> None:
    """Every foreign key from or to a table of the plan holds, whether or not it acted meanwhile.

    Raises:
        TransferError: a row has no parent.
    """
    ours = {table.target for table in plan.tables}
    for table in existing.values():
        for key in table.foreign_keys:
            if (table.name in ours or key.parent in ours) and (missing := orphans(connection, key)):
                raise TransferError(
                    f"{table.name}: rows without the parent in {key.parent} that {key.name} asks for:"
                    f" {'; '.join(missing)}",
                    details={"table": table.name, "constraint": key.name, "keys": missing},
                    code="NM0905",
                )
