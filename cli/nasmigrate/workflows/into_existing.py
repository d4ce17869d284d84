"""`nasmigrate copy --into-existing`: rows alone, into tables that an ORM or a migration tool made.

The catalogues are compared first, and everything that does not fit is said at once. Then all rows go in within one
transaction, and with them the ledger: it is committed when every foreign key holds, or nothing was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg

from nasmigrate.core.config_model import SeedPolicy
from nasmigrate.core.context import Context
from nasmigrate.core.errors import CopyFailed, RolledBack, TargetMismatch, TargetNotEmpty, TransferError
from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Finding, Result
from nasmigrate.core.target import Target
from nasmigrate.core.toml import toml_string
from nasmigrate.postgres.apply import moved_rows
from nasmigrate.postgres.catalogue import catalogue_facts, compare_facts
from nasmigrate.postgres.connect import connected, server_facts
from nasmigrate.postgres.control import await_writers, set_state
from nasmigrate.postgres.digests import bucket_digests, range_digest
from nasmigrate.postgres.existing import delete_rows, lock_tables, orphans, read_existing
from nasmigrate.postgres.finish import analyze, set_sequences
from nasmigrate.postgres.ledger import read_chunks
from nasmigrate.postgres.preflight import check_target
from nasmigrate.postgres.quiet import quiet
from nasmigrate.schema.existing import ExistingKey, ExistingTable
from nasmigrate.schema.intent import history_tables
from nasmigrate.schema.ledger import ChunkRow
from nasmigrate.schema.model import ForeignKey, SourceSchema
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.planning.existing import NARROW, Unfit, choices, fit_plan
from nasmigrate.schema.selection import select_tables
from nasmigrate.sqlite.fitting import find_misfits
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.orphans import find_orphans
from nasmigrate.transfer.engine import TableCopied
from nasmigrate.transfer.within import copy_within
from nasmigrate.workflows.load import Loaded, copy_job, record_run
from nasmigrate.workflows.outcome import finish, predict, verdict_of
from nasmigrate.workflows.prepare import Prepared, name_map, planned, profile
from nasmigrate.workflows.proof import decisions_gate, high_water, prove, stillness_gate
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.source import Source, take_source
from nasmigrate.workflows.target import lock_target, refuse_earlier_copy

REFUSE: SeedPolicy = "refuse"
REPLACE: SeedPolicy = "replace"
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
        existing = _examine(target)
        prepared = _fit(run, take_source(run, source), existing)
        loaded = _load(run, target, prepared, existing)
        plan = prepared.plan
        proof = prove(
            run,
            target.conninfo,
            plan,
            prepared.source,
            loaded.ledger,
            recorded=loaded.catalogue,
            with_round_trip=round_trip,
        )
        proof.add(stillness_gate(prepared.source))
        proof.add(decisions_gate(plan))
        if verdict_of(proof.gates)[0] == "pass":
            with connected(target.conninfo) as connection:
                set_state(connection, loaded.run_id, "verified")
                connection.commit()
        prediction, rates = predict(run, prepared, loaded.copied, loaded.database_bytes)
        return finish(
            run,
            source=str(prepared.source.path),
            target=target.display,
            plan=plan,
            source_sha256=prepared.source.sha256,
            proof=proof,
            copied=loaded.copied,
            prediction=prediction,
            rates=rates,
            server=loaded.server,
            next_step={
                "pass": "point the application at the target; `nasmigrate verify` repeats the proof at any time",
                "fail": "nasmigrate report",
                "inconclusive": "nasmigrate verify",
            },
        )


def _examine(target: Target) -> dict[str, ExistingTable]:
    """The target's tables, of a server that is fit and holds no copy of ours."""
    with connected(target.conninfo) as connection:
        check_target(connection, target.conninfo, makes_tables=False)
        refuse_earlier_copy(connection, target.display)
        existing = read_existing(connection)
        connection.commit()
    return existing


# -- does it fit ---------------------------------------------------------------------------------------------------


def _fit(run: Run, source: Source, existing: Mapping[str, ExistingTable]) -> Prepared:
    """Source and plan, if everything fits.

    Raises:
        TargetMismatch: naming every table and column that does not.
        TargetNotEmpty: naming every table with rows and no policy.
    """
    config = run.context.config
    history = history_tables(source.schema)
    excluded = (*config.plan.exclude_tables, *history)
    chosen = select_tables(source.schema, only=config.plan.only_tables, exclude=excluded)
    profiled = profile(run, source, chosen, choices(chosen, name_map(config.names), existing))
    with run.phase("plan"):
        fitted = fit_plan(profiled.to_plan, existing)
        notes = [_history_note(name, layer) for name, layer in history.items()]
        plan = fitted.plan.model_copy(update={"findings": (*fitted.plan.findings, *notes)})
        prepared = planned(run, profiled, plan)
        unfit = [
            *fitted.unfit,
            *_values_that_do_not_fit(prepared),
            *_missing_parents(prepared, existing),
        ]
    if unfit:
        blocks = list(dict.fromkeys(item.toml for item in unfit if item.toml))
        raise TargetMismatch(
            unfit[0].message + (f" (and {len(unfit) - 1} more)" if unfit[1:] else ""),
            checks=[item.message for item in unfit],
            hint="\n".join(("for nasmigrate.toml:", *blocks))
            if blocks
            else "make the target's schema or the source's rows fit, or leave the table out with --exclude-table",
        )
    _refuse_rows(plan, existing, config.existing.seeds)
    return prepared


def _history_note(table: str, layer: str) -> Finding:
    return Finding(
        code="HISTORY_TABLE",
        severity="note",
        table=table,
        message=f"{layer}'s record of its own migrations: left out, the target has its own",
    )


def _values_that_do_not_fit(prepared: Prepared) -> list[Unfit]:
    """What the narrow types of the target do not hold, column by column, with the first such value."""
    found = []
    with closing(open_snapshot(prepared.source.snapshot)) as connection:
        for table in prepared.plan.tables:
            narrow = [column.name for column in table.columns if column.codec in NARROW]
            if not narrow:
                continue
            misfits = find_misfits(
                connection,
                table,
                narrow,
                encoding=prepared.plan.encoding,
                max_row_bytes=prepared.plan.evidence[table.name].max_row_bytes,
            )
            for misfit in misfits:
                code = NARROW[misfit.column.codec](misfit.column, misfit.value)
                where = f" at {misfit.key}" if misfit.key else ""
                found.append(
                    Unfit(
                        message=f"{code}: {table.name}.{misfit.column.name}{where}: {mask_value(misfit.value)}"
                        f" does not fit {misfit.column.pg_type}"
                    )
                )
    return found


def _missing_parents(prepared: Prepared, existing: Mapping[str, ExistingTable]) -> list[Unfit]:
    """Rows of the source without the parent that a foreign key of the target asks for."""
    schema, keys = _with_keys_of_target(prepared, existing)
    with closing(open_snapshot(prepared.source.snapshot)) as connection:
        missing = find_orphans(connection, schema)
    return [
        Unfit(
            message=f"FK_ORPHANS: {table}: {found.count} rows without the parent that {keys[table][position].name}"
            f" asks for ({'; '.join(found.keys)})"
        )
        for (table, position), found in missing.items()
        if found.count
    ]


def _with_keys_of_target(
    prepared: Prepared, existing: Mapping[str, ExistingTable]
) -> tuple[SourceSchema, dict[str, list[ExistingKey]]]:
    """The source's schema with the target's foreign keys in its own names, and those keys by table.

    A key to a table that is not copied is left out: it is looked at in the target.
    """
    plan, schema = prepared.plan, prepared.source.schema
    by_target = {table.target: table for table in plan.tables}
    keys: dict[str, list[ExistingKey]] = {}
    tables = []
    for planned_table in plan.tables:
        ours = []
        for key in existing[planned_table.target].foreign_keys:
            parent = by_target.get(key.parent)
            columns, theirs = _sources(planned_table, key.columns), _sources(parent, key.parent_columns)
            if parent is not None and columns and theirs:
                ours.append(ForeignKey(columns=columns, parent=parent.name, parent_columns=theirs))
                keys.setdefault(planned_table.name, []).append(key)
        tables.append(replace(schema.table(planned_table.name), foreign_keys=tuple(ours)))
    return replace(schema, tables=tuple(tables)), keys


def _sources(table: PlanTable | None, targets: Sequence[str]) -> tuple[str, ...]:
    """Columns of the source by their names in Postgres; none when one of them is not the source's."""
    if table is None:
        return ()
    names = {column.target: column.name for column in table.columns}
    return tuple(names[target] for target in targets) if all(target in names for target in targets) else ()


def _refuse_rows(plan: Plan, existing: Mapping[str, ExistingTable], seeds: Mapping[str, SeedPolicy]) -> None:
    """Refuse tables that hold rows nobody has spoken of; a policy for a table that is none is an error, too.

    Raises:
        TargetNotEmpty: naming them.
    """
    unknown = sorted(seeds.keys() - {table.name for table in plan.tables} - set(plan.excluded))
    if unknown:
        raise TargetMismatch(
            f"[existing] seeds names {unknown[0]!r}, but the source has no such table", hint="take the line out"
        )
    filled = [
        (table, existing[table.target].rows)
        for table in plan.tables
        if existing[table.target].rows and seeds.get(table.name, REFUSE) == REFUSE
    ]
    if filled:
        shown = ", ".join(f"{table.name} ({rows} rows)" for table, rows in filled[:5])
        lines = "\n".join(f"{toml_string(table.name)} = {toml_string(REPLACE)}" for table, _ in filled)
        raise TargetNotEmpty(
            f"TARGET_NOT_EMPTY: the target's tables hold rows already: {shown}"
            + (f" and {len(filled) - 5} more" if filled[5:] else "")
            + "; nothing was touched",
            hint=f"say for each what is to become of them: replace, or keep-if-equal\n[existing.seeds]\n{lines}",
            checks=[f"{table.name}: {rows} rows" for table, rows in filled],
        )


# -- the load ------------------------------------------------------------------------------------------------------


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
            _check_moved(before, moved_rows(connection), wanted)
            silence.check(())
    return copied


Moved = Mapping[tuple[str, str], tuple[int, int, int]]


def _check_moved(before: Moved, after: Moved, wanted: Moved) -> None:
    """The server's own counts of this transaction are the planned ones, of tables with nothing planned included."""
    nothing = (0, 0, 0)
    for name in sorted(before.keys() | after.keys() | wanted.keys()):
        now, then = after.get(name, nothing), before.get(name, nothing)
        moved = (now[0] - then[0], now[1] - then[1], now[2] - then[2])
        if moved != wanted.get(name, nothing):
            planned_counts = wanted.get(name, nothing)
            raise TransferError(
                f"{'.'.join(name)}: planned were {planned_counts[0]} inserted, {planned_counts[1]} updated and"
                f" {planned_counts[2]} deleted rows, the server counted {moved[0]}, {moved[1]} and {moved[2]}",
                hint="a trigger or a rule of the target moves rows",
                code="NM0904",
            )


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
