"""Names in Postgres: one namespace for tables, views and indexes, 63 bytes, a few words it keeps for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from nasmigrate.core.errors import IdentifierClash, SchemaError

MAX_BYTES = 63
"""NAMEDATALEN - 1; Postgres cuts longer names with a NOTICE only (trap T121)."""
CATALOGUE_PREFIX = "pg_"
"""Of every relation in pg_catalog: a table pg_class could not be named without its schema."""
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
"""Columns every table has already: CREATE TABLE fails with 42701 (trap T124)."""
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMap:
    """What the configuration calls objects of the source in Postgres.

    `tables` speaks of views as well, `columns` is keyed by `table.column`; `fold` writes every other name in snake
    case.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    fold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NameProblem:
    """Why Postgres cannot take a name; `instead` is the nearest one that it can."""

    code: str
    message: str
    instead: str


def problem_of(name: str, *, column: bool = False, relation: bool = False) -> NameProblem | None:
    """Why Postgres cannot take a name as it is, for a `column` or a `relation` (an index is one); None when it can."""
    if not name:
        return NameProblem(code="NAME_EMPTY", message="the name is empty, which Postgres cannot take", instead=UNNAMED)
    size = len(name.encode())
    if size > MAX_BYTES:
        message = f"the name is {size} bytes long, Postgres takes {MAX_BYTES}"
        return NameProblem(code="NAME_TOO_LONG", message=message, instead=fit(name))
    if column and name in SYSTEM_COLUMNS:
        message = "every table of Postgres has a column of that name already"
        return NameProblem(code="NAME_RESERVED_BY_PG", message=message, instead=f"{name}_")
    if relation and name.startswith(CATALOGUE_PREFIX):
        message = "names that begin with pg_ are those of Postgres' own catalogue, which is looked into first"
        return NameProblem(code="NAME_RESERVED_BY_PG", message=message, instead=f"_{name}")
    return None


def fit(name: str) -> str:
    """A name made short enough: cut, and told apart by a piece of its sha256."""
    raw = name.encode()
    if len(raw) <= MAX_BYTES:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: MAX_BYTES - 9].decode(errors="ignore") + "_" + mark


def sequence_name(table: str, column: str) -> str:
    """What Postgres calls the sequence of an identity column where that name is free.

    The longer of the two names is cut first (`makeObjectName` in indexcmds.c).
    """
    parts = [table.encode(), column.encode()]
    sizes = [len(part) for part in parts]
    while sum(sizes) > MAX_BYTES - len("__seq"):
        sizes[0 if sizes[0] > sizes[1] else 1] -= 1
    cut = [part[:size].decode(errors="ignore") for part, size in zip(parts, sizes, strict=True)]
    return "_".join((*cut, "seq"))


def folded(name: str) -> str:
    """A name in snake case: `createdAt` -> `created_at`, `HTTPServer` -> `http_server`, `Unit no.` -> `unit_no_`."""
    parts = []
    for before, letter, after in zip(["", *name], name, [*name[1:], ""], strict=False):
        begins_word = letter.isupper() and (
            before.islower() or before.isdigit() or (before.isupper() and after.islower())
        )
        parts.append("_" if begins_word else "")
        parts.append("_" if letter.isspace() or letter in "-." else letter.lower())
    return "".join(parts)


class Names:
    """The names of one namespace given out so far."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def take(self, name: str, what: str) -> str:
        """Give out exactly this name.

        Raises:
            IdentifierClash: it is taken.
            SchemaError: Postgres cannot take it.
        """
        problem = problem_of(name)
        if problem is not None or "\x00" in name:
            reason = problem.message if problem is not None else "the name holds a NUL character"
            raise SchemaError(f"{what}: {reason}", hint="name it below [names] in nasmigrate.toml")
        if name in self._taken:
            raise IdentifierClash(
                f"NAME_COLLISION: {what} and {self._taken[name]} would both be called {name!r} in Postgres",
                hint="give one of them another name below [names] in nasmigrate.toml; tables, views and indexes share"
                " one namespace there",
            )
        self._taken[name] = what
        return name

    def free(self, name: str, what: str) -> str:
        """Give out this name, shortened and numbered as needed; for names that may make way."""
        candidate, number = fit(name), 1
        while candidate in self._taken:
            number += 1
            candidate = fit(f"{name}{number}")
        return self.take(candidate, what)
