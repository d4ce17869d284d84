"""What tables, views, indexes and columns are called in Postgres: as in the source, unless it cannot be.

Tables come first, then views, then indexes that have a name of their own; names that are derived (keys, constraints)
make way for all of them. A name that Postgres cannot take is replaced by the nearest one that it can, which is a
decision of the reader; two objects with one name are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nasmigrate.core.errors import IdentifierClash, SchemaError
from nasmigrate.core.result import Finding
from nasmigrate.core.toml import toml_string
from nasmigrate.schema.model import Table
from nasmigrate.schema.names import NameProblem, Names, folded, problem_of
from nasmigrate.schema.planning.draft import Draft

AUTOMATIC = "sqlite_autoindex_"
"""Beginning of the names that SQLite gives to indexes of constraints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """One object that needs a name: `key` is what the section of [names] calls it, `place` says where it is."""

    name: str
    key: str
    what: str
    section: str
    place: Finding


def decide_names(draft: Draft) -> None:
    """Give every table, view, index and column of the source its name in Postgres.

    Raises:
        IdentifierClash: two of them would have one name.
        SchemaError: [names] speaks of something that is not there, or gives a name that Postgres cannot take.
    """
    _Naming(draft).decide()


class _Naming:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._map = draft.source.names
        self._refused: list[str] = []
        self._clashes: list[IdentifierClash] = []

    def decide(self) -> None:
        schema = self._draft.source.schema
        everything = (*schema.tables, *self._draft.source.excluded)
        tables = [_relation("table", table.name) for table in schema.tables]
        views = [_relation("view", other.name) for other in schema.others if other.kind == "view"]
        indexes = [
            _Named(
                name=index.name,
                key=index.name,
                what=f"index {index.name}",
                section="indexes",
                place=_place(table=table.name, object=index.name),
            )
            for table in schema.tables
            for index in table.indexes
            if not index.name.startswith(AUTOMATIC)
        ]
        columns = {table.name: _columns(table) for table in schema.tables}
        self._check_map(
            {named.key for named in (*tables, *views)} | {table.name for table in self._draft.source.excluded},
            {index.name for table in everything for index in table.indexes},
            {named.key for table in everything for named in _columns(table)},
        )
        relations = self._name([*tables, *views, *indexes], self._draft.names)
        self._draft.relation_names.update(relations)
        for table, found in columns.items():
            names = self._name(found, Names())
            self._draft.column_names[table] = names
            self._tell(table, relations[table], names)
        if self._refused:
            raise SchemaError(
                self._refused[0], hint="correct [names] in nasmigrate.toml", details={"checks": self._refused}
            )
        if self._clashes:
            first = self._clashes[0]
            checks = [clash.message for clash in self._clashes]
            raise IdentifierClash(first.message, hint=first.hint, details={"checks": checks})

    def _check_map(self, relations: set[str], indexes: set[str], columns: set[str]) -> None:
        """An entry that names nothing is an error, not a comment."""
        for section, known in (("tables", relations), ("indexes", indexes), ("columns", columns)):
            unknown = sorted(getattr(self._map, section).keys() - known)
            if unknown:
                form = "table.column" if section == "columns" else "it is in the source"
                raise SchemaError(
                    f"[names] {section} speaks of {unknown[0]!r}, but there is no such thing",
                    hint=f"write it as {form}, in the case of the schema",
                    details={"unknown": unknown},
                    code="NM0615",
                )

    def _name(self, objects: Iterable[_Named], names: Names) -> dict[str, str]:
        """Names for the objects of one namespace; those that need another one choose last."""
        found: dict[str, str] = {}
        waiting: list[tuple[_Named, NameProblem]] = []
        for named in objects:
            mapped = getattr(self._map, named.section).get(named.key)
            wanted = mapped if mapped is not None else folded(named.name) if self._map.fold else named.name
            is_column = named.section == "columns"
            problem = problem_of(wanted, column=is_column, relation=not is_column)
            if problem is not None and mapped is not None:
                self._refused.append(f"{problem.code}: [names] {section_line(named, mapped)}: {problem.message}")
            elif problem is not None:
                waiting.append((named, problem))
            else:
                try:
                    found[named.name] = names.take(wanted, named.what)
                except IdentifierClash as clash:
                    self._clashes.append(clash)
                    found[named.name] = wanted
        for named, problem in waiting:
            found[named.name] = names.free(problem.instead, named.what)
            self._decision(named, problem, found[named.name])
        return found

    def _decision(self, named: _Named, problem: NameProblem, name: str) -> None:
        self._draft.findings.append(
            named.place.model_copy(
                update={
                    "code": problem.code,
                    "severity": "decision",
                    "message": f"{named.what}: {problem.message}; it stands as {name!r}",
                    "rule": f"[names.{named.section}]\n{section_line(named, name)}",
                }
            )
        )

    def _tell(self, table: str, target: str, columns: dict[str, str]) -> None:
        """One note for a table whose name, or whose columns' names, were asked to be others."""
        answered = {finding.column for finding in self._draft.findings if finding.table == table and finding.rule}
        changed = [f"{name} as {chosen}" for name, chosen in columns.items() if name != chosen and name not in answered]
        parts = [f"stands as {target}"] if target != table and None not in answered else []
        parts += [f"columns: {', '.join(changed)}"] if changed else []
        if parts:
            self._draft.find("NAME_CHANGED", "note", "; ".join(parts), table=table, count=len(changed))


def section_line(named: _Named, name: str) -> str:
    """The line of [names.SECTION] that gives an object its name."""
    return f"{toml_string(named.key)} = {toml_string(name)}"


def _place(**where: str) -> Finding:
    return Finding(code="", severity="decision", message="", **where)  # type: ignore[arg-type]


def _relation(kind: str, name: str) -> _Named:
    place = _place(table=name) if kind == "table" else _place(object=name)
    return _Named(name=name, key=name, what=f"{kind} {name}", section="tables", place=place)


def _columns(table: Table) -> list[_Named]:
    return [
        _Named(
            name=column.name,
            key=f"{table.name}.{column.name}",
            what=f"column {column.name} of table {table.name}",
            section="columns",
            place=_place(table=table.name, column=column.name),
        )
        for column in table.columns
    ]
