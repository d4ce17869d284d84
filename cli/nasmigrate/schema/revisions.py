"""The plan as Alembic revisions: tables first, then, when the rows are in, keys and everything that checks, then views.

A revision is a program that is run, and its names and SQL come from somebody's SQLite file: each of them goes
through `repr`. The text depends on the plan alone, so the same plan gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint

from nasmigrate.core.errors import RevisionConflict, SchemaError
from nasmigrate.schema.expressions import create_view, quote_name, quote_text
from nasmigrate.schema.metadata import (
    default_text,
    foreign_key_options,
    metadata_from_plan,
    not_valid_option,
    quote_all_names,
    sql_text,
    term_text,
    type_code,
)
from nasmigrate.schema.names import Names, sequence_name
from nasmigrate.schema.plan import Plan, PlanForeignKey, PlanIndex, PlanTable

_LINE_WIDTH = 110
_REVISION_LINE = re.compile(r"""^revision\b[^=\n]*=\s*['"]([^'"\n]+)['"]""", re.MULTILINE)

_TEMPLATE = '''"""{title}

Revision ID: {revision}
Revises: {revises}

Written by nasmigrate from plan {hash}.
"""

from __future__ import annotations

{imports}
revision: str = {revision!r}
down_revision: str | None = {down_revision!r}
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFile:
    """One revision: its file's name, its text, and the id by which Alembic knows it."""

    name: str
    text: str
    revision_id: str


def render_revisions(plan: Plan) -> tuple[RevisionFile, ...]:
    """Write the revisions: tables with their columns; keys, indexes, checks and foreign keys; views if there are any.

    Raises:
        UnmappableColumn: a column's type is none that a codec has.
    """
    plan_hash = plan.hash or plan.compute_hash()
    plan = plan.in_target_names()
    tables_id, constraints_id, views_id = (
        hashlib.sha256(f"{plan_hash}{step}".encode()).hexdigest()[:12] for step in ("tables", "constraints", "views")
    )
    revisions = (
        RevisionFile(
            name=f"0001_tables_{tables_id}.py",
            revision_id=tables_id,
            text=_module(
                title="Create the tables, without keys and constraints: rows are copied into them first.",
                revision=tables_id,
                down_revision=None,
                plan_hash=plan_hash,
                upgrade=[*_create_tables(plan)],
                downgrade=[_call("op.drop_table", repr(table.name)) for table in reversed(plan.tables)],
            ),
        ),
        RevisionFile(
            name=f"0002_constraints_{constraints_id}.py",
            revision_id=constraints_id,
            text=_module(
                title="Add primary keys, indexes, unique constraints, checks and, last, foreign keys.",
                revision=constraints_id,
                down_revision=tables_id,
                plan_hash=plan_hash,
                upgrade=[*_create_constraints(plan)],
                downgrade=[*_drop_constraints(plan)],
            ),
        ),
    )
    if not plan.views:
        return revisions
    return (
        *revisions,
        RevisionFile(
            name=f"0003_views_{views_id}.py",
            revision_id=views_id,
            text=_module(
                title="Create the views, each after those that it reads.",
                revision=views_id,
                down_revision=constraints_id,
                plan_hash=plan_hash,
                upgrade=[_execute(create_view(view.target, view.names, view.sql)) for view in plan.views],
                downgrade=[_execute(f"DROP VIEW {quote_name(view.target)}") for view in reversed(plan.views)],
            ),
        ),
    )


def write_revisions(plan: Plan, directory: Path) -> tuple[Path, ...]:
    """Write the revisions into a directory, which is made if needed. A revision that is there stays as it is.

    Someone may have commented it, and its id already says which plan it is of.

    Returns:
        The paths of the revisions, in the order in which they run.

    Raises:
        RevisionConflict: the directory holds revisions of another schema.
        SchemaError: the directory or a file cannot be read or written.
    """
    files = render_revisions(plan)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        present = _present(directory)
        others = {
            revision: path for revision, path in present.items() if revision not in {f.revision_id for f in files}
        }
        if others:
            found = ", ".join(f"{revision} ({path.name})" for revision, path in sorted(others.items()))
            wanted = ", ".join(file.revision_id for file in files)
            raise RevisionConflict(
                f"{directory}: holds revisions of another schema: {found}; this plan's are {wanted}",
                hint="the source or the configuration changed since they were written: move the files elsewhere, "
                "or name another folder for the migrations",
                details={
                    "directory": str(directory),
                    "found": sorted(others),
                    "planned": [f.revision_id for f in files],
                },
            )
        return tuple(present.get(file.revision_id) or _write(directory / file.name, file.text) for file in files)
    except OSError as error:
        raise SchemaError(
            f"{error.filename or directory}: revisions cannot be kept here: {error.strerror}",
            hint="make the folder for the migrations writable, or name another one",
        ) from error


def _present(directory: Path) -> dict[str, Path]:
    """Return the revisions in a directory. They are read, not imported: this is not the moment to run them."""
    found = {}
    for path in sorted(directory.glob("*.py")):
        match = _REVISION_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
        if match is not None:
            found[match[1]] = path
    return found


def _write(path: Path, text: str) -> Path:
    # A revision that was half written would look complete to the next run.
    unfinished = path.with_suffix(".new")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)


def _module(
    *,
    title: str,
    revision: str,
    down_revision: str | None,
    plan_hash: str,
    upgrade: Sequence[str],
    downgrade: Sequence[str],
) -> str:
    body = "".join((*upgrade, *downgrade))
    imports = ["import sqlalchemy as sa"] if "sa." in body else []
    imports += ["from alembic import op"] if "op." in body else []
    imports += ["from sqlalchemy.dialects import postgresql"] if "postgresql." in body else []
    return _TEMPLATE.format(
        title=title,
        revision=revision,
        down_revision=down_revision,
        revises=down_revision or "",
        hash=plan_hash,
        imports="".join(f"{line}\n" for line in imports),
        upgrade="\n".join(upgrade) or "    pass",
        downgrade="\n".join(downgrade) or "    pass",
    ).replace("Revises: \n", "Revises:\n")


def _call(function: str, *arguments: str, folded: bool = False) -> str:
    """Return a statement of a function's body, on one line if it fits and `folded` does not ask otherwise."""
    line = f"    {function}({', '.join(arguments)})"
    if not folded and len(line) <= _LINE_WIDTH:
        return line
    return "\n".join((f"    {function}(", *(f"        {argument}," for argument in arguments), "    )"))


def _create_tables(plan: Plan) -> Iterator[str]:
    sequences = _renamed_sequences(plan)
    for table in plan.tables:
        yield _create_table(table)
        if table.identity is not None and table.name in sequences:
            yield _execute(_rename_sequence(table.name, table.identity.name, sequences[table.name]))


def _renamed_sequences(plan: Plan) -> dict[str, str]:
    """Table -> what its identity sequence is called, where something else has the name that Postgres would give it."""
    given = {table.name for table in plan.tables} | {view.target for view in plan.views}
    given |= {table.key_name for table in plan.tables if table.primary_key}
    given |= {index.name for table in plan.tables for index in table.indexes}
    wanted = {table.name: sequence_name(table.name, column.name) for table in plan.tables if (column := table.identity)}
    names = Names()
    for name in sorted(given | set(wanted.values())):
        names.take(name, "a relation")
    return {table: names.free(name, "a sequence") for table, name in wanted.items() if name in given}


def _rename_sequence(table: str, column: str, name: str) -> str:
    """As soon as it is there, before what has its name; Postgres knows what it called it."""
    sequence = f"pg_get_serial_sequence({quote_text(quote_name(table))}, {quote_text(column)})"
    body = f"BEGIN EXECUTE format('ALTER SEQUENCE %s RENAME TO %I', {sequence}, {quote_text(name)}); END"
    return f"DO {quote_text(body)}"


def _create_table(table: PlanTable) -> str:
    columns = []
    for column in table.columns:
        parts = [repr(column.name), type_code(column)]
        if column.identity:
            parts.append("sa.Identity(always=False)")
        elif column.computed_sql is not None:
            parts.append(f"sa.Computed({_text(sql_text(column.computed_sql))}, persisted=True)")
        elif column.default_sql is not None:
            parts.append(f"server_default={_text(default_text(column.default_sql))}")
        parts.append(f"nullable={table.is_nullable(column)}")
        columns.append(f"sa.Column({', '.join(parts)})")
    return _call("op.create_table", repr(table.name), *columns, folded=True)


def _create_constraints(plan: Plan) -> Iterator[str]:
    for table in plan.tables:
        if table.primary_key:
            names = _names(table.primary_key)
            yield _call("op.create_primary_key", repr(table.key_name), repr(table.name), names)
    for table in plan.tables:
        for index in table.indexes:
            yield _create_index(table, index)
    for table in plan.tables:
        for check in table.checks:
            arguments = [repr(check.name), repr(table.name), _text(sql_text(check.sql))]
            yield _call("op.create_check_constraint", *arguments, *_options(not_valid_option(check)))
    for table in plan.tables:
        for key in table.foreign_keys:
            yield _create_foreign_key(plan, table, key)


def _drop_constraints(plan: Plan) -> Iterator[str]:
    """The statements of `_create_constraints` undone, in reverse order."""
    for table in reversed(plan.tables):
        for key in reversed(table.foreign_keys):
            yield _drop_constraint(key.name, table, "foreignkey")
    for table in reversed(plan.tables):
        for check in reversed(table.checks):
            yield _drop_constraint(check.name, table, "check")
    for table in reversed(plan.tables):
        for index in reversed(table.indexes):
            if index.is_constraint:
                yield _drop_constraint(index.name, table, "unique")
            else:
                yield _call("op.drop_index", repr(index.name), f"table_name={table.name!r}")
    for table in reversed(plan.tables):
        if table.primary_key:
            yield _drop_constraint(table.key_name, table, "primary")


def _create_index(table: PlanTable, index: PlanIndex) -> str:
    if index.is_constraint:
        names = _names([term.column for term in index.terms if term.column is not None])
        return _call("op.create_unique_constraint", repr(index.name), repr(table.name), names)
    terms = []
    for term in index.terms:
        if term.column is None:
            terms.append(_text(term_text(term)))
        else:
            terms.append(f"sa.column({term.column!r}).desc()" if term.descending else repr(term.column))
    options = ["unique=True"] if index.unique else []
    if index.where is not None:
        options.append(f"postgresql_where={_text(sql_text(index.where))}")
    return _call("op.create_index", repr(index.name), repr(table.name), f"[{', '.join(terms)}]", *options)


def _create_foreign_key(plan: Plan, table: PlanTable, key: PlanForeignKey) -> str:
    if any("." in name for name in (key.parent, *key.parent_columns)):
        # Alembic writes the parent as "table.column" and takes it apart at the dots again.
        return _execute(_foreign_key_sql(plan, table, key))
    return _call(
        "op.create_foreign_key",
        *(repr(name) for name in (key.name, table.name, key.parent)),
        _names(key.columns),
        _names(key.parent_columns),
        *_options(foreign_key_options(key)),
    )


def _foreign_key_sql(plan: Plan, table: PlanTable, key: PlanForeignKey) -> str:
    tables = [plan.table(table.name)] + ([plan.table(key.parent)] if key.parent != table.name else [])
    pair = Plan(encoding=plan.encoding, tables=tuple(t.model_copy(update={"foreign_keys": ()}) for t in tables))
    only = table.model_copy(update={"foreign_keys": (key,)})
    metadata = metadata_from_plan(pair.model_copy(update={"tables": (only, *pair.tables[1:])}))
    (constraint,) = metadata.tables[table.name].foreign_key_constraints
    # With named parameters a percent sign is not doubled: `op.execute` will do that once.
    dialect: Any = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    quote_all_names(dialect)
    return str(AddConstraint(constraint).compile(dialect=dialect)).strip()


def _drop_constraint(name: str, table: PlanTable, kind: str) -> str:
    return _call("op.drop_constraint", repr(name), repr(table.name), f"type_={kind!r}")


def _options(options: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in options.items()]


def _execute(sql: str) -> str:
    return _call("op.execute", _text(sql_text(sql)))


def _names(names: Sequence[str]) -> str:
    return f"[{', '.join(map(repr, names))}]"


def _text(sql: str) -> str:
    return f"sa.text({sql!r})"
