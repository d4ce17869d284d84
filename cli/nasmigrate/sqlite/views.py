"""Views of a snapshot: their columns as SQLite names them, or what is wrong with them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw

from nasmigrate.schema.evidence import ViewFacts
from nasmigrate.schema.model import SourceSchema
from nasmigrate.sqlite.open import open_views

_SECONDS = 10.0


def view_facts(snapshot: Path, schema: SourceSchema) -> dict[str, ViewFacts]:
    """The facts of every view, by name. The views are prepared, none is run.

    SQLite stores a view without looking at it: what it reads may be missing (trap T108).
    """
    names = [other.name for other in schema.others if other.kind == "view"]
    if not names:
        return {}
    with closing(open_views(snapshot, seconds=_SECONDS)) as connection:
        return {name: _facts(connection, name) for name in names}


def _facts(connection: apsw.Connection, name: str) -> ViewFacts:
    try:
        rows = connection.execute("SELECT name FROM pragma_table_xinfo(?, 'main')", (name,)).fetchall()
    except (apsw.Error, UnicodeDecodeError) as error:
        return ViewFacts(problem=str(error))
    return ViewFacts(columns=tuple(str(row[0]) for row in rows))
