"""Columns of the target: codec, default, NOT NULL."""

from __future__ import annotations

from nasmigrate.core.result import Finding
from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.codecs.temporal import expression_shape
from nasmigrate.schema.decide import decide
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.expressions import NotTranslated, Translated, translate_default
from nasmigrate.schema.findings import value_findings
from nasmigrate.schema.model import Table
from nasmigrate.schema.plan import PlanColumn
from nasmigrate.schema.planning.draft import LEFT_OUT, Draft, short
from nasmigrate.schema.planning.generated import GeneratedColumns
from nasmigrate.schema.planning.ruled import Refused, applied_findings, nulls_made, ruled_codec
from nasmigrate.schema.planning.ruled_default import ruled_default
from nasmigrate.schema.rules.answers import answer, rule_block
from nasmigrate.schema.rules.codec import Ruled


class Columns:
    """Decides and plans columns."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._generated = GeneratedColumns(draft)

    def decide(self, table: Table, name: str) -> None:
        """Give a column its codec, and say what its values are like.

        Raises:
            UnmappableColumn: a forced type does not hold the column's values.
        """
        column, profile = table.column(name), self._draft.profile(table, name)
        forced = self._draft.source.forced.get(f"{table.name}.{name}")
        rules = self._draft.source.rules.get(f"{table.name}.{name}", ())
        compared = _is_compared(table, name)
        ruled, codec = None, None
        if rules:
            try:
                ruled = ruled_codec(table, column, profile, rules, forced=forced, compared=compared)
            except Refused as refused:
                # The other columns may have reasons too: all of them are told at once.
                self._draft.refused.append(str(refused))
            else:
                codec = ruled.inner
        if codec is None:
            codec = decide(column, profile, table=table.name, forced=None if rules else forced, compared=compared)
        self._draft.codecs[table.name, name] = ruled or codec
        findings = value_findings(
            table.name,
            column,
            profile,
            codec,
            chosen=forced is not None,
            show_values=self._draft.source.show_values,
        )
        if ruled is None or ruled.rules.target is None:
            findings = [_with_rule(finding, profile, rules) for finding in findings]
        if ruled is not None:
            if ruled.rules.target is not None:
                # Every value is within the rules: what is left to say are notes.
                findings = [finding for finding in findings if finding.severity == "note"]
            findings += applied_findings(table, column, profile, ruled)
        self._draft.findings += findings

    def plan(self, table: Table, name: str) -> PlanColumn:
        """The column of the target; all columns of the table are decided."""
        column, codec = table.column(name), self._draft.codecs[table.name, name]
        default = self._default(table, name, codec)
        computed = self._generated.expression(table, column, codec)
        nulls = self._draft.profile(table, name).nulls
        by_rules = nulls_made(self._draft.profile(table, name), codec)
        made = f" ({by_rules} of them made by its rules)" if by_rules else ""
        not_null = column.not_null or name == table.rowid_alias or (table.without_rowid and column.pk_ordinal > 0)
        if not_null and nulls:
            self._draft.find(
                "NULL_IN_NOT_NULL",
                "decision",
                f"{nulls} NULL in a NOT NULL column{made}; the column stays nullable",
                table=table.name,
                column=name,
                count=nulls,
            )
        return PlanColumn(
            name=name,
            target=self._draft.column_names[table.name][name],
            declared_type=column.declared_type,
            codec=codec.name,
            parameters=codec.parameters(),
            rules=self._draft.source.rules.get(f"{table.name}.{name}", ()),
            pg_type=codec.pg_type,
            collation="C" if codec.name == "text" else None,
            nullable=not (not_null and not nulls),
            default_sql=default,
            identity=name == table.rowid_alias and codec.name == "bigint",
            generated=column.generated,
            computed_sql=computed,
            raw_text=self._draft.profile(table, name).raw_texts > 0,
        )

    def _default(self, table: Table, name: str, codec: Codec) -> str | None:
        column = table.column(name)
        if column.default_sql is None or name == table.rowid_alias:
            return None
        result: Translated | NotTranslated | None
        result = ruled_default(column.default_sql, codec) if isinstance(codec, Ruled) else None
        if result is None:
            shape = codec.parameters().get("shape")
            result = translate_default(
                column.default_sql,
                affinity=column.affinity,
                target_type=codec.pg_type,
                text_shape=expression_shape(str(shape)) if shape else None,
            )
        if self._draft.accepts("DEFAULT_NOT_TRANSLATED", f"{table.name}.{name}"):
            result = NotTranslated(reason=LEFT_OUT)
        if isinstance(result, NotTranslated):
            self._draft.find(
                "DEFAULT_NOT_TRANSLATED",
                "decision",
                f"DEFAULT {short(column.default_sql)} is not carried: {result.reason}",
                table=table.name,
                column=name,
            )
            return None
        self._draft.note_strings(column.default_sql, (), table=table.name, column=name)
        return None if result.sql.upper() == "NULL" else result.sql


def _with_rule(finding: Finding, profile: ColumnProfile, rules: tuple[str, ...]) -> Finding:
    """The finding with the TOML of the rules that would answer it, those the column has included."""
    names = answer(finding.code, profile)
    if not names:
        return finding
    return finding.model_copy(update={"rule": rule_block(finding.subject, tuple(dict.fromkeys(rules + names)))})


def _is_compared(table: Table, name: str) -> bool:
    """Whether a column is part of a key, an index or a foreign key."""
    compared = {table.column(column).name for column in table.primary_key}
    compared |= {table.column(term.column).name for index in table.indexes for term in index.terms if term.column}
    compared |= {table.column(column).name for key in table.foreign_keys for column in key.columns}
    return name in compared
