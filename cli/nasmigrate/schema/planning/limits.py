"""What no table of Postgres can hold, or no one could bring back: such a source is refused before any write."""

from __future__ import annotations

from nasmigrate.core.errors import SourceError, TableTooWide, ValueTooLarge
from nasmigrate.schema.model import BUILT_IN_COLLATIONS, SourceSchema, Table
from nasmigrate.schema.planning.draft import Draft

FIELD_BYTES = 2**30 - 1024
"""Bytes of the largest value: a field, with its headers and the rest of its row in COPY, stays below 1 GiB."""
MAX_COLUMNS = 1600
"""MaxHeapAttributeNumber, in access/htup_details.h."""
ROW_BYTES = 8160
"""MaxHeapTupleSize for pages of 8 KiB."""
_ROW_HEADER = 24
_INLINE = 25
"""What a value of variable length leaves in its row at most: longer ones are moved out if the row needs it, and
leave a pointer of 18 bytes (toast_tuple_find_biggest_attribute moves what is larger than 24)."""


def check_values(draft: Draft) -> None:
    """Refuse values that no type of Postgres holds; a file of SQLite's own default limits has none.

    Raises:
        ValueTooLarge: there is one.
    """
    checks = [
        f"VALUE_TOO_LARGE: {profile.name}.{column.name} holds a value of {column.max_bytes:,} bytes,"
        f" a field of Postgres holds {FIELD_BYTES:,}"
        for profile in draft.source.profiles.values()
        for column in profile.columns.values()
        if column.max_bytes > FIELD_BYTES
    ]
    if checks:
        raise ValueTooLarge(
            checks[0],
            checks=checks,
            hint=f"length(CAST(column AS BLOB)) > {FIELD_BYTES} finds the rows in SQLite; keep such values elsewhere",
        )


def check_collations(schema: SourceSchema) -> None:
    """Refuse columns that compare by a collation of the application's own: no one else can even create their table.

    Raises:
        SourceError: there is one.
    """
    checks = [
        f"{table.name}.{column.name} compares by {column.collation}, a collation that only the application has"
        for table in schema.tables
        for column in table.columns
        if column.collation.upper() not in BUILT_IN_COLLATIONS
    ]
    if checks:
        raise SourceError(
            f"{checks[0]}: its rows can neither be proven nor brought home",
            hint="let the application make the table anew, the column with COLLATE NOCASE or none",
            details={"checks": checks},
            code="NM0711",
        )


def check_tables(draft: Draft) -> None:
    """Refuse tables with more columns or wider rows than Postgres takes; all columns are decided.

    Raises:
        TableTooWide: there is one.
    """
    checks = []
    for table in draft.source.schema.tables:
        if len(table.columns) > MAX_COLUMNS:
            checks.append(
                f"TOO_MANY_COLUMNS: {table.name} has {len(table.columns):,} columns, Postgres takes {MAX_COLUMNS:,}"
            )
        elif (width := _widest_row(draft, table)) > ROW_BYTES:
            checks.append(
                f"ROW_TOO_WIDE: a row of {table.name} may need {width:,} bytes, Postgres takes {ROW_BYTES:,}"
                " beside the values that it can move out"
            )
    if checks:
        raise TableTooWide(checks[0], checks=checks, hint="split the table in the source; two with one key are enough")


def _widest_row(draft: Draft, table: Table) -> int:
    """An upper bound of the bytes that a row of the table needs in its page."""
    if not draft.source.profiles[table.name].rows:
        return 0
    columns = 0
    for column in table.columns:
        profile, codec = draft.profile(table, column.name), draft.codecs[table.name, column.name]
        if profile.classes:
            # Eight bytes for the narrower types too: the one after them may have to be aligned.
            columns += 8 if codec.width is not None and codec.width <= 8 else min(_INLINE, profile.max_bytes + 9)
    # The profile's bound of one row's bytes counts NULL as nothing.
    known = draft.source.profiles[table.name].max_row_bytes
    return _ROW_HEADER + -(-len(table.columns) // 8) + min(columns, known)
