"""From the source's schema and the evidence to a plan: columns, keys, indexes, relations, and what is not carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nasmigrate.core.errors import SchemaError
from nasmigrate.core.result import Finding, Severity
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.codecs.temporal import expression_shape
from nasmigrate.schema.decide import decide
from nasmigrate.schema.evidence import ColumnProfile, Orphans, TableProfile
from nasmigrate.schema.expressions import (
    NotTranslated,
    Translated,
    translate_default,
    translate_predicate,
    translate_term,
)
from nasmigrate.schema.model import ForeignKey, Index, IndexTerm, SourceSchema, Table
from nasmigrate.schema.names import Names, check_column_names, fit
from nasmigrate.schema.plan import (
    Plan,
    PlanCheck,
    PlanColumn,
    PlanForeignKey,
    PlanIndex,
    PlanIndexTerm,
    PlanTable,
    TableEvidence,
)
from nasmigrate.schema.value_findings import value_findings

_LIST_LIMIT = 200
"""Characters of SQL a message quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """Everything the planner looks at.

    `orphans` is keyed by (table, position of the foreign key); `forced` by `table.column`.
    """

    schema: SourceSchema
    profiles: Mapping[str, TableProfile]
    orphans: Mapping[tuple[str, int], Orphans] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    accept: Sequence[str] = ()
    show_values: bool = False


def make_plan(source: PlanInput) -> Plan:
    """Decide everything.

    Raises:
        UnmappableColumn: a forced type does not hold its column's values.
        IdentifierClash: two objects would get one name in Postgres.
        SchemaError: a name Postgres cannot take, or an acceptance that names nothing.
    """
    planner = _Planner(source)
    return planner.plan()


class _Planner:
    def __init__(self, source: PlanInput) -> None:
        self._source = source
        self._findings: list[Finding] = []
        self._names = Names()
        self._codecs: dict[tuple[str, str], Codec] = {}

    def plan(self) -> Plan:
        schema = self._source.schema
        for table in schema.tables:
            check_column_names(table)
            self._names.take(table.name, f"table {table.name}")
            for column in table.columns:
                self._decide(table, column.name)
        tables = tuple(self._table(table) for table in schema.tables)
        not_carried = self._others()
        findings = self._answer()
        return Plan(
            encoding=schema.encoding,
            tables=tables,
            not_carried=not_carried,
            accepted=tuple(sorted(f.identity for f in findings if f.accepted)),
            evidence={
                name: TableEvidence(
                    rows=profile.rows,
                    max_row_bytes=profile.max_row_bytes,
                    mean_row_bytes=round(profile.mean_row_bytes, 1),
                    columns={column.name: column.evidence() for column in profile.columns.values()},
                )
                for name, profile in self._source.profiles.items()
            },
            findings=tuple(findings),
        ).hashed()

    # -- columns ---------------------------------------------------------------------------------------------

    def _profile(self, table: Table, column: str) -> ColumnProfile:
        return self._source.profiles[table.name].columns[column]

    def _decide(self, table: Table, name: str) -> None:
        column, profile = table.column(name), self._profile(table, name)
        forced = self._source.forced.get(f"{table.name}.{name}")
        codec = decide(column, profile, table=table.name, forced=forced)
        self._codecs[table.name, name] = codec
        self._findings += value_findings(table.name, column, profile, codec, show_values=self._source.show_values)

    def _column(self, table: Table, name: str) -> PlanColumn:
        column, codec = table.column(name), self._codecs[table.name, name]
        default = self._default(table, name, codec)
        if column.generated:
            self._find(
                "GENERATED_FROZEN",
                "decision",
                f"a {column.generated} generated column; it stands as a plain column holding the computed values"
                f" ({_short(column.generated_sql or '')})",
                table=table.name,
                column=name,
            )
        nulls = self._profile(table, name).nulls
        not_null = column.not_null or name == table.rowid_alias or (table.without_rowid and column.pk_ordinal > 0)
        if not_null and nulls:
            self._find(
                "NULL_IN_NOT_NULL",
                "decision",
                f"{nulls} NULL in a NOT NULL column; the column stays nullable",
                table=table.name,
                column=name,
                count=nulls,
            )
        return PlanColumn(
            name=name,
            declared_type=column.declared_type,
            codec=codec.name,
            parameters=codec.parameters(),
            pg_type=codec.pg_type,
            collation="C" if codec.name == "text" else None,
            nullable=not (not_null and not nulls),
            default_sql=default,
            identity=name == table.rowid_alias and codec.name == "bigint",
            generated=column.generated,
            raw_text=self._profile(table, name).raw_texts > 0,
        )

    def _default(self, table: Table, name: str, codec: Codec) -> str | None:
        column = table.column(name)
        if column.default_sql is None or name == table.rowid_alias:
            return None
        shape = codec.parameters().get("shape")
        result = translate_default(
            column.default_sql,
            target_type=codec.pg_type,
            text_shape=expression_shape(str(shape)) if shape else None,
        )
        if isinstance(result, NotTranslated):
            self._find(
                "DEFAULT_NOT_TRANSLATED",
                "decision",
                f"DEFAULT {_short(column.default_sql)} is not carried: {result.reason}",
                table=table.name,
                column=name,
            )
            return None
        return None if result.sql.upper() == "NULL" else result.sql

    # -- tables ----------------------------------------------------------------------------------------------

    def _table(self, table: Table) -> PlanTable:
        columns = tuple(self._column(table, column.name) for column in table.columns)
        primary_key = self._primary_key(table)
        key, mode = self._row_key(table, primary_key)
        name = None
        if primary_key:
            name = self._names.free(table.primary_key_name or f"{table.name}_pkey", f"primary key of {table.name}")
        return PlanTable(
            name=table.name,
            columns=columns,
            key=key,
            mode="range" if mode else "multiset",
            primary_key=primary_key,
            primary_key_name=name,
            indexes=self._indexes(table),
            foreign_keys=self._foreign_keys(table),
            checks=self._checks(table),
            without_rowid=table.without_rowid,
            autoincrement=table.autoincrement,
        )

    def _primary_key(self, table: Table) -> tuple[str, ...]:
        nulls = sum(self._profile(table, name).nulls for name in table.primary_key)
        if nulls:
            self._find(
                "NULL_IN_PK",
                "decision",
                f"{nulls} NULL in the primary key ({', '.join(table.primary_key)}); no primary key is built",
                table=table.name,
                count=nulls,
            )
            return ()
        pk_index = next((index for index in table.indexes if index.origin == "pk"), None)
        if pk_index is not None and self._class_collision(table, pk_index):
            return ()
        return table.primary_key

    def _row_key(self, table: Table, primary_key: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """The columns that identify a row, and whether chunks can be ranges of them."""
        candidates = [primary_key] if primary_key else []
        for index in table.indexes:
            names = tuple(term.column for term in index.terms if term.column)
            plain = len(names) == len(index.terms) and not index.where_sql
            if index.unique and plain and all(term.collation == "BINARY" for term in index.terms):
                candidates.append(names)
        usable = [
            key
            for key in candidates
            if all(not self._profile(table, name).nulls and table.column(name).not_null for name in key)
            or key == primary_key
        ]
        for key in usable:
            if all(self._orders_alike(table, name) for name in key):
                return key, True
        return (usable[0] if usable else ()), False

    def _orders_alike(self, table: Table, name: str) -> bool:
        """SQLite and Postgres order the column's values alike, so that a chunk can be a range of them."""
        codec = self._codecs[table.name, name]
        utf8 = self._source.schema.encoding == "UTF-8" or "str" not in {kind.__name__ for kind in codec.native}
        return (
            codec.ordered
            and codec.uniform
            and len(self._profile(table, name).classes) <= 1
            and table.column(name).collation == "BINARY"
            and utf8
        )

    # -- indexes and checks ----------------------------------------------------------------------------------

    def _types(self, table: Table) -> dict[str, str]:
        return {column.name: self._codecs[table.name, column.name].pg_type for column in table.columns}

    def _collations(self, table: Table) -> dict[str, str]:
        return {column.name: column.collation for column in table.columns if column.collation != "BINARY"}

    def _shapes(self, table: Table) -> dict[str, str]:
        """Columns whose text became dates or times, with the shape it had."""
        shapes = {}
        for column in table.columns:
            shape = self._codecs[table.name, column.name].parameters().get("shape")
            if shape:
                shapes[column.name] = expression_shape(str(shape))
        return shapes

    def _predicate(self, table: Table, sql: str) -> Translated | NotTranslated:
        return translate_predicate(
            sql,
            columns=self._types(table),
            collations=self._collations(table),
            text_shapes=self._shapes(table),
            utf8=self._source.schema.encoding == "UTF-8",
        )

    def _indexes(self, table: Table) -> tuple[PlanIndex, ...]:
        planned = []
        for index in table.indexes:
            if index.origin == "pk" or (index.unique and self._class_collision(table, index)):
                continue
            terms = [self._term(table, term) for term in index.terms]
            where = self._predicate(table, index.where_sql) if index.where_sql else None
            failed = [part for part in (*terms, where) if isinstance(part, NotTranslated)]
            if failed:
                self._find(
                    "INDEX_NOT_TRANSLATED",
                    "decision",
                    f"index {index.name} is not carried: {failed[0].reason}",
                    table=table.name,
                    object=index.name,
                )
                continue
            automatic = index.name.startswith("sqlite_autoindex_")
            columns = "_".join(term.column or "expr" for term in index.terms)
            wanted = f"{table.name}_{columns}_key" if automatic else index.name
            planned.append(
                PlanIndex(
                    name=self._names.free(wanted, f"index of {table.name}")
                    if automatic
                    else self._names.take(wanted, f"index {wanted}"),
                    unique=index.unique,
                    terms=tuple(term for term in terms if isinstance(term, PlanIndexTerm)),
                    where=where.sql if where is not None and not isinstance(where, NotTranslated) else None,
                    constraint=index.origin == "u",
                )
            )
        return tuple(planned)

    def _term(self, table: Table, term: IndexTerm) -> PlanIndexTerm | NotTranslated:
        if term.expression_sql is not None:
            result = translate_term(
                term.expression_sql,
                columns=self._types(table),
                collations=self._collations(table),
                text_shapes=self._shapes(table),
                utf8=self._source.schema.encoding == "UTF-8",
            )
            if isinstance(result, NotTranslated):
                return result
            return PlanIndexTerm(expression=result.sql, descending=term.descending)
        assert term.column is not None  # noqa: S101 - a term is a column or an expression
        quoted = '"' + term.column.replace('"', '""') + '"'
        collation = term.collation.upper()
        if collation == "BINARY" or self._types(table)[table.column(term.column).name] != "text":
            return PlanIndexTerm(column=table.column(term.column).name, descending=term.descending)
        if collation == "NOCASE":
            # SQLite folds ASCII only; this is its exact equivalent (trap T104).
            self._find(
                "NOCASE",
                "note",
                'compared without case in SQLite (ASCII letters only); the index is on lower(… COLLATE "C")',
                table=table.name,
                column=term.column,
            )
            return PlanIndexTerm(expression=f'lower({quoted} COLLATE "C")', descending=term.descending)
        if collation == "RTRIM":
            self._find(
                "COLLATION_RTRIM",
                "note",
                "compared without trailing blanks; the index is on rtrim(…, ' ')",
                table=table.name,
                column=term.column,
            )
            return PlanIndexTerm(expression=f"rtrim({quoted}, ' ')", descending=term.descending)
        return NotTranslated(reason=f"collation {term.collation} is the application's own")

    def _class_collision(self, table: Table, index: Index) -> bool:
        """A unique column of several classes: 5, '5' and x'35' are three values, equal once written alike."""
        mixed = [
            term.column
            for term in index.terms
            if term.column and len(self._profile(table, table.column(term.column).name).classes) > 1
        ]
        mixed = [
            name
            for name in mixed
            if not set(self._profile(table, table.column(name).name).classes) <= {"integer", "real"}
        ]
        if mixed:
            self._find(
                "CLASS_COLLISION",
                "decision",
                f"several storage classes in a unique key; {index.name} is not built",
                table=table.name,
                column=mixed[0],
            )
        return bool(mixed)

    def _checks(self, table: Table) -> tuple[PlanCheck, ...]:
        planned = []
        for number, check in enumerate(table.checks, start=1):
            result = self._predicate(table, check.sql)
            if isinstance(result, NotTranslated):
                self._find(
                    "CHECK_NOT_TRANSLATED",
                    "decision",
                    f"CHECK ({_short(check.sql)}) is not carried: {result.reason}",
                    table=table.name,
                    object=check.name or f"{table.name}_check{number}",
                )
                continue
            planned.append(PlanCheck(name=fit(check.name or f"{table.name}_check{number}"), sql=result.sql))
        return tuple(planned)

    # -- relations -------------------------------------------------------------------------------------------

    def _foreign_keys(self, table: Table) -> tuple[PlanForeignKey, ...]:
        planned = []
        used: set[str] = set()
        for position, key in enumerate(table.foreign_keys):
            wanted = key.name or f"{table.name}_{'_'.join(key.columns)}_fkey"
            name, again = fit(wanted), 1
            while name in used:
                again += 1
                name = fit(f"{wanted}{again}")
            used.add(name)
            problem = self._foreign_key_problem(table, position, key)
            if problem is not None:
                code, message, orphans = problem
                self._find(
                    code,
                    "decision",
                    f"foreign key ({', '.join(key.columns)}) to {key.parent} is not carried: {message}",
                    table=table.name,
                    object=name,
                    count=orphans.count if orphans else 0,
                    keys=orphans.keys if orphans else (),
                )
                continue
            planned.append(
                PlanForeignKey(
                    name=name,
                    columns=tuple(table.column(column).name for column in key.columns),
                    parent=self._source.schema.table(key.parent).name,
                    parent_columns=tuple(
                        self._source.schema.table(key.parent).column(column).name for column in key.parent_columns
                    ),
                    on_update=key.on_update,
                    on_delete=key.on_delete,
                    deferred=key.deferred,
                )
            )
        return tuple(planned)

    def _foreign_key_problem(
        self, table: Table, position: int, key: ForeignKey
    ) -> tuple[str, str, Orphans | None] | None:
        try:
            parent = self._source.schema.table(key.parent)
        except KeyError:
            return "FK_PARENT_MISSING", "there is no such table", None
        if len(key.parent_columns) != len(key.columns) or not self._is_unique(parent, key.parent_columns):
            return "FK_MISMATCH", "the columns it points to are not a unique key", None
        pairs = zip(key.columns, key.parent_columns, strict=True)
        for child_name, parent_name in pairs:
            child = self._codecs[table.name, table.column(child_name).name]
            other = self._codecs[parent.name, parent.column(parent_name).name]
            if child.pg_type != other.pg_type:
                message = f"{child_name} is {child.pg_type}, {key.parent}.{parent_name} is {other.pg_type}"
                return "FK_TYPE_MISMATCH", message, None
        orphans = self._source.orphans.get((table.name, position))
        if orphans is not None and orphans.count:
            return "FK_ORPHANS", f"{orphans.count} rows have no parent", orphans
        return None

    def _is_unique(self, parent: Table, columns: tuple[str, ...]) -> bool:
        names = {parent.column(column).name for column in columns}
        if names == set(parent.primary_key):
            return not any(self._profile(parent, name).nulls for name in names)
        return any(
            index.unique
            and not index.where_sql
            and all(term.collation == "BINARY" for term in index.terms)
            and {parent.column(term.column).name for term in index.terms if term.column} == names
            for index in parent.indexes
        )

    # -- what is not a table ---------------------------------------------------------------------------------

    def _others(self) -> tuple[str, ...]:
        names = []
        for other in self._source.schema.others:
            names.append(f"{other.kind} {other.name}")
            match other.kind:
                case "view":
                    code, text = "VIEW_NOT_TRANSLATED", "a view; views are not translated yet"
                case "trigger":
                    code, text = "TRIGGER_NOT_CARRIED", f"a trigger on {other.table}"
                case "virtual table":
                    code, text = "VIRTUAL_TABLE", "a virtual table; Postgres has other means (tsvector, pg_trgm)"
                case "shadow table":
                    continue
            self._find(code, "decision", f"{text}, not carried: {_short(other.sql)}", object=other.name)
        return tuple(names)

    # -- findings --------------------------------------------------------------------------------------------

    def _find(
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
    ) -> None:
        self._findings.append(
            Finding(
                code=code,
                severity=severity,
                table=table,
                column=column,
                object=object,
                message=message,
                count=count,
                keys=keys,
            )
        )

    def _answer(self) -> list[Finding]:
        """Mark what the configuration accepts; an acceptance that answers nothing is an error, not a comment."""
        accept = set(self._source.accept)
        known = {finding.identity for finding in self._findings}
        unknown = sorted(accept - known)
        if unknown:
            raise SchemaError(
                f"[plan] accept lists {unknown[0]!r}, but there is no such finding",
                hint="remove the line, or run `nasmigrate plan` to see what the findings are called",
                details={"unknown": unknown},
                code="NM0614",
            )
        return [
            finding.model_copy(
                update={
                    "accepted": finding.identity in accept,
                    "accept": f'accept = ["{finding.identity}"]' if finding.severity != "note" else None,
                }
            )
            for finding in self._findings
        ]


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= _LIST_LIMIT else text[: _LIST_LIMIT - 1] + "…"
