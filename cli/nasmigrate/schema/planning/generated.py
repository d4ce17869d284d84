"""Generated columns: computed by Postgres too where its expression is the same, else frozen at their values."""

from __future__ import annotations

from nasmigrate.schema.codecs import Codec
from nasmigrate.schema.expressions import NotTranslated, columns_of
from nasmigrate.schema.model import Column, Table
from nasmigrate.schema.planning.draft import LEFT_OUT, Draft, short
from nasmigrate.schema.rules.codec import Ruled

_WRITING_ACTIONS = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


class GeneratedColumns:
    """Plans generated columns."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def expression(self, table: Table, column: Column, codec: Codec) -> str | None:
        """The expression by which Postgres computes the column; None when it stands as a plain one.

        That its values are SQLite's is shown by the column's digests, as for any other column.
        """
        if column.generated is None:
            return None
        result = self._translated(table, column, codec)
        if not isinstance(result, NotTranslated):
            return result
        self._draft.find(
            "GENERATED_FROZEN",
            "decision",
            f"a {column.generated} generated column; it stands as a plain column holding the computed values"
            f" ({short(column.generated_sql or '')}): {result.reason}",
            table=table.name,
            column=column.name,
        )
        return None

    def _translated(self, table: Table, column: Column, codec: Codec) -> str | NotTranslated:
        subject = f"{table.name}.{column.name}"
        sql = column.generated_sql or ""
        if self._draft.accepts("GENERATED_FROZEN", subject):
            return NotTranslated(reason=LEFT_OUT)
        if isinstance(codec, Ruled) or len(self._draft.profile(table, column.name).classes) > 1:
            return NotTranslated(reason="its values are not all of one type")
        if self._is_written_by_a_key(table, column.name):
            return NotTranslated(reason="a foreign key writes to it, which Postgres refuses")
        generated = {other.name for other in table.columns if other.generated}
        if used := sorted(columns_of(sql, self._draft.types(table)) & generated):
            return NotTranslated(reason=f"it is computed from {used[0]}, itself generated, which Postgres refuses")
        result = self._draft.term(table, sql, target_type=codec.pg_type)
        if isinstance(result, NotTranslated):
            return result
        self._draft.note_strings(sql, self._draft.types(table), table=table.name, column=column.name)
        return result.sql

    def _is_written_by_a_key(self, table: Table, name: str) -> bool:
        return any(
            table.column(column).name == name
            for key in table.foreign_keys
            if key.on_update in _WRITING_ACTIONS or key.on_delete in _WRITING_ACTIONS - {"CASCADE"}
            for column in key.columns
        )
