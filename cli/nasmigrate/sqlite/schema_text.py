"""The text of a schema: equal at two moments means that its shape did not drift."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import apsw

OURS = "_nasmigrate_"
"""Beginning of the names of all that we ever put into a source."""

SchemaText = tuple[tuple[str, str, str], ...]


def schema_text(connection: apsw.Connection) -> SchemaText:
    """(type, name, sql) of every row of `sqlite_schema`, ordered: equal at two moments means no drift.

    The statistics tables are left out, since ANALYZE and `PRAGMA optimize` make them at any time without
    changing the schema. Indexes that SQLite makes itself have the sql ''.
    """
    rows = connection.execute(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_schema"
        " WHERE name NOT GLOB 'sqlite_stat[0-9]' ORDER BY type, name, sql"
    )
    return tuple((str(kind), str(name), str(sql)) for kind, name, sql in rows)


def digest_of_schema(text: Iterable[tuple[str, str, str]]) -> str:
    """sha256 (hexadecimal) over a schema's text, without what is ours."""
    kept = [row for row in text if not row[1].startswith(OURS)]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()
