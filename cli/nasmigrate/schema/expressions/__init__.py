"""Translates the expressions of a SQLite schema to PostgreSQL: DEFAULT, CHECK, WHERE, index and generated terms.

Strictly by an allow-list. What is not known to mean exactly the same is NotTranslated with a reason, never guessed;
what is translated is still proven on the real server in rehearsal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Required, TypedDict, Unpack

from nasmigrate.schema.expressions.agree import stored_as, truth, typed
from nasmigrate.schema.expressions.defaults import default_sql
from nasmigrate.schema.expressions.facts import (
    ColumnTypes,
    NotTranslated,
    Refusal,
    Translated,
    TypeName,
    Value,
    quote_name,
    quote_text,
)
from nasmigrate.schema.expressions.relations import Output, Relation, RelationColumn
from nasmigrate.schema.expressions.source import columns_of, quoted_strings, read
from nasmigrate.schema.expressions.translator import Translator
from nasmigrate.schema.expressions.views import TranslatedView, create_view, translate_view
from nasmigrate.schema.model import Affinity

__all__ = [
    "ColumnTypes",
    "NotTranslated",
    "OfTable",
    "Output",
    "Relation",
    "RelationColumn",
    "Translated",
    "TranslatedView",
    "columns_of",
    "create_view",
    "quote_name",
    "quote_text",
    "quoted_strings",
    "translate_default",
    "translate_predicate",
    "translate_term",
    "translate_view",
]


def translate_default(
    sql: str, *, target_type: str, text_shape: str | None, affinity: Affinity = Affinity.TEXT
) -> Translated | NotTranslated:
    """Translate a column's DEFAULT, as `table_xinfo` gives its text.

    Args:
        sql: the text of the default; parentheses around it are allowed.
        target_type: the column's PostgreSQL type.
        text_shape: how the stored rows write their dates (`YYYY-MM-DD HH:MM:SS`, also with `T`, `.SSS`, and `Z` or
            an offset), None when the column has no such shape.
        affinity: of the column; where the target is text, it says how SQLite stores and so writes a number.

    Returns:
        NotTranslated also when a new row would not have the shape of the stored ones: it could not come home.
    """
    try:
        target = TypeName.parse(target_type)
        return Translated(sql=default_sql(sql, target=target, text_shape=text_shape, affinity=affinity))
    except Refusal as refusal:
        return NotTranslated(reason=refusal.reason)


class OfTable(TypedDict, total=False):
    """What an expression is translated by: facts of the table that it is of.

    Attributes:
        columns: PostgreSQL types of all columns of the table; a double-quoted word outside them is a string.
        collations: SQLite collations of columns that are not BINARY.
        text_shapes: shapes of the columns whose dates were text; without them dates compare with nothing.
        names: what columns are called in PostgreSQL, where that is not their name in the source.
        utf8: False for a UTF-16 database, where text sorts otherwise.
        held_as_bytes: columns of type bytea that hold text or numbers in SQLite: it does not look into those as into
            blobs, nor compare them so. They may be asked for NULL.
    """

    columns: Required[ColumnTypes]
    collations: Mapping[str, str]
    text_shapes: Mapping[str, str]
    names: Mapping[str, str]
    utf8: bool
    held_as_bytes: Collection[str]


def translate_predicate(sql: str, **table: Unpack[OfTable]) -> Translated | NotTranslated:
    """Translate a CHECK or the WHERE of a partial index; NULL is as good as true for a CHECK in both systems.

    `sql` is the text between the parentheses, or after WHERE.
    """
    try:
        value = truth(_value(sql, table))
    except Refusal as refusal:
        return NotTranslated(reason=refusal.reason)
    return Translated(sql=value.sql)


def translate_term(sql: str, *, target_type: str | None = None, **table: Unpack[OfTable]) -> Translated | NotTranslated:
    """Translate a key term of an index, or with `target_type` the expression of a generated column of that type.

    The result has no parentheses around it.
    """
    try:
        value = _value(sql, table)
        written = typed(value) if target_type is None else stored_as(value, TypeName.parse(target_type))
    except Refusal as refusal:
        return NotTranslated(reason=refusal.reason)
    return Translated(sql=written)


def _value(sql: str, table: OfTable) -> Value:
    translator = Translator(
        read(sql),
        columns=table["columns"],
        collations=table.get("collations", {}),
        shapes=table.get("text_shapes", {}),
        names=table.get("names", {}),
        utf8=table.get("utf8", True),
        held_as_bytes=table.get("held_as_bytes", ()),
    )
    try:
        return translator.translate()
    except RecursionError as error:
        raise Refusal("the expression is nested too deeply") from error
