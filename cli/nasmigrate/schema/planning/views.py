"""Views: translated over the tables that are carried, each after those that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nasmigrate.schema.expressions import NotTranslated, Output, Relation, RelationColumn, translate_view
from nasmigrate.schema.model import OtherObject
from nasmigrate.schema.names import problem_of
from nasmigrate.schema.plan import PlanColumn, PlanTable, PlanView
from nasmigrate.schema.planning.draft import LEFT_OUT, Draft, short

_CODECS = {"double precision": "double"}


class Views:
    """Plans the views; all tables are planned."""

    def __init__(self, draft: Draft, tables: Sequence[PlanTable]) -> None:
        self._draft = draft
        self._relations: dict[str, Relation] = {table.name: self._of_table(table) for table in tables}

    def plan(self) -> tuple[PlanView, ...]:
        """The views that have an exact translation, in an order in which they can be created."""
        waiting = [other for other in self._draft.source.schema.others if other.kind == "view"]
        planned: list[PlanView] = []
        reasons: dict[str, str] = {}
        progress = True
        while waiting and progress:
            progress = False
            for other in tuple(waiting):
                outcome = self._view(other)
                if isinstance(outcome, PlanView):
                    planned.append(outcome)
                    waiting.remove(other)
                    progress = True
                else:
                    reasons[other.name] = outcome.reason
        for other in waiting:
            self._not_carried(other, reasons[other.name])
        return tuple(planned)

    def _not_carried(self, other: OtherObject, reason: str) -> None:
        problem = self._draft.source.views[other.name].problem
        code = "VIEW_NOT_TRANSLATED" if problem is None else "VIEW_BROKEN"
        text = (
            f"a view that is not carried: {reason}" if problem is None else f"a view that SQLite cannot read: {problem}"
        )
        self._draft.find(code, "decision", f"{text} ({short(other.sql)})", object=other.name)

    def _view(self, other: OtherObject) -> PlanView | NotTranslated:
        facts = self._draft.source.views[other.name]
        if facts.problem is not None:
            return NotTranslated(reason=facts.problem)
        if self._draft.accepts("VIEW_NOT_TRANSLATED", other.name):
            return NotTranslated(reason=LEFT_OUT)
        utf8 = self._draft.source.schema.encoding == "UTF-8"
        result = translate_view(other.sql, names=facts.columns, relations=self._relations, utf8=utf8)
        if isinstance(result, NotTranslated):
            return result
        for name in facts.columns:
            problem = problem_of(name)
            if problem is not None:
                return NotTranslated(reason=f"the name of its column {name!r} {problem.message}")
        target = self._draft.relation_names[other.name]
        columns = tuple(_plan_column(output) for output in result.outputs)
        self._relations[other.name] = Relation(
            name=other.name,
            target=target,
            columns=tuple(
                output.column(column.name, like=column) for output, column in zip(result.outputs, columns, strict=True)
            ),
        )
        return PlanView(name=other.name, target=target, columns=columns, sql=result.sql)

    def _of_table(self, table: PlanTable) -> Relation:
        source = self._draft.source.schema.table(table.name)
        shapes: Mapping[str, str] = self._draft.shapes(source)
        held_as_bytes = self._draft.held_as_bytes(source)
        return Relation(
            name=table.name,
            target=table.target,
            columns=tuple(
                RelationColumn(
                    name=column.name,
                    target=column.target,
                    pg_type=column.pg_type,
                    collation=source.column(column.name).collation,
                    shape=shapes.get(column.name),
                    held_as_bytes=column.name in held_as_bytes,
                    like=column,
                )
                for column in table.columns
            ),
            key=table.primary_key,
        )


def _plan_column(output: Output) -> PlanColumn:
    assert output.name is not None  # noqa: S101 - translate_view names every output
    if isinstance(output.like, PlanColumn):
        return output.like.model_copy(
            update={
                "name": output.name,
                "target": output.name,
                "nullable": True,
                "default_sql": None,
                "identity": False,
                "generated": None,
                "computed_sql": None,
            }
        )
    return PlanColumn(
        name=output.name,
        declared_type="",
        codec=_CODECS.get(output.pg_type, output.pg_type),
        pg_type=output.pg_type,
        collation="C" if output.pg_type == "text" else None,
    )
