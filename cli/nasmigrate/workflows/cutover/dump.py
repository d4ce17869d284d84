"""The first backup of what serves now: a pg_dump, read by pg_restore to its end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nasmigrate.core.errors import TargetError, ToolFailed, ToolMissing
from nasmigrate.core.result import Gate
from nasmigrate.postgres.connect import server_facts
from nasmigrate.workflows.cutover.ends import Ends
from nasmigrate.workflows.server_tools import ToolsFor

DUMP = "target.dump"


def dump_target(ends: Ends, folder: Path, tools_for: ToolsFor) -> Gate:
    """Dump the target into `folder` (0600), by the tools of `nasmigrate backup`; without them the gate says so."""
    file = folder / DUMP
    try:
        file.unlink(missing_ok=True)
        with ends.connected() as connection:
            facts = server_facts(connection)
            connection.commit()
        tools = tools_for(facts)
        tools.run("pg_dump", ("--format=custom",), stdout=file)
        tools.run("pg_restore", ("--file=/dev/null",), connect=False, stdin=file)
    except ToolMissing as error:
        detail = f"{error.message}: take a backup of the database by other means"
        return Gate(name="dump", status="skipped", detail=detail)
    except (ToolFailed, TargetError, OSError) as error:
        # A dump that was not written to its end is none, and takes what room there is.
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return Gate(name="dump", status="inconclusive", detail=f"{error}; nasmigrate backup takes one")
    return Gate(name="dump", status="pass", detail=f"{file}, {file.stat().st_size:,} bytes, read to its end", checked=1)
