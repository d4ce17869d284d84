"""Objects that are neither tables nor views: triggers and virtual tables, listed with what may stand in their place."""

from __future__ import annotations

import re
from collections.abc import Collection

from nasmigrate.schema.model import OtherObject
from nasmigrate.schema.planning.draft import Draft, short

_MODULE = re.compile(r"\bUSING\s+[\"'`\[]?(\w+)", re.ASCII | re.IGNORECASE)
_EXTERNAL_CONTENT = re.compile(r"[(,]\s*content\s*=\s*['\"`\[]?(\w+)", re.ASCII | re.IGNORECASE)
_FULL_TEXT = frozenset({"fts3", "fts4", "fts5"})
_BOXES = frozenset({"rtree", "rtree_i32", "geopoly"})


def not_carried(draft: Draft, views: Collection[str]) -> tuple[str, ...]:
    """The names of all such objects, and of views but those that are carried, each with its kind.

    Shadow tables go with their virtual table; views have their own findings.
    """
    names = []
    for other in draft.source.schema.others:
        if other.kind == "view" and other.name in views:
            continue
        names.append(f"{other.kind} {other.name}")
        match other.kind:
            case "trigger":
                code, text = "TRIGGER_NOT_CARRIED", f"a trigger on {other.table}: write it anew in PL/pgSQL"
            case "virtual table":
                code, text = "VIRTUAL_TABLE", f"a virtual table: {_replacement(other)}"
            case "shadow table" | "view":
                continue
        draft.find(code, "decision", f"{text}; not carried: {short(other.sql)}", object=other.name)
    return tuple(names)


def _replacement(other: OtherObject) -> str:
    """What Postgres has in the place of a virtual table, and whether rows of its own stay behind."""
    match = _MODULE.search(other.sql)
    module = match[1].lower() if match else ""
    if module in _FULL_TEXT:
        content = _EXTERNAL_CONTENT.search(other.sql)
        rows = (
            f"its text is that of {content[1]}"
            if content
            else "the text it holds is its own, keep it in a table if it is nowhere else"
        )
        return f"a generated tsvector column with a GIN index, or pg_trgm for LIKE, does its work; {rows}"
    if module in _BOXES:
        return "a GiST index on box or point, or PostGIS, does its work; the boxes it holds are its own"
    return f"its rows come from the module {module or 'it names'}, which Postgres does not have"
