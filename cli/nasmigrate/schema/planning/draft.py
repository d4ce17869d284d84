"""What the parts of the planner share: the input, the codecs decided so far, the names given out, the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nasmigrate.core.errors import SchemaError
from nasmigrate.core.result import Finding, Severity
from nasmigrate.core.toml import toml_string
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.codecs.temporal import expression_shape
from nasmigrate.schema.evidence import Collisions, ColumnProfile, Orphans, TableProfile, ViewFacts, Violations
from nasmigrate.schema.expressions import (
    NotTranslated,
    OfTable,
    Translated,
    quoted_strings,
    translate_predicate,
    translate_term,
)
from nasmigrate.schema.model import SourceSchema, Table
from nasmigrate.schema.names import NameMap, Names
from nasmigrate.schema.plan import PlanKept

FILE_FINDINGS = frozenset({"WAL_ABSENT"})
"""Decisions about the file and not its content: an acceptance stays valid while there is nothing to accept."""

_LIST_LIMIT = 200
"""Characters of SQL a message quotes."""
LEFT_OUT = "left out, as the configuration asks"
"""Why an object is not carried that could be: a translation that was not proven equal is answered so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """Everything the planner looks at.

    `orphans` is keyed by (table, position of the foreign key), `violations` by (table, position of the CHECK), `views`
    by name, `collisions` by (table, name of the unique index); `forced` and `rules` by `table.column`, as are
    `orphan_rules`: what to do with rows without a parent; `kept`, by table, is what follows from them. The profiles
    were asked for the same rules. `excluded` are tables that the schema no longer has; `findings` are those about the
    file itself.
    """

    schema: SourceSchema
    excluded: tuple[Table, ...] = ()
    profiles: Mapping[str, TableProfile]
    orphans: Mapping[tuple[str, int], Orphans] = field(default_factory=dict)
    violations: Mapping[tuple[str, int], Violations] = field(default_factory=dict)
    orphan_rules: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, tuple[PlanKept, ...]] = field(default_factory=dict)
    collisions: Mapping[tuple[str, str], Collisions] = field(default_factory=dict)
    views: Mapping[str, ViewFacts] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: NameMap = field(default_factory=NameMap)
    accept: Sequence[str] = ()
    show_values: bool = False
    findings: Sequence[Finding] = ()


class Draft:
    """A plan in the making.

    Attributes:
        source: what it is made from.
        names: the names of tables, views and indexes in Postgres.
        relation_names: table, view or index of the source -> its name in Postgres.
        column_names: table -> column -> its name in Postgres.
        codecs: (table, column) -> what was decided.
        findings: so far.
        refused: why it cannot go on, said all at once.
    """

    def __init__(self, source: PlanInput) -> None:
        self.source = source
        self.names = Names()
        self.relation_names: dict[str, str] = {}
        self.column_names: dict[str, dict[str, str]] = {}
        self._constraints: dict[str, Names] = {}
        self.codecs: dict[tuple[str, str], Codec] = {}
        self.findings: list[Finding] = list(source.findings)
        self.refused: list[str] = []

    def profile(self, table: Table, column: str) -> ColumnProfile:
        """What a column holds."""
        return self.source.profiles[table.name].columns[column]

    def constraint(self, table: Table, name: str | None, derived: str, index: bool = False) -> str:
        """A name for a constraint: its own, else `derived`; numbered where that is taken, which is noted.

        The constraints of a table share a namespace; `index` says that an index of the same name comes with it, and
        those constraints are named before the others of their table.
        """
        what = f"constraint of {table.name}"
        chosen = self.names.free(name or derived, what) if index else name or derived
        chosen = self._constraints.setdefault(table.name, Names()).free(chosen, what)
        if name is not None and chosen != name:
            self.find("NAME_CHANGED", "note", f"constraint {name} stands as {chosen}", table=table.name, object=name)
        return chosen

    def find(
        self,
        code: str,
        severity: Severity,
        message: str,
        *,
        table: str | None = None,
        column: str | None = None,
        object: str | None = None,
        count: int = 0,
        keys: tuple[str, ...] = (),
        rule: str | None = None,
    ) -> None:
        """Note a finding."""
        self.findings.append(
            Finding(
                code=code,
                severity=severity,
                table=table,
                column=column,
                object=object,
                message=message,
                count=count,
                keys=keys,
                rule=rule,
            )
        )

    # -- expressions of the source over a table's columns ------------------------------------------------------

    def types(self, table: Table) -> dict[str, str]:
        """Postgres types of all columns."""
        return {column.name: self.codecs[table.name, column.name].pg_type for column in table.columns}

    def note_strings(
        self, sql: str, columns: Iterable[str], *, table: str, column: str | None = None, object: str | None = None
    ) -> None:
        """Note words in double quotes that SQLite takes for strings, as no column has that name."""
        found = quoted_strings(sql, columns)
        if found:
            self.find(
                "DQ_STRING",
                "note",
                f"{', '.join(found)} in double quotes: no column has that name, so SQLite reads a string and so do we",
                table=table,
                column=column,
                object=object,
                count=len(found),
            )

    def predicate(self, table: Table, sql: str) -> Translated | NotTranslated:
        """A CHECK, or the WHERE of an index."""
        return translate_predicate(sql, **self._facts(table))

    def term(self, table: Table, sql: str, *, target_type: str | None = None) -> Translated | NotTranslated:
        """A term of an index, or the expression of a generated column of the target type."""
        return translate_term(sql, target_type=target_type, **self._facts(table))

    def _facts(self, table: Table) -> OfTable:
        return {
            "columns": self.types(table),
            "collations": self._collations(table),
            "text_shapes": self.shapes(table),
            "names": self.column_names[table.name],
            "utf8": self._utf8,
            "held_as_bytes": self.held_as_bytes(table),
        }

    @property
    def _utf8(self) -> bool:
        return self.source.schema.encoding == "UTF-8"

    def _collations(self, table: Table) -> dict[str, str]:
        return {column.name: column.collation for column in table.columns if column.collation != "BINARY"}

    def held_as_bytes(self, table: Table) -> frozenset[str]:
        """Columns whose text or numbers became bytes: neither their lengths nor what they equal are those of a blob."""
        return frozenset(
            column.name
            for column in table.columns
            if self.codecs[table.name, column.name].pg_type == "bytea"
            and self.profile(table, column.name).classes.keys() - {"blob"}
        )

    def shapes(self, table: Table) -> dict[str, str]:
        """Columns whose text became dates or times, with the shape it had; all of it."""
        shapes = {}
        for column in table.columns:
            shape = self.codecs[table.name, column.name].parameters().get("shape")
            rules = self.profile(table, column.name).rules
            if shape and (rules is None or len(rules.forms) <= 1):
                shapes[column.name] = expression_shape(str(shape))
        return shapes

    # -- answers -----------------------------------------------------------------------------------------------

    def accepts(self, code: str, subject: str) -> bool:
        """Whether the configuration asks for an object to be left out, by accepting the finding that says it is."""
        return f"{code}:{subject}" in self.source.accept

    def answered(self, *, strict: bool = True) -> list[Finding]:
        """Mark what the configuration accepts; if `strict`, an acceptance that answers nothing is an error.

        Raises:
            SchemaError: an acceptance names no finding.
        """
        accept = set(self.source.accept)
        known = {finding.identity for finding in self.findings}
        # What was answered of a table that is left out this time stays answered, and so does what is said of the file:
        # it depends on the moment, since an application that runs has its -wal beside it.
        known |= {entry for entry in accept if entry.partition(":")[0] in FILE_FINDINGS}
        unknown = sorted(accept - known) if strict and not self.source.excluded else []
        if unknown:
            raise SchemaError(
                f"[plan] accept lists {unknown[0]!r}, but there is no such finding",
                hint="remove the line, or run `nasmigrate plan` to see what the findings are called",
                details={"unknown": unknown},
                code="NM0614",
            )
        return [
            finding.model_copy(update={"accepted": finding.identity in accept, "accept": accept_line(finding)})
            for finding in self.findings
        ]


def accept_line(finding: Finding) -> str | None:
    """The TOML line that accepts a finding; none for a note, which needs no answer, nor a refusal, which takes none."""
    if finding.severity not in ("widened", "decision"):
        return None
    return f"accept = [{toml_string(finding.identity)}]"


def short(sql: str) -> str:
    """SQL on one line, cut where a message would become too long."""
    # The plan is kept in Postgres, whose text and JSON hold no NUL.
    text = " ".join(sql.split()).replace("\0", "\\x00")
    return text if len(text) <= _LIST_LIMIT else text[: _LIST_LIMIT - 1] + "…"
