"""Whether the rows of a source fit the tables that stand in the target: asked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from nasmigrate.core.config_model import SeedPolicy
from nasmigrate.core.errors import TargetMismatch, TargetNotEmpty
from nasmigrate.core.redaction import mask_value
from nasmigrate.core.result import Finding
from nasmigrate.core.toml import toml_string
from nasmigrate.schema.existing import ExistingKey, ExistingTable
from nasmigrate.schema.intent import history_tables
from nasmigrate.schema.model import ForeignKey, SourceSchema
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.planning.existing import NARROW, Unfit, choices, fit_plan
from nasmigrate.schema.selection import select_tables
from nasmigrate.sqlite.fitting import find_misfits
from nasmigrate.sqlite.open import open_snapshot
from nasmigrate.sqlite.orphans import find_orphans
from nasmigrate.workflows.prepare import Prepared, name_map, planned, profile
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import Source

REFUSE: SeedPolicy = "refuse"
REPLACE: SeedPolicy = "replace"


def fit(run: Run, source: Source, existing: Mapping[str, ExistingTable]) -> Prepared:
    """Source and plan, if everything fits.

    Args:
        run: the run.
        source: whose rows are to be copied.
        existing: the target's tables by name.

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
            message=f"FK_ORPHANS: {table}: {_rows(found.count + found.respelled)} without the parent, written as it is,"
            f" that {keys[table][position].name} asks for" + (f" ({'; '.join(found.keys)})" if found.keys else "")
        )
        for (table, position), found in missing.items()
        if found.count or found.respelled
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
        shown = ", ".join(f"{table.name} ({_rows(rows)})" for table, rows in filled[:5])
        lines = "\n".join(f"{toml_string(table.name)} = {toml_string(REPLACE)}" for table, _ in filled)
        raise TargetNotEmpty(
            f"TARGET_NOT_EMPTY: the target's tables hold rows already: {shown}"
            + (f" and {len(filled) - 5} more" if filled[5:] else "")
            + "; nothing was touched",
            hint="say for each what is to become of them: replace deletes them, keep-if-equal leaves those that are the"
            f" source's\n[existing.seeds]\n{lines}",
            checks=[f"{table.name}: {_rows(rows)}" for table, rows in filled],
        )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
