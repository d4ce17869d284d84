"""`nasmigrate backup`: dumps, roles and a SQLite snapshot in one folder, restored and compared before it counts.

A backup whose proof fails is no backup: its folder keeps the name that ends in `.unproven`, and nothing older is
removed for it. `last-backup.json` beside the folders says how the last attempt ended, for a scheduler or a monitor.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nasmigrate import __version__
from nasmigrate.backup.dumping import Dump, check_databases, dump_database, dump_globals
from nasmigrate.backup.fingerprint import unequal
from nasmigrate.backup.last import attempt
from nasmigrate.backup.manifest import (
    GLOBALS,
    MANIFEST,
    SNAPSHOT,
    DatabaseFacts,
    FileFacts,
    Manifest,
    Proof,
    backups,
    file_facts,
)
from nasmigrate.backup.restoring import fingerprint_of, restore_dump, scratch_database, scratch_place
from nasmigrate.backup.retention import UNPROVEN, backup_folder, publish, remove_old, remove_unproven
from nasmigrate.backup.tools import Tools, local_tools
from nasmigrate.core.context import Context
from nasmigrate.core.errors import BackupRefused, ExitCode, SourceError
from nasmigrate.core.result import Difference, Gate, Result, TableResult
from nasmigrate.core.rundir import write_atomic
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected, server_facts
from nasmigrate.sqlite.open import check_file
from nasmigrate.sqlite.snapshot import take_snapshot
from nasmigrate.workflows.outcome import verdict_of
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.server_tools import ToolsFor

KILLBILL = "killbill"
ROOM_FACTOR = 2
"""Free bytes wanted per byte of the databases: the dumps, and what they are restored into to be compared."""


def backup(
    context: Context, target: Target, *, source: Path | None = None, tools_for: ToolsFor | None = None
) -> Result:
    """Make one backup and prove it.

    Args:
        context: settings ([backup]) and reporter.
        target: any database of the server; its own is among those backed up.
        source: the SQLite file to take a snapshot of, too; None = none.
        tools_for: where the server's own tools are; None = on this machine.

    Raises:
        ToolMissing: no tools of the server's version.
        ToolFailed: one of them could not.
        BackupRefused: a database that is to be backed up does not exist, or there is nothing in any.
        TargetError, SourceError: what could not be read.
    """
    directory = context.base / Path(context.config.backup.directory).expanduser()
    with backup_folder(directory), attempt(directory) as last, running(context, "backup") as run:
        result = _backup(run, target, directory, source, tools_for, last.started)
        failed = [gate.detail for gate in result.gates if gate.status in ("fail", "inconclusive")]
        last.ended(result.exit_code, "; ".join(failed) or None)
        return result


def _backup(
    run: Run, target: Target, directory: Path, source: Path | None, tools_for: ToolsFor | None, started: datetime
) -> Result:
    settings = run.context.config.backup
    if source is not None:
        _source_is_there(source)
    with connected(target.conninfo, purpose="nasmigrate backup") as connection:
        facts = server_facts(connection)
        sizes: dict[str, int] = dict(
            connection.execute("SELECT datname, pg_database_size(oid) FROM pg_database WHERE datallowconn").fetchall()
        )
    names = settings.databases or tuple(dict.fromkeys((facts.database, *({KILLBILL} & set(sizes)))))
    check_databases(names, set(sizes))
    remove_unproven(directory, but=1)
    _check_room(directory, sum(sizes[each] for each in names))
    given = run.context.base / Path(settings.tools).expanduser() if settings.tools else None
    tools = tools_for(facts) if tools_for else local_tools(target.conninfo, facts.version_number, given=given)
    name = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    partial, final = directory / f"{name}{UNPROVEN}", directory / name
    partial.mkdir(mode=0o700)
    dumps: list[Dump] = []
    try:
        with run.phase("dump", ", ".join(names)):
            dumps += [
                dump_database(tools, target.conninfo, each, partial / f"{number}-{_plain(each)}.dump")
                for number, each in enumerate(names, start=1)
            ]
            if source is None and not any(dump.fingerprint.tables for dump in dumps):
                raise BackupRefused(
                    f"nothing to back up: no table in {', '.join(names)}, and no SQLite file",
                    hint="is this the right server? the file is source.path in nasmigrate.toml",
                )
            passwords = dump_globals(tools, partial / GLOBALS)
        snapshot = _snapshot(run, source, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    before = time.perf_counter()
    with run.phase("prove", "restore everything and compare"):
        gates, differences = _prove(run, tools, target.conninfo, partial, dumps)
    manifest = Manifest(
        nasmigrate_version=__version__,
        started_at=started.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        server_version=facts.version,
        server_version_number=facts.version_number,
        databases=tuple(_facts(dump) for dump in dumps),
        globals=file_facts(partial / GLOBALS),
        passwords=passwords,
        source=snapshot,
        source_path=str(source) if source else None,
        proof=Proof(
            restored_into="scratch server" if tools.can_run_a_server else "scratch database",
            server_version=facts.version,
            seconds=round(time.perf_counter() - before, 3),
        ),
    ).sealed()
    gates.append(_source_gate(manifest))
    proven = verdict_of(gates)[0] == "pass"
    if proven:
        write_atomic(partial / MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())
        publish(partial, final)
        gates.append(_rotated(directory, settings.keep, final))
    return _result(run, target, manifest, gates, differences, final if proven else partial)


def _rotated(directory: Path, keep: int, made: Path) -> Gate:
    rotation = remove_old(directory, keep, made)
    removed = (*rotation.removed, *remove_unproven(directory))
    kept = len(backups(directory))
    detail = [f"backups kept: {kept}"]
    if removed:
        detail.append(f"removed: {', '.join(removed)}")
    detail += [f"{name} stays, {reason}" for name, reason in rotation.spared]
    return Gate(name="kept", status="pass", detail="; ".join(detail), checked=kept)


def _check_room(directory: Path, stored: int) -> None:
    """Refuse what would fill the disk, on a NAS the one of the server as well.

    Args:
        directory: of the backups.
        stored: bytes of the databases on the server.

    Raises:
        BackupRefused: there is no room for the dumps and for what they are restored into.
    """
    free, wanted = shutil.disk_usage(directory).free, ROOM_FACTOR * stored
    if free < wanted:
        raise BackupRefused(
            f"{free:,} bytes are free at {directory}, {wanted:,} wanted ({ROOM_FACTOR} x the databases); nothing was"
            " written",
            checks=["no room"],
            hint="free some space, or keep fewer backups (backup.keep), or elsewhere (backup.directory)",
        )


def _source_is_there(source: Path) -> None:
    """Before the cutover the file is all there is: a backup without it must be asked for.

    Raises:
        SourceError: it is not there, or no SQLite file.
    """
    try:
        check_file(source)
    except SourceError as error:
        given_up = "if it is given up: --no-source, or take source.path out of nasmigrate.toml"
        error.hint = f"{error.hint}; {given_up}" if error.hint else given_up
        raise


def _source_gate(manifest: Manifest) -> Gate:
    if manifest.source is None:
        return Gate(name="source", status="skipped", detail="no SQLite file: left out, or none is named", checked=0)
    detail = f"{manifest.source_path}: a snapshot of {manifest.source.bytes:,} bytes"
    return Gate(name="source", status="pass", detail=detail, checked=1)


def _snapshot(run: Run, source: Path | None, folder: Path) -> FileFacts | None:
    if source is None:
        return None
    with run.phase("snapshot", str(source)):
        # After a cutover the copy is fenced like the file: put back in its place, it lets nobody write either.
        snapshot = take_snapshot(
            source,
            folder / SNAPSHOT,
            busy_timeout=run.context.config.source.busy_timeout,
            fenced=True,
            keep_fence=True,
        )
    return FileFacts(name=SNAPSHOT, bytes=snapshot.bytes, sha256=snapshot.sha256)


def _prove(
    run: Run, tools: Tools, server: str, folder: Path, dumps: Sequence[Dump]
) -> tuple[list[Gate], list[Difference]]:
    """Restore every dump and compare it with the fingerprint of its own snapshot."""
    gates: list[Gate] = []
    differences: list[Difference] = []
    with scratch_place(tools, server, folder / GLOBALS) as (there, administrator):
        for dump in dumps:
            with scratch_database(administrator, dump.owner) as conninfo:
                restore_dump(there, folder / dump.file.name, _database(conninfo))
                found = unequal(dump.fingerprint, fingerprint_of(conninfo))
            checked = len(dump.fingerprint.tables) + len(dump.fingerprint.objects)
            gates.append(
                Gate(
                    name=f"restored {dump.name}",
                    status="fail" if found else "pass",
                    detail=f"{len(found)} differences: {found[0]}"
                    if found
                    else f"{dump.fingerprint.rows:,} rows and {len(dump.fingerprint.objects):,} definitions are equal",
                    checked=checked,
                )
            )
            differences += [
                Difference(kind="object", object=f"{dump.name}: {line}", found_by="backup") for line in found
            ]
    return gates, differences


def _facts(dump: Dump) -> DatabaseFacts:
    print_ = dump.fingerprint
    return DatabaseFacts(
        name=dump.name,
        file=dump.file,
        owner=dump.owner,
        roles=dump.roles,
        tables=len(print_.tables),
        rows=print_.rows,
        content=print_.content,
        catalogue=print_.catalogue,
        sequences=print_.sequences,
    )


def _result(
    run: Run, target: Target, manifest: Manifest, gates: list[Gate], differences: list[Difference], folder: Path
) -> Result:
    proven = verdict_of(gates)[0] == "pass"
    code = ExitCode.OK if proven else ExitCode.DIFFERENCES
    result = Result(
        command=run.command,
        nasmigrate_version=__version__,
        started_at=run.started_at,
        seconds=round(run.elapsed, 3),
        verdict="pass" if proven else "fail",
        exit_code=int(code),
        source=target.display,
        target=str(folder),
        run_directory=str(run.directory.root),
        source_sha256=manifest.source.sha256 if manifest.source else None,
        gates=tuple(gates),
        tables=tuple(
            TableResult(
                name=each.name,
                rows_source=each.rows,
                rows_target=each.rows if proven else None,
                digest=each.content,
                equal=proven,
                bytes_copied=each.file.bytes,
            )
            for each in manifest.databases
        ),
        differences=tuple(differences[:200]),
        differences_total=len(differences),
        timeline=tuple(run.timeline),
        environment={"postgres": manifest.server_version, "restored_into": manifest.proof.restored_into},
        next_step=None if proven else "nasmigrate report",
    )
    run.directory.write_json("result.json", result)
    return result


def _database(conninfo: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    return str(conninfo_to_dict(conninfo)["dbname"])


def _plain(name: str) -> str:
    """A database's name as part of a file's name: letters, digits, `_` and `-`, no more than 40."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:40]
