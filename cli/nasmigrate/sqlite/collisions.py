"""Rows that the mapping rules of their columns make equal in a unique key.

`A…` and `a…` are two values to SQLite and one UUID: Postgres would refuse the key after all rows were copied. The keys
are compared as the rules leave them, in a file of SQLite's own that goes when it is closed, so that memory stays
bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from nasmigrate.schema.codecs import SqliteValue
from nasmigrate.schema.evidence import KEYS_KEPT, Collisions
from nasmigrate.schema.model import Index, SourceSchema, Table
from nasmigrate.schema.plan import PlanKept
from nasmigrate.schema.rules.apply import RuleSet
from nasmigrate.sqlite.open import mapped_errors, open_snapshot
from nasmigrate.sqlite.quarantine import kept_condition
from nasmigrate.sqlite.quoting import fold_ascii, quote_ident
from nasmigrate.sqlite.read import Row, Selection, read

_FOLDS: Mapping[str, Callable[[str], str]] = {
    "BINARY": str,
    "NOCASE": fold_ascii,
    "RTRIM": lambda text: text.rstrip(" "),
}
"""What text of a collation is compared by."""


def find_collisions(
    snapshot: Path,
    schema: SourceSchema,
    rules: Mapping[str, Sequence[str]],
    kept: Mapping[str, tuple[PlanKept, ...]],
) -> dict[tuple[str, str], Collisions]:
    """(table, name of the unique index) -> its rows that are no longer unique; an index without such is left out.

    An index with an expression, with a collation of the application's or with a condition that only the application
    can evaluate is left out, too.

    Args:
        snapshot: is read only for keys of which a column has a rule.
        schema: of the source.
        rules: `table.column` -> names of rules.
        kept: table -> the parents that its rows must have, or they are set aside.
    """
    keys = [
        (table, index, ruled)
        for table in schema.tables
        for index in table.indexes
        if index.unique and (ruled := _ruled(table, index, rules))
    ]
    found = {}
    if keys:
        with closing(open_snapshot(snapshot)) as connection, mapped_errors(snapshot, "compare its unique keys"):
            # Old files hold WHERE b <> "zz" with the double quotes meaning a string.
            connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
            for table, index, ruled in keys:
                rows = _rows(connection, schema.encoding, table, index, kept.get(table.name, ()))
                collisions = _equal(table, index, ruled, rows)
                if collisions is not None:
                    found[table.name, index.name] = collisions
    return found


def _ruled(table: Table, index: Index, rules: Mapping[str, Sequence[str]]) -> dict[int, RuleSet]:
    """Place in the key -> the rules of its column; none where the key cannot be compared here."""
    if any(term.column is None or term.collation not in _FOLDS for term in index.terms):
        return {}
    names = [f"{table.name}.{table.column(term.column).name}" for term in index.terms if term.column]
    return {place: RuleSet(rules[name]) for place, name in enumerate(names) if name in rules}


def _rows(
    connection: apsw.Connection, encoding: str, table: Table, index: Index, kept: tuple[PlanKept, ...]
) -> Iterator[list[Row]]:
    """The columns of the key, then what names the row."""
    columns = tuple(term.column for term in index.terms if term.column)
    # The line break ends a comment that the text may end with.
    conditions = [f"(\n{index.where_sql}\n)"] if index.where_sql else []
    conditions += [kept_condition(quote_ident(table.name), kept)] if kept else []
    selection = Selection(
        table=table.name,
        columns=columns + (table.primary_key or columns),
        raw_text=frozenset(columns + table.primary_key),
        encoding=encoding,
        condition=" AND ".join(conditions),
    )
    try:
        yield from read(connection, selection)
    except apsw.SQLError:
        # The condition calls a function of the application's: it has no translation either.
        if not index.where_sql:
            raise


def _equal(table: Table, index: Index, ruled: Mapping[int, RuleSet], batches: Iterator[list[Row]]) -> Collisions | None:
    names = table.primary_key or [term.column for term in index.terms if term.column]
    width = len(index.terms)
    with closing(apsw.Connection("")) as scratch:
        scratch.execute("CREATE TABLE keys (digest BLOB, shown TEXT)")
        with scratch:
            for batch in batches:
                columns = list(zip(*batch, strict=True))
                for place, rules in ruled.items():
                    columns[place] = tuple(rules.lead(rules.without_nulls_made(columns[place])).values)
                scratch.executemany(
                    "INSERT INTO keys VALUES (?, ?)",
                    (
                        (_digest(index, row[:width]), _shown(names, row[width:]))
                        for row in zip(*columns, strict=True)
                        if None not in row[:width]
                    ),
                )
        twice = "SELECT digest FROM keys GROUP BY digest HAVING count(*) > 1"
        condition = f"FROM keys WHERE digest IN ({twice})"
        count = sum(1 for _ in scratch.execute(f"SELECT 1 {condition}"))
        shown = scratch.execute(f"SELECT shown {condition} ORDER BY digest, rowid LIMIT {KEYS_KEPT}").fetchall()
    return Collisions(count=count, keys=tuple(str(text) for (text,) in shown)) if count else None


def _digest(index: Index, key: Row) -> bytes:
    values = [_compared(value, term.collation) for value, term in zip(key, index.terms, strict=True)]
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).digest()


def _compared(value: SqliteValue, collation: str) -> SqliteValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _FOLDS[collation](value) if isinstance(value, str) else value


def _shown(names: Sequence[str], values: Row) -> str:
    texts = (value.replace("\0", "\\x00") if isinstance(value, str) else repr(value) for value in values)
    return ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
