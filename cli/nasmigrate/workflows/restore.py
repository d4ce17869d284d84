"""`nasmigrate restore`: one database of a backup into an empty one, compared with what was dumped."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from psycopg.conninfo import conninfo_to_dict

from nasmigrate import __version__
from nasmigrate.backup.manifest import DatabaseFacts, Manifest, backups, read_backup
from nasmigrate.backup.restoring import (
    fingerprint_of,
    memberships_of,
    refuse_unless_empty,
    restore_dump,
    restore_globals,
)
from nasmigrate.backup.tools import local_tools
from nasmigrate.core.context import Context
from nasmigrate.core.errors import BackupRefused, ExitCode
from nasmigrate.core.result import Difference, Gate, Result, TableResult
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import ServerFacts, connected, server_facts
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.server_tools import ToolsFor


def find_backup(context: Context, given: str | None) -> Path:
    """The folder of a backup: as given, by its name in [backup] directory, or the newest.

    Raises:
        BackupRefused: there is none.
    """
    directory = context.base / Path(context.config.backup.directory).expanduser()
    if given is None:
        found = backups(directory)
        if not found:
            raise BackupRefused(f"{directory}: holds no backup", hint="nasmigrate backup makes one")
        return found[-1]
    for folder in (context.base / Path(given).expanduser(), directory / given):
        if folder.is_dir():
            return folder
    raise BackupRefused(f"{given}: no such folder, and no backup of that name in {directory}")


def restore(
    context: Context,
    folder: Path,
    target: Target,
    *,
    database: str | None = None,
    with_roles: bool = False,
    allow_newer_server: bool = False,
    tools_for: ToolsFor | None = None,
) -> Result:
    """Restore one database and prove that it is what was dumped.

    Args:
        context: settings and reporter.
        folder: of the backup.
        target: the database to restore into; it must be empty.
        database: which one of the backup; None = the one of the target's name, or the only one.
        with_roles: first make the backup's roles that the server lacks, and grant the backup's memberships.
        allow_newer_server: also take a server of a newer major version than the backup's.
        tools_for: where the server's own tools are; None = on this machine.

    Raises:
        BackupRefused: the backup is not as it was written, is of another version, or lacks the database.
        TargetNotEmpty: the target holds something; nothing was touched.
        ToolMissing, ToolFailed: the tools; after a failure the target is as it was.
        TargetError: the server cannot be reached.
    """
    with running(context, "restore") as run:
        with run.phase("check", str(folder)):
            manifest = read_backup(folder)
            facts = _choose(manifest, database, target)
            with connected(target.conninfo, purpose="nasmigrate restore") as connection:
                server = server_facts(connection)
            _check_version(manifest, server, allow_newer=allow_newer_server)
            refuse_unless_empty(target.conninfo, target.display)
            given = context.base / Path(context.config.backup.tools) if context.config.backup.tools else None
            tools = tools_for(server) if tools_for else local_tools(target.conninfo, server.version_number, given=given)
        if with_roles:
            with run.phase("roles"):
                restore_globals(tools, target.conninfo, folder / manifest.globals.name)
        _check_roles(facts, target)
        with run.phase("restore", facts.name):
            restore_dump(tools, folder / facts.file.name, server.database)
        with run.phase("verify", "every row and definition"):
            gate = _compare(facts, target, same_version=manifest.server_version_number // 10000 == tools.major)
            memberships = _memberships(facts, target, folder / manifest.globals.name)
        return _result(run, folder, target, facts, gate, memberships)


def check_backup(context: Context, folder: Path) -> Manifest:
    """Whether a backup still is as it was written; nothing is restored.

    Raises:
        BackupRefused: it is not; or it lacks a database that [backup] databases names.
    """
    manifest = read_backup(folder)
    there = [each.name for each in manifest.databases]
    missing = [name for name in context.config.backup.databases if name not in there]
    if missing:
        raise BackupRefused(
            f"{folder}: lacks database {', '.join(missing)}; it has {', '.join(there)}",
            checks=[f"missing database {name}" for name in missing],
            hint="[backup] databases names what a whole backup has",
        )
    return manifest


def _choose(manifest: Manifest, database: str | None, target: Target) -> DatabaseFacts:
    there = {each.name: each for each in manifest.databases}
    name = database or str(conninfo_to_dict(target.conninfo).get("dbname"))
    if name in there:
        return there[name]
    if database is None and len(there) == 1:
        return manifest.databases[0]
    raise BackupRefused(
        f"this backup has no database {name!r}; it has {', '.join(there)}",
        checks=[f"missing database {name}"],
        hint="--database says which one",
    )


def _check_version(manifest: Manifest, server: ServerFacts, *, allow_newer: bool) -> None:
    theirs, ours = manifest.server_version_number // 10000, server.version_number // 10000
    if theirs == ours or (allow_newer and theirs < ours):
        return
    raise BackupRefused(
        f"this backup is of PostgreSQL {manifest.server_version}, the target is {server.version}: another version",
        checks=[f"server version {manifest.server_version} instead of {server.version}"],
        hint="--allow-newer-server restores it all the same; the comparison of definitions is then left out"
        if theirs < ours
        else f"an older server cannot take it: use PostgreSQL {theirs}",
    )


def _check_roles(facts: DatabaseFacts, target: Target) -> None:
    with connected(target.conninfo, purpose="nasmigrate restore") as connection:
        there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    missing = [name for name in facts.roles if name not in there]
    if missing:
        raise BackupRefused(
            f"the server lacks {len(missing)} roles that {facts.name!r} names; nothing was touched",
            checks=[f"missing role {name}" for name in missing],
            hint="--with-roles first makes those that are missing; a role that is there keeps its password",
        )


def _compare(facts: DatabaseFacts, target: Target, *, same_version: bool) -> tuple[Gate, list[str]]:
    found = fingerprint_of(target.conninfo)
    wrong = []
    if found.rows != facts.rows:
        wrong.append(f"{found.rows:,} rows instead of {facts.rows:,}")
    if found.content != facts.content:
        wrong.append("the digest over all rows is another one")
    if same_version and found.catalogue != facts.catalogue:
        wrong.append("the digest over all definitions is another one")
    wrong += [
        f"sequence {name} is behind" for name, value in facts.sequences.items() if found.sequences.get(name, -1) < value
    ]
    gate = Gate(
        name=f"restored {facts.name}",
        status="fail" if wrong else "pass",
        detail="; ".join(wrong)
        if wrong
        else f"{facts.rows:,} rows of {facts.tables} tables are those that were dumped",
        checked=facts.tables + len(found.objects),
    )
    return gate, wrong


def _memberships(facts: DatabaseFacts, target: Target, globals_file: Path) -> tuple[Gate, list[str]]:
    """No part of a database, but without them nobody may use it who did: the switch of a cutover is one."""
    found = memberships_of(target.conninfo, globals_file, facts.roles)
    if found.missing:
        detail = f"the roles had members that they lack here; let an administrator run: {' '.join(found.missing)}"
    else:
        detail = f"{found.all} memberships in the roles of {facts.name} are as they were"
    status: Literal["pass", "fail", "skipped"] = "fail" if found.missing else "pass" if found.all else "skipped"
    gate = Gate(name="memberships", status=status, detail=detail, checked=found.all)
    return gate, [f"missing: {line}" for line in found.missing]


def _result(
    run: Run,
    folder: Path,
    target: Target,
    facts: DatabaseFacts,
    content: tuple[Gate, list[str]],
    memberships: tuple[Gate, list[str]],
) -> Result:
    equal = content[0].status == "pass"
    wrong = [*content[1], *memberships[1]]
    whole = not wrong
    result = Result(
        command=run.command,
        nasmigrate_version=__version__,
        started_at=run.started_at,
        seconds=round(run.elapsed, 3),
        verdict="pass" if whole else "fail",
        exit_code=int(ExitCode.OK if whole else ExitCode.DIFFERENCES),
        source=f"{folder}, database {facts.name}",
        target=target.display,
        run_directory=str(run.directory.root),
        gates=(content[0], memberships[0]),
        tables=(
            TableResult(
                name=facts.name, rows_source=facts.rows, rows_target=facts.rows if equal else None, equal=equal
            ),
        ),
        differences=tuple(Difference(kind="object", object=line, found_by="restore") for line in wrong),
        differences_total=len(wrong),
        timeline=tuple(run.timeline),
        next_step=None if whole else "nasmigrate report",
    )
    run.directory.write_json("result.json", result)
    return result
