"""Reads an application's folder and says what Postgres will not take."""

from __future__ import annotations

import json
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.errors import ExitCode, UsageProblem
from nasmigrate.core.rundir import list_runs
from nasmigrate.schema.dialect import Names, check
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.lint_app.app_findings import MANIFESTS, app_findings
from nasmigrate.workflows.lint_app.document import AppLint, SqlHit
from nasmigrate.workflows.lint_app.files import SourceFile, source_files, sqlite_files, walk
from nasmigrate.workflows.lint_app.sql import is_piece, is_statement

_MARK = "nasmigrate:ignore"
"""A line that holds it is left out."""


def lint_app(context: Context, folder: Path, *, source: Path | None = None) -> AppLint:
    """Look at every source file below a folder.

    The names of tables and columns are those of the newest plan among this folder's runs; without one, rules that
    need them (booleans, names with capitals, NULLs in ORDER BY) find nothing.

    Args:
        context: settings and reporter.
        folder: of the application's source.
        source: the SQLite file that is to be moved, None when none is set.

    Raises:
        UsageProblem: `folder` is no folder.
    """
    if not folder.is_dir():
        raise UsageProblem(f"{folder}: not a folder", hint="nasmigrate lint-app FOLDER, with the application's source")
    context.reporter.phase("lint", str(folder))
    plan = _newest_plan(context.base)
    names = Names.of(plan) if plan else Names()
    if plan is None:
        context.reporter.note("no plan yet: rules that need the columns' types are left out; nasmigrate plan makes one")
    paths = list(walk(folder))
    files = list(source_files(folder, paths))
    hits: list[SqlHit] = []
    statements = partly = 0
    for file in files:
        found, read, unread = _file(file, names)
        hits += found
        statements += read
        partly += unread
    findings = app_findings(
        folder,
        files,
        [path for path in paths if path.name in MANIFESTS],
        sqlite_files(paths),
        source,
        frozenset(context.config.plan.accept),
    )
    return AppLint(
        directory=str(folder),
        plan_hash=plan.hash if plan else None,
        files=len(files),
        statements=statements,
        partly_read=partly,
        hits=tuple(hits),
        findings=findings,
        exit_code=int(ExitCode.DIFFERENCES if any(finding.open for finding in findings) else ExitCode.OK),
    )


def _file(file: SourceFile, names: Names) -> tuple[list[SqlHit], int, int]:
    """The hits of one file, how many texts were taken for SQL, and how many of them were read in part."""
    hits = []
    statements = partly = 0
    for literal in file.literals():
        text = literal.text
        whole = is_statement(text)
        if not whole and not (file.suffix != ".sql" and is_piece(text)):
            continue
        statements += 1
        found, readable = check(text, names)
        partly += whole and not readable
        for hit in found:
            place = literal.place(hit.offset)
            if _MARK not in file.line_text(place):
                hits.append(
                    SqlHit(
                        rule=hit.rule,
                        file=file.name,
                        line=file.line(place),
                        found=hit.found,
                        message=hit.message,
                        fix=hit.fix,
                    )
                )
    return hits, statements, partly


def _newest_plan(base: Path) -> Plan | None:
    """The plan of the newest run that has one of this version's format."""
    for run in reversed(list_runs(base)):
        path = run.path("plan.json")
        try:
            return Plan.model_validate(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            continue
    return None
