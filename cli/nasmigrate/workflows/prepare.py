"""Profile and plan: everything between the snapshot and the first write to a target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nasmigrate.core.config_model import FOLD_NAMES, Config, NamesSection
from nasmigrate.core.toml import toml_string
from nasmigrate.schema.asks import column_asks
from nasmigrate.schema.evidence import ColumnAsk, TableProfile, merged
from nasmigrate.schema.names import NameMap
from nasmigrate.schema.parts import SPREAD_ROWS, split_range
from nasmigrate.schema.plan import Plan
from nasmigrate.schema.quarantine import kept_rows
from nasmigrate.schema.selection import Selection, select_tables
from nasmigrate.sqlite.checks import find_violations
from nasmigrate.sqlite.collisions import find_collisions
from nasmigrate.sqlite.open import mapped_errors, open_snapshot
from nasmigrate.sqlite.orphans import find_orphans
from nasmigrate.sqlite.profile import ProfileTask, key_bounds, open_profiler, run_profile
from nasmigrate.sqlite.read import KeyRange
from nasmigrate.sqlite.views import view_facts
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import Source

if TYPE_CHECKING:
    from nasmigrate.schema.planning.draft import PlanInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A source with its plan. `scan_seconds` is what one reading of all rows took."""

    source: Source
    plan: Plan
    scan_seconds: float


def make(run: Run, source: Source) -> Prepared:
    """Profile every table and decide; `plan.json` is in the run directory afterwards.

    Raises:
        SchemaError: something cannot be carried as asked.
        RuleRefused: a value of a column is outside the rules of the column.
    """
    from nasmigrate.schema.planner import make_plan

    config = run.context.config
    chosen = select_tables(source.schema, only=config.plan.only_tables, exclude=config.plan.exclude_tables)
    profiled = profile(run, source, chosen, column_types(config))
    with run.phase("plan"):
        return planned(run, profiled, make_plan(profiled.to_plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A source with all that a planner looks at. `seconds` is what one reading of all rows took."""

    source: Source
    to_plan: PlanInput
    seconds: float


def column_types(config: Config) -> dict[str, str]:
    """`table.column` -> the type that the configuration asks for."""
    return {name: section.type for name, section in config.columns.items() if section.type is not None}


def profile(run: Run, source: Source, chosen: Selection, forced: Mapping[str, str]) -> Profiled:
    """Read all rows of the chosen tables once.

    Args:
        run: the run.
        source: whose tables.
        chosen: of all tables of the source.
        forced: `table.column` -> type.

    Raises:
        SchemaError: a setting speaks of a column that is not there.
        RuleRefused: rules of one column cannot be combined, or not with its type.
        SourceError: a column compares by a collation of the application's own.
    """
    from nasmigrate.schema.planning.draft import PlanInput
    from nasmigrate.schema.planning.limits import check_collations

    check_collations(chosen.schema)
    config = run.context.config
    rules = {name: section.value_rules for name, section in config.columns.items() if section.value_rules}
    orphan_rules = {name: section.orphan_rule for name, section in config.columns.items() if section.orphan_rule}
    asks = column_asks(source.schema, forced, rules)
    source = replace(source, schema=chosen.schema)
    order = [table.name for table in source.schema.tables]
    with run.phase("profile"):
        started = time.perf_counter()
        profiles = _profile(run, source, asks, run.meter("profile", order, source.counts))
        seconds = time.perf_counter() - started
        with closing(open_snapshot(source.snapshot)) as connection, mapped_errors(source.snapshot):
            kept = kept_rows(source.schema, orphan_rules)
            orphans = find_orphans(connection, source.schema, kept)
        collisions = find_collisions(source.snapshot, source.schema, rules, kept)
        views = view_facts(source.snapshot, source.schema)
        violations = find_violations(source.snapshot, source.schema)
    return Profiled(
        source=source,
        seconds=seconds,
        to_plan=PlanInput(
            schema=source.schema,
            excluded=chosen.excluded,
            profiles=profiles,
            orphans=orphans,
            collisions=collisions,
            views=views,
            violations=violations,
            orphan_rules=orphan_rules,
            kept=kept,
            forced=forced,
            rules=rules,
            names=name_map(config.names),
            accept=config.plan.accept,
            show_values=run.context.show_values,
            findings=source.findings,
        ),
    )


def planned(run: Run, profiled: Profiled, plan: Plan) -> Prepared:
    """The source with its plan, told where it comes from; `plan.json` is in the run directory afterwards."""
    plan = plan.model_copy(
        update={
            "source": str(profiled.source.path),
            "source_sha256": profiled.source.sha256,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "profile_seconds": round(profiled.seconds, 3),
        }
    )
    run.directory.write_json("plan.json", plan)
    return Prepared(source=profiled.source, plan=plan, scan_seconds=profiled.seconds)


def name_map(section: NamesSection) -> NameMap:
    """What the configuration calls objects in Postgres."""
    return NameMap(
        tables=section.tables,
        columns=section.columns,
        indexes=section.indexes,
        fold=section.rule == FOLD_NAMES,
    )


def plan_settings(config: Config) -> dict[str, object]:
    """The settings that, beside the source's data, decide a plan; by what the reader would look for."""
    columns = {f"columns.{toml_string(name)}": section for name, section in config.columns.items()}
    sections = {name: section.model_dump(mode="json") for name, section in {**columns, "names": config.names}.items()}
    # What findings are accepted decides nothing of the plan itself.
    return sections | {"plan": config.plan.model_dump(mode="json", exclude={"accept"})}


def answered(plan: Plan, accept: Iterable[str]) -> Plan:
    """The plan of an earlier run with the answers its findings have now. The hash does not cover them."""
    accepted = set(accept)
    findings = tuple(finding.model_copy(update={"accepted": finding.identity in accepted}) for finding in plan.findings)
    return plan.model_copy(
        update={
            "findings": findings,
            "accepted": tuple(sorted(finding.identity for finding in findings if finding.accepted)),
        }
    )


def _profile_tasks(source: Source, asks: Mapping[str, Mapping[str, ColumnAsk]]) -> list[ProfileTask]:
    tasks = []
    with closing(open_snapshot(source.snapshot)) as connection, mapped_errors(source.snapshot):
        for table in source.schema.tables:
            bounds = key_bounds(connection, table)
            parts = split_range(*bounds, source.counts[table.name]) if bounds else [(None, None)]
            tasks += [
                ProfileTask(
                    table=table,
                    encoding=source.schema.encoding,
                    asks=asks[table.name],
                    bounds=KeyRange(after=None if after is None else (after,), last=None if last is None else (last,)),
                )
                for after, last in parts
            ]
    return tasks


def _profile(
    run: Run,
    source: Source,
    asks: Mapping[str, Mapping[str, ColumnAsk]],
    progress: Callable[[str, int], None],
) -> dict[str, TableProfile]:
    """One scan of every table, spread over processes where there are many rows."""
    tasks = _profile_tasks(source, asks)
    spread = sum(source.counts.values()) >= SPREAD_ROWS
    parts: dict[int, TableProfile] = {}
    rows: dict[str, int] = {}
    for index, part in run.pool.run(open_profiler, (source.snapshot,), run_profile, tasks, spread=spread):
        parts[index] = part
        rows[part.name] = rows.get(part.name, 0) + part.rows
        progress(part.name, rows[part.name])
    tables: dict[str, list[TableProfile]] = {}
    for index in sorted(parts):
        tables.setdefault(parts[index].name, []).append(parts[index])
    return {name: merged(found) for name, found in tables.items()}


def revisions_directory(run: Run, plan: Plan, *, publish: bool) -> Path:
    """Write the plan's Alembic revisions and say where they are.

    In a folder with `nasmigrate.toml` they go to its migrations folder, to be reviewed and kept; otherwise, or
    when `publish` is False, into the run directory.
    """
    from nasmigrate.schema.revisions import write_revisions

    config = run.context.config
    folder = run.context.base / config.migrations.directory if publish else run.directory.root / "migrations"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_revisions(plan, folder)
    return folder
