"""The first row that the application inserts into Postgres gets a number that SQLite would have given, or a later one.

A sequence that stands at 1 beside rows that were copied is the most reported failure of all such moves (T77).
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from support import cases
from support.pipeline import Pipeline, failed_gates


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Pipeline:
    return Pipeline(conninfo=database, base=tmp_path)


@pytest.mark.parametrize(
    ("case", "following"),
    [
        ("T78-autoincrement-high-water", {"invoices": 21, "empty": 1, "negative": 1, "plain": 4}),
        ("T82-sequence-behind", {"t": 8, "u": 5}),
    ],
)
def test_the_next_number_was_never_used(
    case: str, following: dict[str, int], tmp_path: Path, pipeline: Pipeline
) -> None:
    source = tmp_path / "source.db"
    cases.build(case, source)
    result, _ = pipeline.copy(source)
    assert failed_gates(result) == []
    with psycopg.connect(pipeline.conninfo) as connection:
        for table, number in following.items():
            statement = sql.SQL("INSERT INTO {} DEFAULT VALUES RETURNING id").format(sql.Identifier(table))
            assert connection.execute(statement).fetchone() == (number,)


def test_a_sequence_that_is_set_back_is_seen(tmp_path: Path, pipeline: Pipeline) -> None:
    source = tmp_path / "source.db"
    cases.build("T78-autoincrement-high-water", source)
    pipeline.copy(source)
    with psycopg.connect(pipeline.conninfo, autocommit=True) as connection:
        # Above every row, and below the invoices that were deleted.
        connection.execute("SELECT setval(pg_get_serial_sequence('invoices', 'id'), 15)")
    result = pipeline.verify(source)
    assert result.exit_code == 3
    (difference,) = (difference for difference in result.differences if difference.kind == "sequence")
    assert (difference.table, difference.source) == ("invoices", "next value above 20")


def test_after_the_highest_number_there_is_none(tmp_path: Path, pipeline: Pipeline) -> None:
    source = tmp_path / "source.db"
    cases.build("T81-sequence-exhausted", source)
    result, _ = pipeline.copy(source, accept=["SEQUENCE_EXHAUSTED:t.id"])
    assert result.exit_code == 0
    with (
        psycopg.connect(pipeline.conninfo) as connection,
        pytest.raises(psycopg.errors.SequenceGeneratorLimitExceeded),
    ):
        connection.execute("INSERT INTO t DEFAULT VALUES")
