"""All rules over one text."""

from __future__ import annotations

from sqlglot.errors import SqlglotError

from nasmigrate.schema.dialect.names import Names
from nasmigrate.schema.dialect.shapes import SHAPES
from nasmigrate.schema.dialect.statement import Hit, Statement
from nasmigrate.schema.dialect.words import find_words


def check(sql: str, names: Names) -> tuple[list[Hit], bool]:
    """What Postgres would refuse or answer otherwise, in the order of the text.

    Returns:
        The hits, and whether the text could be read whole; where it could not, rules that need the whole statement
        did not run.
    """
    try:
        statement = Statement(sql, names)
    except SqlglotError:
        return [], False
    hits = {(hit.offset, hit.rule): hit for hit in find_words(statement)}
    for find in SHAPES:
        for hit in find(statement):
            hits.setdefault((hit.offset, hit.rule), hit)
    return [hits[place] for place in sorted(hits)], statement.trees is not None
