"""The source: a snapshot of the live file in the run directory, and what is in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.result import Finding
from nasmigrate.schema.model import SourceSchema
from nasmigrate.sqlite.examine import ExamineJob
from nasmigrate.sqlite.inspect import count_rows, inspect
from nasmigrate.sqlite.open import check_file, earlier_run, mapped_errors, open_snapshot
from nasmigrate.sqlite.schema_text import OURS
from nasmigrate.workflows.file_findings import file_findings
from nasmigrate.workflows.run import Run

SNAPSHOT = "snapshot.db"
LARGE_FILE = 16 * 1024 * 1024
"""Bytes of a file that may hold enough rows to be worth more processes."""
FileState = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A snapshot and what is in it.

    `counts` are SQLite's own `count(*)`, independent of the profile; `findings` are about the file itself.
    """

    path: Path
    snapshot: Path
    sha256: str
    size: int
    schema: SourceSchema
    counts: dict[str, int]
    state: FileState
    findings: tuple[Finding, ...] = ()


def file_state(path: Path) -> FileState:
    """(name, size, modification time in ns) of the database and its journals, to see whether anyone wrote.

    An empty journal counts as none: reading a file in WAL mode leaves an empty -wal where there was no file.
    """
    state = []
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-journal")):
        try:
            facts = name.stat()
        except FileNotFoundError:
            continue
        if facts.st_size or name == path:
            state.append((name.name, facts.st_size, facts.st_mtime_ns))
    return tuple(state)


def refuse_earlier_run(path: Path, schema: SourceSchema) -> None:
    """Refuse a source that holds objects of ours: a fence, or what an earlier run left.

    Raises:
        StateError: naming them.
    """
    ours = sorted(name for _, name, _ in schema.sql_text if name.lower().startswith(OURS))
    if ours:
        raise earlier_run(path, ours)


def take_source(run: Run, path: Path, *, fenced: bool = False, longest_hold: float | None = None) -> Source:
    """Snapshot the live file into the run directory and inspect it.

    Args:
        run: the run.
        path: the SQLite file.
        fenced: the fence of a run is expected in it, and left out of the snapshot.
        longest_hold: most seconds for which writers may be held up; see `take_snapshot`.

    Raises:
        SourceError: the file cannot be read as a SQLite database with tables.
        StateError: it holds what an earlier run left, and that was not expected.
    """
    with run.phase("snapshot", str(path)):
        path = check_file(path)
        state = file_state(path)
        if state[0][1] >= LARGE_FILE:
            # The snapshot keeps one core busy, mostly outside Python; meanwhile the rest gets ready.
            run.pool.warm(("nasmigrate.sqlite.profile", "nasmigrate.transfer.native"))
            run.preload(
                (
                    "nasmigrate.workflows.prepare",
                    "nasmigrate.schema.planner",
                    "nasmigrate.workflows.load",
                    "nasmigrate.workflows.conclude",
                    "nasmigrate.workflows.outcome",
                    "nasmigrate.workflows.proof",
                    "nasmigrate.schema.revisions",
                    "nasmigrate.postgres.migrate",
                )
            )
        job = _job(run, path, run.directory.path(SNAPSHOT), fenced=fenced, longest_hold=longest_hold)
        examined = run.examiner.examine(job)
    snapshot = examined.snapshot
    assert snapshot is not None  # noqa: S101 - the job asked for one
    if not fenced:
        refuse_earlier_run(path, examined.schema)
    return Source(
        path=path,
        snapshot=snapshot.path,
        sha256=snapshot.sha256,
        size=snapshot.bytes,
        schema=examined.schema,
        counts=examined.counts,
        state=state,
        findings=tuple(file_findings(run, path, examined)),
    )


def reopen_source(path: Path, snapshot: Path, sha256: str, state: FileState) -> Source:
    """The source as another snapshot shows it, of a file that this run has examined.

    `state` is how the live file stood at that snapshot.
    """
    with closing(open_snapshot(snapshot)) as connection, mapped_errors(snapshot):
        schema = inspect(connection)
        counts = {table.name: count_rows(connection, table.name) for table in schema.tables}
    return Source(
        path=path,
        snapshot=snapshot,
        sha256=sha256,
        size=snapshot.stat().st_size,
        schema=schema,
        counts=counts,
        state=state,
    )


def examine_again(run: Run, path: Path, snapshot: Path, sha256: str, state: FileState) -> Source:
    """The source of an earlier run, from its snapshot; `state` is how the live file stood at that snapshot.

    Raises:
        ResumeMismatch: the snapshot is no longer that file.
    """
    examined = run.examiner.examine(_job(run, path, snapshot, sha256=sha256))
    return Source(
        path=path,
        snapshot=snapshot,
        sha256=sha256,
        size=snapshot.stat().st_size,
        schema=examined.schema,
        counts=examined.counts,
        state=state,
    )


def _job(
    run: Run,
    path: Path,
    snapshot: Path,
    *,
    sha256: str | None = None,
    fenced: bool = False,
    longest_hold: float | None = None,
) -> ExamineJob:
    return ExamineJob(
        source=path,
        snapshot=snapshot,
        busy_timeout=run.context.config.source.busy_timeout,
        sha256=sha256,
        fenced=fenced,
        longest_hold=longest_hold,
    )
