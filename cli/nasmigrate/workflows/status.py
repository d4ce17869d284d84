"""`nasmigrate status`: where things stand, who may write, what to do next, and what is left to do one day."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from nasmigrate.core.context import Context
from nasmigrate.core.envfile_edit import backup_path
from nasmigrate.core.errors import ExitCode, TargetError
from nasmigrate.core.result import Gate
from nasmigrate.core.rundir import STATE_FOLDER, list_runs
from nasmigrate.core.status import ControlFacts, FenceFacts, Status
from nasmigrate.core.target import Target
from nasmigrate.postgres.arrivals import arrivals
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.control_row import ControlRow
from nasmigrate.sqlite.open import check_file
from nasmigrate.workflows.authorities import Meaning, Standing
from nasmigrate.workflows.cutover.ends import Ends, make_ends
from nasmigrate.workflows.cutover.journal import read_journal
from nasmigrate.workflows.cutover.options import hold_file
from nasmigrate.workflows.cutover.switches import JOBS, PAGE, may_be_off

_SAYS = {
    Meaning.NOT_BEGUN: ("The target has seen no cutover. The application writes to SQLite.",),
    Meaning.SQLITE_SERVES: (
        "The application writes to SQLite. Postgres is closed to it; what it holds is not up to date.",
    ),
    Meaning.BETWEEN: (
        "The source is fenced and Postgres is not open yet: nobody can write.",
        "This is a matter of moments while a cutover runs. Otherwise its tool has died.",
    ),
    Meaning.POSTGRES_SERVES: ("The application writes to Postgres. The SQLite file is fenced: it can only be read.",),
    Meaning.COMING_HOME: (
        "A rollback has closed Postgres, and its rows are not all home yet: nobody can write.",
        "Nothing is lost: the rows are in Postgres until they are committed in SQLite.",
    ),
    Meaning.HOME: ("A rollback has brought everything home. The application writes to SQLite.",),
    Meaning.FENCE_LOST: (
        "ALARM: Postgres serves, but the SQLite file has lost its fence: it was replaced or restored.",
        "Whoever still writes to that file writes rows that Postgres does not get. Stop it first.",
    ),
    Meaning.FOREIGN_FENCE: ("The source is fenced for another Postgres database than this target: nobody can write.",),
    Meaning.OTHER_FILE: ("This is a copy, or another file, and not the one that was cut over.",),
    Meaning.LEFT_FENCED: (
        "A rollback brought the rows home into another copy of this file, which takes writes; this one lacks them.",
        "Nothing is lost: Postgres is closed and still holds every row too.",
    ),
    Meaning.IN_DOUBT: (
        "The source is fenced and Postgres cannot be reached: if it was opened, it is what serves.",
        "Until it answers, nobody can say which of the two, and nobody writes.",
    ),
    Meaning.UNKNOWN: ("The source is not fenced, so SQLite takes writes. Postgres cannot be reached.",),
}
NEXT_STEP = {
    Meaning.NOT_BEGUN: "nasmigrate rehearse, then nasmigrate cutover",
    Meaning.SQLITE_SERVES: "nasmigrate cutover",
    Meaning.BETWEEN: "nasmigrate resume (SQLite serves again), or nasmigrate resume --forward (Postgres serves)",
    Meaning.POSTGRES_SERVES: "nothing now; nasmigrate rollback goes back, nasmigrate finalize ends that possibility",
    Meaning.COMING_HOME: "nasmigrate resume (brings the rows home), or nasmigrate abort (Postgres serves again)",
    Meaning.HOME: "nasmigrate resume (leads the application back, closes the control row)",
    Meaning.FENCE_LOST: "stop whatever writes to the SQLite file, then put the fenced file back in its place",
    Meaning.FOREIGN_FENCE: "name the other target with --target; for a restored clone of it nasmigrate resume --adopt",
    Meaning.OTHER_FILE: "name the file that was cut over",
    Meaning.LEFT_FENCED: "put the file that the rollback wrote to in this place, then nasmigrate resume",
    Meaning.IN_DOUBT: "bring Postgres back, then nasmigrate resume; or else nasmigrate resume --postgres-is-gone",
    Meaning.UNKNOWN: "bring Postgres back, then nasmigrate status",
}
_NOT_ARRIVED = "nasmigrate resume (leads the application to Postgres), or nasmigrate rollback (goes back)"
_SWITCH_ON = "nasmigrate resume (switches on what a run that did not end has left off)"
_FINAL = "nothing: the cutover is final"
_CODES = {
    Meaning.BETWEEN: ExitCode.INCONCLUSIVE,
    Meaning.COMING_HOME: ExitCode.INCONCLUSIVE,
    Meaning.IN_DOUBT: ExitCode.INCONCLUSIVE,
    Meaning.UNKNOWN: ExitCode.INCONCLUSIVE,
    Meaning.FENCE_LOST: ExitCode.STATE,
    Meaning.FOREIGN_FENCE: ExitCode.STATE,
    Meaning.OTHER_FILE: ExitCode.STATE,
    Meaning.LEFT_FENCED: ExitCode.STATE,
}


def status(context: Context, source: Path, target: Target) -> Status:
    """Read both authorities and say where things stand. Nothing is changed, but what a crash left is rolled back.

    Raises:
        SourceError: the source cannot be read.
    """
    ends = make_ends(context.config, check_file(source), target)
    return described(context, ends, ends.standing(), "status")


def described(
    context: Context,
    ends: Ends,
    standing: Standing,
    command: str,
    *,
    did: Sequence[str] = (),
    gates: Sequence[Gate] = (),
    exit_code: int | None = None,
) -> Status:
    """A standing in words, with what a command did to it."""
    control, fence, meaning = standing.control, standing.fence, standing.meaning
    next_step = NEXT_STEP[meaning]
    absent: tuple[str, ...] = ()
    if meaning is Meaning.POSTGRES_SERVES and control is not None and control.finalized:
        next_step = _FINAL
    elif meaning is Meaning.POSTGRES_SERVES and not _has_arrived(ends):
        next_step = _NOT_ARRIVED
        absent = (
            f"No session of role {ends.roles.application} that began since the opening is there now: the application"
            " has not arrived, or keeps no connection.",
        )
    off = tuple(_off(context, standing))
    if off and next_step != _NOT_ARRIVED:
        next_step = _SWITCH_ON
    return Status(
        command=command,
        source=str(ends.source),
        target=ends.target.display,
        meaning=str(meaning),
        writer=standing.writer,
        says=(*_SAYS[meaning], *absent, *_under_way(context, standing)),
        did=tuple(did),
        left=(*off, *_left(context, standing)),
        next_step=next_step,
        exit_code=int(_CODES.get(meaning, ExitCode.OK)) if exit_code is None else exit_code,
        control=None
        if control is None
        else ControlFacts(
            run_id=control.run_id,
            epoch=control.epoch,
            state=str(control.state),
            changed_at=control.changed_at,
            opened_at=control.opened_at,
            command=control.command,
            host=control.host,
            pid=control.pid,
            finalized=control.finalized,
        ),
        fence=None
        if fence is None
        else FenceFacts(
            run_id=fence.run_id,
            system_identifier=fence.system_identifier,
            database_oid=fence.database_oid,
            epoch=fence.epoch,
            made_at=fence.made_at,
        ),
        unreachable=standing.unreachable,
        gates=tuple(gates),
    )


def _has_arrived(ends: Ends) -> bool:
    """Whether the application is on Postgres, as far as it can be seen; what cannot be asked is not said."""
    try:
        with connected(ends.target.conninfo, purpose="nasmigrate status") as connection:
            return arrivals(connection, ends.roles.application).since > 0
    except TargetError:
        return True


def _under_way(context: Context, standing: Standing) -> Iterator[str]:
    """Which file is meant, and what a run is doing now as far as the journal and this machine know."""
    control = standing.control
    if standing.belongs_to is not None:
        yield f"{standing.belongs_to} is the file that was cut over; {standing.source} is another one."
    if standing.moved_from is not None:
        yield f"{standing.moved_from}, which was cut over, is gone; {standing.source} is taken for it."
    alive = _is_at_work(control)
    entries, damaged = read_journal(context.base)
    last = entries[-1] if entries else None
    if control is not None and alive and last is not None and last.kind == "begin":
        yield f"{last.command} (process {control.pid}) is in phase {last.phase} since {last.time[:19]} UTC."
    if hold_file(context.base).exists():
        yield f"The freeze is postponed while {hold_file(context.base)} is there."
    if damaged:
        yield f"{damaged} lines of the journal cannot be read; nothing depends on them."


def _off(context: Context, standing: Standing) -> Iterator[str]:
    """What a run that has ended may have left switched off, as far as the journal knows."""
    meaning = standing.meaning
    if meaning not in (Meaning.SQLITE_SERVES, Meaning.POSTGRES_SERVES) or _is_at_work(standing.control):
        return
    entries, _ = read_journal(context.base)
    if may_be_off(context.config, entries, PAGE):
        yield "the maintenance page may be on: nasmigrate resume takes it away"
    if meaning is Meaning.SQLITE_SERVES and may_be_off(context.config, entries, JOBS):
        yield "the jobs may be paused: nasmigrate resume lets them run again"


def _is_at_work(control: ControlRow | None) -> bool:
    """Whether the tool that changed the control row last runs still, here."""
    return control is not None and control.host == platform.node() and _is_ours(control.pid)


def _is_ours(pid: int) -> bool:
    """Whether the process is there and looks like this tool (proc_pid_cmdline(5))."""
    try:
        return b"nasmigrate" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _left(context: Context, standing: Standing) -> Iterator[str]:
    app = context.config.app
    kept = None if app.env_file is None else backup_path(context.base / app.env_file)
    if standing.meaning is Meaning.SQLITE_SERVES and kept is not None and kept.exists():
        yield f"{kept} was not put back: nasmigrate resume does it, if the application is led to Postgres still"
    if standing.meaning is Meaning.POSTGRES_SERVES and standing.control is not None:
        if not standing.control.finalized:
            yield "when you are sure (a week is usual): nasmigrate finalize"
        if app.cron_pause:
            yield f"jobs were paused by `{app.cron_pause}`: let them start the new backend only, then enable them"
        if kept is not None and kept.exists():
            yield f"{kept} keeps the settings from before, with their secrets"
    held = sum(_size(run.root) for run in list_runs(context.base))
    if held:
        yield f"{held:,} bytes are held by runs below {context.base / STATE_FOLDER / 'runs'}"


def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for entry in folder.rglob("*"):
            if entry.is_file() and not entry.is_symlink():
                total += entry.stat().st_size
    return total
