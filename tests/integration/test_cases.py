"""Every case of tests/cases through `copy`, its proof, and an independent judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from support import cases
from support.judge import judge
from support.pipeline import failed_gates
from support.plans import renamed
from support.postgres import fresh_database

from nasmigrate.core.config import Config, load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Finding, Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.copy import copy


@pytest.fixture(params=cases.names())
def name(request: pytest.FixtureRequest) -> str:
    """A case folder."""
    return str(request.param)


@pytest.fixture
def source(name: str, tmp_path: Path) -> Iterator[Path]:
    """The case's SQLite file, in a folder with its configuration; it is unchanged at the end."""
    path = tmp_path / "source.db"
    cases.build(name, path)
    settings = cases.CASES / name / "nasmigrate.toml"
    if settings.exists():
        shutil.copy(settings, tmp_path / "nasmigrate.toml")
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before


def run(source: Path, dsn: str, accept: tuple[str, ...] = ()) -> tuple[Result, Plan]:
    """`copy` with the round trip, as the command does it."""
    config: Config = load_config(source.parent, environ={}).config
    config = config.model_copy(update={"plan": config.plan.model_copy(update={"accept": config.plan.accept + accept})})
    context = Context(config=config, base=source.parent, reporter=Silent())
    result = copy(context, source, Target(conninfo=dsn, display="the target"), round_trip=True)
    assert result.run_directory is not None
    return result, Plan.model_validate_json((Path(result.run_directory) / "plan.json").read_text())


def found(finding: Finding, expected: cases.ExpectedFinding | None) -> dict[str, object]:
    """A finding as expect.json would state it, with the parts that the expectation states."""
    facts: dict[str, object] = {"code": finding.code, "severity": finding.severity, "where": finding.subject}
    if expected is None or expected.count is not None:
        facts["count"] = finding.count
    if expected is not None and expected.keys is not None:
        facts["keys"] = list(finding.keys)
    return facts


def rows(dsn: str, table: str, key: tuple[str, ...], expected: cases.ExpectedTable) -> list[list[str | None]]:
    """What Postgres holds, as text."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = expected.select or [
            str(row[0])
            for row in connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
                (sql.Identifier("public", table).as_string(connection),),
            ).fetchall()
        ]
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)
        order = sql.SQL(", ").join(map(sql.Identifier, key)) if key else texts
        query = sql.SQL("SELECT {} FROM public.{} ORDER BY {}").format(texts, sql.Identifier(table), order)
        return [list(row) for row in connection.execute(query).fetchall()]


def objects(dsn: str, table: str) -> list[str]:
    """What Postgres says of a table: defaults and generated columns, constraints, indexes that are none."""
    with psycopg.connect(dsn) as connection:
        relation = sql.Identifier("public", table).as_string(connection)
        return [
            str(row[0])
            for row in connection.execute(
                """
                SELECT a.attname || ': ' || CASE WHEN a.attidentity <> '' THEN 'identity'
                         WHEN a.attgenerated <> '' THEN 'generated ' ELSE 'default ' END
                       || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
                FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0
                  AND (d.adbin IS NOT NULL OR a.attidentity <> '')
                UNION ALL
                SELECT conname || ': ' || pg_get_constraintdef(oid)
                FROM pg_constraint WHERE conrelid = %(table)s::regclass AND contype <> 'n'
                UNION ALL
                SELECT i.indexrelid::regclass || ': ' || regexp_replace(pg_get_indexdef(i.indexrelid), '.* ON ', 'ON ')
                       || CASE WHEN i.indisunique THEN ' unique' ELSE '' END
                FROM pg_index i WHERE i.indrelid = %(table)s::regclass
                  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
                ORDER BY 1
                """,
                {"table": relation},
            ).fetchall()
        ]


def originals(dsn: str) -> dict[str, int]:
    """table.column -> values kept in their original form."""
    with psycopg.connect(dsn) as connection:
        counted = connection.execute(
            "SELECT table_name || '.' || column_name, count(*) FROM nasmigrate.originals GROUP BY 1"
        ).fetchall()
        return {str(where): int(count) for where, count in counted}


def test_the_case_comes_out_as_expected(name: str, source: Path, server: EmbeddedServer) -> None:
    case = cases.load(name)
    if case.error is not None:
        with fresh_database(server.dsn) as dsn, pytest.raises(NasmigrateError) as caught:
            run(source, dsn)
        assert (caught.value.code, int(caught.value.exit_code)) == (case.error.code, case.exit)
        assert case.error.contains in json.dumps([caught.value.message, caught.value.hint], ensure_ascii=False)
        return
    with fresh_database(server.dsn) as dsn:
        result, plan = run(source, dsn)
        chosen = {
            f"{table.name}.{column.name}": {"codec": column.codec, "pg_type": column.pg_type}
            for table in plan.tables
            for column in table.columns
        }
        assert {where: chosen[where] for where in case.columns} == {
            where: column.model_dump() for where, column in case.columns.items()
        }
        wanted = {(finding.code, finding.where): finding for finding in case.findings}
        assert sorted(
            (found(finding, wanted.get((finding.code, finding.subject))) for finding in plan.findings), key=str
        ) == sorted((finding.model_dump(exclude_none=True) for finding in case.findings), key=str)
        for table, expected in case.values.items():
            target, key = table, ()
            if table in {planned.name for planned in plan.tables}:  # else it is a view, which has no key
                planned = plan.table(table)
                target, key = planned.target, planned.targets(planned.key)
            assert rows(dsn, target, key, expected) == expected.rows
        assert renamed(plan) == case.names
        assert {table: objects(dsn, table) for table in case.objects} == case.objects
        assert originals(dsn) == case.originals
        assert failed_gates(result) == []
        assert result.exit_code == case.exit
        verdict = judge(source, dsn, case.names)
        assert verdict.differences == []
        assert verdict.values == verdict.present, "the judge left something out"
    if case.exit == 3:
        # Every widened column and decision accepted by name: nothing else may stand in the way.
        accept = tuple(finding.identity for finding in plan.findings if finding.severity != "note")
        with fresh_database(server.dsn) as dsn:
            assert run(source, dsn, accept)[0].exit_code == 0


def test_there_are_cases() -> None:
    assert cases.names()
