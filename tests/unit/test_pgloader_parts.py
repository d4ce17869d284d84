"""What is written for pgloader and read from it: load file, summary, last words, and the table of its limits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from support.plans import column, ordinary_plan

from nasmigrate.core.errors import PreflightError
from nasmigrate.schema.plan import Plan, PlanTable, TableEvidence
from nasmigrate.transfer.pgloader import limits_of
from nasmigrate.transfer.pgloader.load_file import Server, render
from nasmigrate.transfer.pgloader.program import Program, run_program
from nasmigrate.transfer.pgloader.summary import read_summary

SERVER = Server(host="db.example", port=5433, user="owner", database="app", encrypted=True, password="s3cret")


def test_the_load_file_has_a_cast_for_each_column_and_no_password() -> None:
    tables = (
        PlanTable(name="Order Lines", columns=(column("id", "bigint"), column("at", "timestamp(3)"))),
        PlanTable(name="t", columns=(column("b", "bytea"), column("r", "double precision"), column("s"))),
    )
    written = render("pgloader.db", SERVER, tables)
    assert "from sqlite://pgloader.db\n" in written
    assert "into postgresql://owner@db.example:5433/app?sslmode=prefer\n" in written
    assert "s3cret" not in written
    for option in ("data only", "create no tables", "include no drop", "no truncate", "quote identifiers"):
        assert option in written
    casts = written.partition("cast\n")[2]
    assert casts.split(",\n")[1].strip() == 'column "Order Lines"."at" to "timestamp" drop typemod'
    assert 'column "t"."b" to "bytea" drop typemod using byte-vector-to-bytea' in casts
    assert casts.count("column ") == 5


def test_a_computed_column_is_not_loaded() -> None:
    computed = column("total", "bigint").model_copy(update={"computed_sql": "a + 1"})
    assert "total" not in render("x.db", SERVER, [PlanTable(name="t", columns=(column("a", "bigint"), computed))])


def connection(parameters: dict[str, str], **info: Any) -> psycopg.Connection:
    """As much of a connection as is asked."""
    facts = {"host": "h", "port": 5432, "user": "u", "dbname": "d", "password": ""} | info
    return cast(
        psycopg.Connection,
        SimpleNamespace(
            info=SimpleNamespace(get_parameters=lambda: parameters, **facts), pgconn=SimpleNamespace(ssl_in_use=0)
        ),
    )


@pytest.mark.parametrize(
    ("facts", "url"),
    [
        ({}, "postgresql://u@h:5432/d?sslmode=disable"),
        ({"host": "/run/pg-1_x/s"}, "postgresql://u@unix:/run/pg-1_x/s:5432/d?sslmode=disable"),
        ({"host": "db-1.example.org"}, "postgresql://u@db-1.example.org:5432/d?sslmode=disable"),
    ],
)
def test_a_server_that_it_can_be_told(facts: dict[str, Any], url: str) -> None:
    assert Server.of(connection({}, **facts)).url == url


def test_an_address_that_was_given_goes_before_the_name() -> None:
    assert Server.of(connection({"hostaddr": "10.0.0.7"}, host="db")).host == "10.0.0.7"


@pytest.mark.parametrize(
    ("parameters", "facts", "named"),
    [
        ({"sslmode": "verify-full"}, {}, "certificate"),
        ({}, {"host": "::1"}, "host"),
        ({}, {"user": "o'brien"}, "user"),
        ({}, {"dbname": "my app"}, "database"),
        ({}, {"dbname": "x?sslmode=disable"}, "database"),
    ],
)
def test_one_that_it_cannot_be_told_is_refused(parameters: dict[str, str], facts: dict[str, Any], named: str) -> None:
    with pytest.raises(PreflightError, match=named) as caught:
        Server.of(connection(parameters, **facts))
    assert "--engine native" in (caught.value.hint or "")


def test_the_summary_says_what_it_believes_of_each_table(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text(
        '"fetch";0;0;0;0;"0.000s"\n'
        '"\\"two words\\"";5;3;2;371;"1m2.500s"\n'
        '"\\"t\\"";1;1;0;4;"0.084s"\n'
        '"COPY Threads Completion";2;2;0;0;"0.148s"\n'
        "not a line\n"
    )
    found = read_summary(path, ["two words", "t", "never loaded"])
    assert sorted(found) == ["t", "two words"]
    assert (found["two words"].read, found["two words"].imported, found["two words"].errors) == (5, 3, 2)
    assert found["two words"].seconds == 62.5


def test_no_summary_is_no_belief(tmp_path: Path) -> None:
    assert read_summary(tmp_path / "none.csv", ["t"]) == {}


def test_its_last_words_are_its_errors_without_what_they_quote(tmp_path: Path) -> None:
    script = tmp_path / "program"
    script.write_text(
        "#!/bin/sh\n"
        "echo '2026 LOG nothing of note'\n"
        "echo '2026 ERROR Database error 22P02: invalid input syntax for type numeric: \"4711 secret\"'\n"
        "echo 'CONTEXT: COPY t, line 1: \"secret row\"'\n"
        "env | cut -d= -f1 | sort > seen; exit 3\n"
    )
    script.chmod(0o755)
    program = Program(path=str(script), version="3.6.9")
    ended = run_program(program, [], folder=tmp_path, variables={"PGPASSWORD": "x"}, watch=lambda: None)
    assert ended.code == 3
    assert ended.said == 'Database error 22P02: invalid input syntax for type numeric: "…"'
    assert (tmp_path / "pgloader.out").stat().st_mode & 0o077 == 0
    seen = set((tmp_path / "seen").read_text().split())
    assert {"PGPASSWORD", "LC_ALL"} <= seen
    assert not [name for name in seen if name.startswith("NASMIGRATE_")]


def test_an_ordinary_plan_has_no_limits() -> None:
    plan = ordinary_plan()
    evidence = {
        table.name: TableEvidence(rows=1, max_row_bytes=1, mean_row_bytes=1.0, columns={}) for table in plan.tables
    }
    plan = Plan.model_validate(plan.model_dump() | {"evidence": evidence})
    assert [limits_of(plan, table) for table in plan.tables] == [[] for _ in plan.tables]
