"""`nasmigrate doctor`: every check a migration needs, none of which stops the others."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError, PreflightError
from nasmigrate.core.redaction import redact
from nasmigrate.core.rundir import STATE_FOLDER
from nasmigrate.workflows.filesystems import file_system_of, is_remote
from nasmigrate.workflows.space import DISK_FACTOR, source_bytes

if TYPE_CHECKING:
    import psycopg

    from nasmigrate.core.target import Target

Status = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One check. `fix` says what to do when it is warn or fail."""

    name: str
    status: Status
    detail: str
    fix: str | None = None


def failed_check(name: str, error: NasmigrateError) -> DoctorCheck:
    """A check that failed with one of our errors."""
    return DoctorCheck(name=name, status="fail", detail=error.message, fix=error.hint)


def doctor(
    context: Context,
    *,
    source: Path | None,
    target: Target | None,
    problems: Sequence[DoctorCheck] = (),
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[DoctorCheck, ...]:
    """Run every check and return them in a fixed order.

    Args:
        context: settings and base folder.
        source: the SQLite file, or None when none is known.
        target: the database, or None when none is configured.
        problems: checks the caller found failed before it could call; they take the place of ours of that name.
        config_file: the settings' file, for the detail of that check.
        environ: where env:NAME of app.env is looked up.
    """
    found = {problem.name: problem for problem in problems}
    steps: tuple[tuple[str, Callable[[], Iterable[DoctorCheck]]], ...] = (
        ("python", _python),
        ("libraries", _libraries),
        ("settings", lambda: _settings(config_file)),
        ("source", lambda: _source(context, source)),
        ("file system", lambda: _file_system(source or context.base)),
        ("disk", lambda: _disk(context.base, source)),
        ("run directory", lambda: _run_directory(context.base)),
        ("embedded server", _embedded),
        ("target", lambda: _target(target, source, context.base)),
        ("application's role", lambda: _role(context, target)),
        ("application", lambda: _application(context, environ or {})),
    )
    checks: list[DoctorCheck] = []
    for name, step in steps:
        if name in found:
            checks.append(found[name])
            continue
        try:
            checks += step()
        except NasmigrateError as error:
            checks.append(failed_check(name, error))
        except Exception as error:  # a check that breaks is a finding; the next ones still run
            detail = redact(f"the check itself failed: {type(error).__name__}: {error}")
            checks.append(DoctorCheck(name=name, status="fail", detail=detail, fix="report this as a bug"))
    return tuple(replace(check, fix=None) if check.status == "ok" else check for check in checks)


def _python() -> Iterable[DoctorCheck]:
    yield DoctorCheck(
        name="python",
        status="ok" if sys.version_info >= (3, 11) else "fail",
        detail=f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}",
        fix="Python 3.11 or later is needed",
    )


def _libraries() -> Iterable[DoctorCheck]:
    import apsw
    import psycopg

    yield DoctorCheck(
        name="libraries",
        status="ok",
        detail=f"SQLite {apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()}), "
        f"psycopg {psycopg.__version__} ({psycopg.pq.__impl__}, libpq {_dotted(psycopg.pq.version())})",
    )


def _dotted(number: int) -> str:
    """180003 -> 18.3, as libpq numbers its versions since 10."""
    return f"{number // 10000}.{number % 10000}"


def _settings(config_file: Path | None) -> Iterable[DoctorCheck]:
    if config_file is None:
        yield DoctorCheck(
            name="settings", status="warn", detail="no nasmigrate.toml; defaults are used", fix="nasmigrate init"
        )
    else:
        yield DoctorCheck(name="settings", status="ok", detail=str(config_file))


def _source(context: Context, source: Path | None) -> Iterable[DoctorCheck]:
    if source is None:
        yield DoctorCheck(
            name="source", status="skipped", detail="no source is set", fix="nasmigrate init --source PATH"
        )
        return
    from nasmigrate.sqlite.open import check_file, mapped_errors, open_source

    resolved = check_file(source)
    size = resolved.stat().st_size
    wal = resolved.with_name(f"{resolved.name}-wal")
    connection = open_source(resolved, busy_timeout=context.config.source.busy_timeout, fenced=True)
    try:
        with mapped_errors(resolved, "read its schema"):
            mode = str(connection.pragma("journal_mode"))
            encoding = str(connection.pragma("encoding"))
            row = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
    finally:
        connection.close()
    tables = int(row[0]) if row else 0
    yield DoctorCheck(
        name="source",
        status="ok" if tables else "fail",
        detail=f"{resolved}: {size:,} bytes, {tables} tables, {encoding}",
        fix="the file has no tables; check the path",
    )
    if mode == "wal":
        pending = wal.stat().st_size if wal.exists() else 0
        detail = f"WAL, {pending:,} bytes not yet checkpointed: readers and the application do not wait for each other"
        yield DoctorCheck(name="journal mode", status="ok", detail=detail)
    else:
        yield DoctorCheck(
            name="journal mode",
            status="warn",
            detail=f"{mode}: a snapshot and the application's writes wait for each other",
            fix="if the application allows it, switch once with PRAGMA journal_mode=WAL; else expect short waits",
        )


def _file_system(path: Path) -> Iterable[DoctorCheck]:
    kind = file_system_of(path)
    if kind is None:
        yield DoctorCheck(name="file system", status="skipped", detail="not known on this system")
    elif is_remote(kind):
        yield DoctorCheck(
            name="file system",
            status="fail",
            detail=f"{path}: on {kind}, a network or shared file system; SQLite's locks cannot be relied on there",
            fix="run nasmigrate on the machine that holds the file",
        )
    else:
        yield DoctorCheck(name="file system", status="ok", detail=f"{path}: on {kind}, local")


def _disk(base: Path, source: Path | None) -> Iterable[DoctorCheck]:
    free = shutil.disk_usage(base).free
    if source is None or not source.is_file():
        yield DoctorCheck(name="disk", status="skipped", detail=f"{free:,} bytes free; the source's size is not known")
        return
    needed = DISK_FACTOR * source_bytes(source)
    yield DoctorCheck(
        name="disk",
        status="ok" if free >= needed else "fail",
        detail=f"{free:,} bytes free at {base}, {needed:,} wanted ({DISK_FACTOR} x the source)",
        fix=f"free {max(0, needed - free):,} bytes, or keep nasmigrate.toml in a folder on a larger disk",
    )


def _run_directory(base: Path) -> Iterable[DoctorCheck]:
    state = base / STATE_FOLDER
    folder = state / "runs" if (state / "runs").is_dir() else state if state.is_dir() else base
    try:
        # A real file: rights alone do not show a read-only mount or a full disk.
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
            stream.flush()
    except OSError as error:
        yield DoctorCheck(
            name="run directory",
            status="fail",
            detail=f"{folder}: cannot be written: {error.strerror}",
            fix="run as a user who may write there, or keep nasmigrate.toml in another folder",
        )
        return
    yield DoctorCheck(name="run directory", status="ok", detail=f"{folder}: writable")


def _embedded() -> Iterable[DoctorCheck]:
    from nasmigrate.postgres.server_programs import Launcher, find_programs, server_account, usable_programs

    programs = find_programs()
    with tempfile.TemporaryDirectory(prefix="nasmigrate-doctor-") as scratch:
        launcher = Launcher(account=server_account())
        folder = Path(scratch)
        folder.chmod(0o711)  # the unprivileged account must reach a copy below it
        chosen = usable_programs(programs, launcher=launcher, copy_to=folder / "programs")
        done = launcher.run([str(chosen / "postgres"), "--version"], timeout=30.0)
    yield DoctorCheck(
        name="embedded server", status="ok", detail=f"{done.stdout.strip()}, as user {launcher.account.name}"
    )


def _target(target: Target | None, source: Path | None, base: Path) -> Iterable[DoctorCheck]:
    if target is None:
        yield DoctorCheck(
            name="target",
            status="skipped",
            detail="no target is set; a rehearsal needs none",
            fix="set target.dsn in nasmigrate.toml",
        )
        return
    from nasmigrate.postgres.connect import connected, server_facts

    with connected(target.conninfo, autocommit=True, purpose="nasmigrate doctor") as connection:
        facts = server_facts(connection)
        detail = f"{target.display}: PostgreSQL {facts.version}, {facts.encoding}, user {facts.user}"
        yield DoctorCheck(name="target", status="ok", detail=detail)
        yield from _target_fitness(connection, target, source, base)
        yield _target_contents(connection)


def _target_fitness(
    connection: psycopg.Connection, target: Target, source: Path | None, base: Path
) -> Iterable[DoctorCheck]:
    """What `copy` and `cutover` ask before their first write."""
    from nasmigrate.postgres.preflight import Beside, check_target

    try:
        fitness = check_target(
            connection,
            target.conninfo,
            source_bytes=source_bytes(source) if source is not None else 0,
            beside=Beside(folder=base, factor=DISK_FACTOR),
        )
    except PreflightError as error:
        for check in error.checks:
            yield DoctorCheck(name="target server", status="fail", detail=check, fix=error.hint)
    except NasmigrateError as error:
        yield failed_check("target server", error)
    else:
        yield DoctorCheck(
            name="target server",
            status="ok",
            detail=f"rights are there, {fitness.slots} connections are free, sorts by {fitness.facts.collation}",
        )


def _role(context: Context, target: Target | None) -> Iterable[DoctorCheck]:
    name = "application's role"
    if target is None:
        yield DoctorCheck(name=name, status="skipped", detail="no target is set")
        return
    from nasmigrate.workflows.doctor_cutover import role_check

    yield from _named(name, role_check(context, target))


def _application(context: Context, environ: Mapping[str, str]) -> Iterable[DoctorCheck]:
    from nasmigrate.workflows.doctor_cutover import application_checks

    yield from _named("application", application_checks(context, environ))


def _named(name: str, lines: Iterable[tuple[Status, str, str | None]]) -> Iterable[DoctorCheck]:
    return (DoctorCheck(name=name, status=status, detail=detail, fix=fix) for status, detail, fix in lines)


def _target_contents(connection: psycopg.Connection) -> DoctorCheck:
    """Whether `copy` would find the target empty. Objects of extensions do not count."""
    row = connection.execute(
        "SELECT count(*), coalesce(bool_or(n.nspname = 'nasmigrate'), false)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')"
        " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
        " AND d.objid = c.oid AND d.deptype = 'e')"
    ).fetchone()
    count, ours = row if row else (0, False)
    if not count:
        return DoctorCheck(name="target contents", status="ok", detail="empty")
    if ours:
        return DoctorCheck(
            name="target contents",
            status="warn",
            detail=f"{count} objects, an earlier copy among them: verify works, copy needs --resume or an empty one",
            fix="nasmigrate verify, nasmigrate copy --resume, or a new database for a new copy",
        )
    return DoctorCheck(
        name="target contents",
        status="fail",
        detail=f"{count} objects that nasmigrate did not make; copy refuses such a target",
        fix="create a new database: createdb --encoding=UTF8 --template=template0 NAME",
    )
