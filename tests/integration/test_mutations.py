"""Any single change of a finished copy is found, by exactly the checks that the table says, and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.copies import context, copied, gates, target, verified
from support.generate_docs import DOCS
from support.mutations import CHECKS, MUTATIONS, Mutation, limits_page, make_source
from support.postgres import fresh_database

from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.verify import verify

ACCEPT = ("TEXT_IN_BLOB:item.pic",)


@pytest.fixture(scope="module")
def finished(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("mutations")
    make_source(folder / "app.db")
    with fresh_database(server.dsn) as dsn:
        result = copied(folder / "base", folder / "app.db", dsn, accept=ACCEPT, chunk_rows=2)
        assert result.verdict == "pass", result
        yield folder / "app.db", dsn


@pytest.fixture
def clone(server: EmbeddedServer, finished: tuple[Path, str]) -> Iterator[str]:
    original = psycopg.conninfo.conninfo_to_dict(finished[1])["dbname"]
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE mutated TEMPLATE {}").format(sql.Identifier(str(original))))
    yield make_conninfo(server.dsn, dbname="mutated")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE mutated WITH (FORCE)")


def test_an_untouched_copy_passes_every_check(finished: tuple[Path, str], clone: str, tmp_path: Path) -> None:
    result = verified(tmp_path / "base", finished[0], clone, accept=ACCEPT)
    assert (result.verdict, result.differences_total) == ("pass", 0)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_seen_by_the_checks_of_the_table(
    mutation: Mutation, finished: tuple[Path, str], clone: str, tmp_path: Path
) -> None:
    with psycopg.connect(clone) as connection:
        connection.execute("SET search_path = public")
        connection.execute(mutation.sql)
    result = verified(tmp_path / "base", finished[0], clone, accept=ACCEPT)
    status = gates(result)
    assert {name for name in CHECKS if status[name] == "fail"} == mutation.seen_by
    assert {name for name in CHECKS if status[name] == "inconclusive"} == mutation.inconclusive
    assert result.exit_code == 3
    if mutation.names is not None:
        table, key, column = mutation.names
        found = [
            difference
            for difference in result.differences
            if difference.table == table
            and (key is None or difference.key == key)
            and (column is None or difference.column == column)
        ]
        assert found, result.differences


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_default_checks_find_every_mutation(
    mutation: Mutation, finished: tuple[Path, str], clone: str, tmp_path: Path
) -> None:
    with psycopg.connect(clone) as connection:
        connection.execute("SET search_path = public")
        connection.execute(mutation.sql)
    assert verify(context(tmp_path / "base", accept=ACCEPT), finished[0], target(clone)).exit_code == 3


def test_the_page_says_what_is_tested() -> None:
    assert (DOCS / "verification-limits.md").read_text() == limits_page(), "run `make docs` and commit the result"
