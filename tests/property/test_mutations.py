"""Any single change of any value, row or original is found by `verify` without the round trip, and named exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from psycopg import sql
from support.copies import context, copied, target
from support.postgres import fresh_database
from support.random_mutations import CHANGES, MUTATIONS, Named, make_source, one, set_value, ulps

from nasmigrate.core.result import Result
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.verify import verify

TABLES = {"keyed": "public", "pairs": "public", "keyless": "public", "originals": "nasmigrate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A finished copy, and a session that holds its rows as they were."""

    base: Path
    source: Path
    dsn: str
    keeper: psycopg.Connection
    accept: tuple[str, ...]

    def verify(self) -> Result:
        """By counts, digests and originals."""
        return verify(context(self.base, accept=self.accept), self.source, target(self.dsn))

    def restore(self) -> None:
        """Put every row back."""
        for table, schema in TABLES.items():
            where = sql.Identifier(schema, table)
            self.keeper.execute(sql.SQL("TRUNCATE {}").format(where))
            self.keeper.execute(
                sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}").format(
                    where, sql.Identifier(f"saved_{table}")
                )
            )
        self.keeper.commit()


@pytest.fixture(scope="module")
def finished(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    folder = tmp_path_factory.mktemp("random-mutations")
    make_source(folder / "app.db")
    with fresh_database(server.dsn) as dsn, psycopg.connect(dsn) as keeper:
        result = copied(folder / "base", folder / "app.db", dsn, chunk_rows=7)
        assert {gate.name for gate in result.gates if gate.status == "fail"} <= {"decisions"}
        for table, schema in TABLES.items():
            keeper.execute(
                sql.SQL("CREATE TEMP TABLE {} AS SELECT * FROM {}").format(
                    sql.Identifier(f"saved_{table}"), sql.Identifier(schema, table)
                )
            )
        keeper.commit()
        accept = tuple(finding.identity for finding in result.findings if finding.severity != "note")
        yield Copied(base=folder / "base", source=folder / "app.db", dsn=dsn, keeper=keeper, accept=accept)


def judge(finished: Copied, expected: set[Named]) -> None:
    """The differences that `verify` names are the expected ones, no less and no more; then all is put back."""
    try:
        result = finished.verify()
        assert result.exit_code == 3, expected
        assert {(found.kind, found.table, found.key, found.column) for found in result.differences} == expected
    finally:
        finished.restore()


@settings(max_examples=150)
@given(data=st.data())
def test_a_single_change_is_found_and_named(finished: Copied, data: st.DataObject) -> None:
    mutate = data.draw(st.sampled_from(MUTATIONS))
    event(mutate.__name__)
    with psycopg.connect(finished.dsn) as connection:
        expected = mutate(connection, data.draw)
    judge(finished, expected)


@pytest.mark.parametrize("column", CHANGES)
def test_the_least_change_of_every_type_is_found_and_named(finished: Copied, column: str) -> None:
    name = sql.Identifier(column)
    rows = sql.SQL("SELECT id, {0} FROM keyed WHERE {0} IS {1} ORDER BY id LIMIT 1")
    with psycopg.connect(finished.dsn, autocommit=True) as connection:
        row, value = one(connection, rows.format(name, sql.SQL("NOT NULL")))
        empty, _ = one(connection, rows.format(name, sql.SQL("NULL")))
        instead, terms = CHANGES[column]
        for term in ulps(value) if isinstance(value, float) else terms:
            judge(finished, set_value(connection, row, column, term))
        judge(finished, set_value(connection, row, column, "NULL"))
        judge(finished, set_value(connection, empty, column, instead))


def test_the_rows_put_back_are_equal_again(finished: Copied) -> None:
    finished.restore()
    assert finished.verify().exit_code == 0
