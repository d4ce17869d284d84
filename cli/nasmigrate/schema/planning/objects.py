"""Objects that are not ordinary tables: views, triggers, virtual tables."""

from __future__ import annotations

from nasmigrate.schema.planning.draft import Draft, short


def not_carried(draft: Draft) -> tuple[str, ...]:
    """The names of all such objects, each with its kind; shadow tables go with their virtual table."""
    names = []
    for other in draft.source.schema.others:
        names.append(f"{other.kind} {other.name}")
        match other.kind:
            case "view":
                code, text = "VIEW_NOT_TRANSLATED", "a view; views are not translated yet"
            case "trigger":
                code, text = "TRIGGER_NOT_CARRIED", f"a trigger on {other.table}"
            case "virtual table":
                code, text = "VIRTUAL_TABLE", "a virtual table; Postgres has other means (tsvector, pg_trgm)"
            case "shadow table":
                continue
        draft.find(code, "decision", f"{text}, not carried: {short(other.sql)}", object=other.name)
    return tuple(names)
