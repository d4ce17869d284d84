"""Full-text indexes over tables that changed without their triggers: rebuilt where SQLite can, else named."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import apsw

from nasmigrate.schema.model import SourceSchema
from nasmigrate.sqlite.quoting import fold_ascii, quote_ident, tokens, unquote

_FTS = re.compile(r"fts[345]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FullText:
    """What became of the virtual tables. `rebuilt` are right again; `named` hold what they held before."""

    rebuilt: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def rebuild_full_text(connection: apsw.Connection, schema: SourceSchema, touched: Collection[str]) -> FullText:
    """Rebuild each full-text index whose content is one of the touched tables (`content=` of FTS4 and FTS5).

    Raises:
        apsw.Error: an index cannot be rebuilt.
    """
    folded = {fold_ascii(name) for name in touched}
    rebuilt, named = [], []
    for other in schema.others:
        if other.kind != "virtual table":
            continue
        content = _content_of(other.sql)
        if content is None:
            named.append(other.name)
        elif fold_ascii(content) in folded:
            name = quote_ident(other.name)
            connection.execute(f"INSERT INTO main.{name} ({name}) VALUES ('rebuild')")  # noqa: S608 - quoted name
            rebuilt.append(other.name)
    return FullText(rebuilt=tuple(rebuilt), named=tuple(named))


def _content_of(sql: str) -> str | None:
    """The table that a full-text index is over; None for any other virtual table, and for one with its own content."""
    parts = list(tokens(sql))
    words = [sql[token.start : token.end] for token in parts]
    using = next((i for i, token in enumerate(parts) if token.key == "USING"), None)
    if using is None or not _FTS.fullmatch(unquote(words[using + 1])):
        return None
    for i in range(using, len(parts) - 2):
        if parts[i].key == "CONTENT" and parts[i + 1].key == "=":
            return unquote(words[i + 2]) or None
    return None
