"""Notes on the libraries that wrote the source: their history tables, and what their habits propose."""

from __future__ import annotations

from nasmigrate.core.result import Finding
from nasmigrate.schema.intent import Intent, recognise
from nasmigrate.schema.planning.draft import Draft


def declared_intent(draft: Draft) -> None:
    """Note every library that is recognised. Columns the configuration speaks of already get no proposal."""
    for intent in recognise(draft.source.schema, draft.source.profiles):
        _recognised(draft, intent)
        for proposal in intent.proposals:
            if proposal.subject in draft.source.rules or proposal.subject in draft.source.forced:
                continue
            draft.findings.append(
                Finding(
                    code="DECLARED_INTENT",
                    severity="note",
                    table=proposal.table,
                    column=proposal.column,
                    message=f"{proposal.why}; nothing is changed unless you ask for it",
                    count=draft.source.profiles[proposal.table].columns[proposal.column].integers,
                    rule=proposal.toml,
                )
            )


def _recognised(draft: Draft, intent: Intent) -> None:
    draft.find(
        "ORM_RECOGNISED",
        "note",
        f"{intent.layer} wrote this database: its history is in {', '.join(intent.history)}",
        object=intent.layer,
        count=len(intent.proposals),
    )
    for name in intent.history:
        draft.find(
            "HISTORY_TABLE",
            "note",
            f"{intent.layer}'s record of its own migrations; on Postgres it writes a new one, drop the copy before",
            table=name,
        )
    numbers = sum(codec.name in ("bigint", "numeric") for codec in draft.codecs.values())
    if intent.node and numbers:
        draft.find(
            "NODE_INT8_STRING",
            "note",
            f"{numbers} bigint and numeric columns reach JavaScript as strings (node-pg), not as numbers",
            object=intent.layer,
            count=numbers,
        )
