"""Whole random databases through the whole pipeline and back: nothing is lost, and the exit code says so.

Every gate that proves must pass, whatever the findings; the exit code is 0 exactly when no finding is open. A judge
that shares no code with the package reads both ends too.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.judge import judge
from support.pipeline import Pipeline, failed_gates
from support.plans import renamed
from support.strategies import HOSTILE, Made, databases

from nasmigrate.core.result import Result


def carried(pipeline: Pipeline, made: Made) -> Result:
    """Copy, and hold the outcome against everything the tool promises."""
    with TemporaryDirectory(dir=pipeline.base) as folder:
        source = Path(folder) / "source.db"
        rows = made.write(source)
        before = source.read_bytes()
        result, plan = pipeline.copy(source)
        assert source.read_bytes() == before
        verdict = judge(source, pipeline.conninfo, renamed(plan))
    open_ones = [finding.identity for finding in result.findings if finding.open]
    failed = failed_gates(result)
    if not rows:
        # Nothing came back because there was nothing: never a pass.
        failed = [gate for gate in failed if not gate.startswith("round-trip: inconclusive")]
    assert failed == [], (failed, result.differences)
    assert result.differences == ()
    assert result.exit_code == (3 if open_ones else 0 if rows else 4), (open_ones, result.gates)
    assert verdict.differences == []
    assert verdict.tables == len(made.rows)
    event(f"judged {'some' if verdict.values else 'no'} values")
    event(f"exit {result.exit_code}")
    return result


@given(databases())
@settings(max_examples=180)
def test_any_database_comes_through_and_back(pipeline: Pipeline, made: Made) -> None:
    carried(pipeline, made)


@given(databases(max_tables=1, strict=True, encodings=["UTF-8"]))
@settings(max_examples=40)
def test_strict_tables(pipeline: Pipeline, made: Made) -> None:
    carried(pipeline, made)


@given(
    databases(max_tables=2, max_rows=3, name=st.sampled_from(HOSTILE).filter(lambda name: name != "alembic_version"))
)
@settings(max_examples=80)
def test_names_nobody_should_choose(pipeline: Pipeline, made: Made) -> None:
    carried(pipeline, made)


@given(databases(max_tables=1, max_rows=40, name=st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"])))
@settings(max_examples=40)
def test_more_rows_than_a_batch_of_the_reader_takes_at_first(pipeline: Pipeline, made: Made) -> None:
    carried(pipeline, made)


BAD_NAMES = ("", "x" * 64, "x" * 65, "é" * 32, "ctid", "xmin", "tableoid", "unnamed")


@given(databases(max_tables=3, max_rows=3, name=st.sampled_from((*BAD_NAMES, "a", "b", "c"))))
@settings(max_examples=60)
def test_names_that_postgres_cannot_take_stand_under_others(pipeline: Pipeline, made: Made) -> None:
    carried(pipeline, made)
