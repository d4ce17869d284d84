"""The first backup of what serves now: a pg_dump, read by pg_restore to its end, with every table in it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psycopg

from nasmigrate.backup.tools import Tools
from nasmigrate.core.errors import TargetError, ToolFailed, ToolMissing
from nasmigrate.core.result import Gate
from nasmigrate.postgres.connect import server_facts
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.server_tools import ToolsFor

DUMP = "target.dump"

_TABLES = """
    SELECT c.oid, format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'nasmigrate') AND c.relkind = 'r' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
"""Ours and the application's; an extension brings its own again."""

_DATA = re.compile(r"^\d+; \d+ (\d+) TABLE DATA ", re.MULTILINE)
"""A table's rows in what `pg_restore --list` says, by the table's oid."""


def dump_target(ends: Ends, folder: Path, tools_for: ToolsFor) -> Gate:
    """Dump the target into `folder` (0600), by the tools of `nasmigrate backup`; without them the gate says so."""
    file = folder / DUMP
    try:
        file.unlink(missing_ok=True)
        with ends.connected() as connection:
            facts = server_facts(connection)
            tables = _tables(connection)
            connection.commit()
        tools = tools_for(facts)
        tools.run("pg_dump", ("--format=custom",), database=facts.database, stdout=file)
        tools.run("pg_restore", ("--file=/dev/null",), connect=False, stdin=file)
        dumped = _dumped(tools, file)
    except ToolMissing as error:
        detail = f"{error.message}: take a backup of the database by other means"
        return Gate(name="dump", status="skipped", detail=detail)
    except (ToolFailed, TargetError, OSError) as error:
        # A dump that was not written to its end is none, and takes what room there is.
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return Gate(name="dump", status="inconclusive", detail=f"{error}; nasmigrate backup takes one")
    absent = [name for oid, name in tables.items() if oid not in dumped]
    if absent:
        detail = f"{file} has no rows of {', '.join(absent[:5])}; nasmigrate backup takes a dump that is whole"
        return Gate(name="dump", status="inconclusive", detail=detail, checked=len(tables))
    size = file.stat().st_size
    detail = f"{file}, {size:,} bytes, read to its end; {len(tables)} tables of {facts.database}"
    return Gate(name="dump", status="pass", detail=detail, checked=len(tables))


def _tables(connection: psycopg.Connection) -> dict[int, str]:
    """Oid -> name of each table whose rows belong into the dump."""
    return dict(connection.execute(_TABLES).fetchall())


def _dumped(tools: Tools, file: Path) -> set[int]:
    """The oids of the tables whose rows are in a dump.

    Raises:
        ToolFailed: it has no list of what is in it.
    """
    listed = file.with_suffix(".list")
    listed.unlink(missing_ok=True)
    try:
        tools.run("pg_restore", ("--list",), connect=False, stdin=file, stdout=listed)
        return {int(oid) for oid in _DATA.findall(listed.read_text(errors="replace"))}
    finally:
        listed.unlink(missing_ok=True)
