"""Names in Postgres: one namespace for tables and indexes, 63 bytes, a few words it keeps for itself."""

from __future__ import annotations

import hashlib

from nasmigrate.core.errors import IdentifierClash, SchemaError
from nasmigrate.schema.model import Table

MAX_BYTES = 63
"""NAMEDATALEN - 1; Postgres cuts longer names with a NOTICE only (trap T121)."""
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
"""Columns every table has already: CREATE TABLE fails with 42701 (trap T124)."""


def check_name(name: str, what: str) -> None:
    """Refuse a name that Postgres cannot take as it is.

    Raises:
        SchemaError: empty, with a NUL, or longer than 63 bytes.
    """
    if not name:
        raise SchemaError(f"{what} has an empty name, which Postgres cannot take", hint="rename it in the source")
    if "\x00" in name:
        raise SchemaError(f"{what} has a NUL in its name", hint="rename it in the source")
    size = len(name.encode())
    if size > MAX_BYTES:
        raise SchemaError(
            f"{what}: the name is {size} bytes long, Postgres takes {MAX_BYTES}", hint="rename it in the source"
        )


def fit(name: str) -> str:
    """A name of ours made short enough: cut, and told apart by a piece of its sha256."""
    raw = name.encode()
    if len(raw) <= MAX_BYTES:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: MAX_BYTES - 9].decode(errors="ignore") + "_" + mark


def check_column_names(table: Table) -> None:
    """Refuse column names that Postgres cannot take.

    Raises:
        SchemaError: as `check_name`, or a system column's name.
    """
    for column in table.columns:
        check_name(column.name, f"column {column.name!r} of table {table.name}")
        if column.name in SYSTEM_COLUMNS:
            raise SchemaError(
                f"column {column.name!r} of table {table.name}: Postgres keeps that name for itself",
                hint="rename it in the source",
            )


class Names:
    """The names of tables and indexes given out so far."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def take(self, name: str, what: str) -> str:
        """Give out exactly this name.

        Raises:
            IdentifierClash: it is taken.
            SchemaError: Postgres cannot take it.
        """
        check_name(name, what)
        if name in self._taken:
            raise IdentifierClash(
                f"{what} and {self._taken[name]} would both be called {name!r} in Postgres",
                hint="tables and indexes share one namespace there; rename one in the source",
            )
        self._taken[name] = what
        return name

    def free(self, name: str, what: str) -> str:
        """Give out this name, shortened and numbered as needed; for names the source never had."""
        candidate, number = fit(name), 1
        while candidate in self._taken:
            number += 1
            candidate = fit(f"{name}{number}")
        return self.take(candidate, what)
