"""The profile of a column does not depend on how its rows were cut into batches.

Batches of the class the batch before had take a shorter way through the scan; the first batch never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st

from nasmigrate.schema.codecs import TESTS, RawText, SqliteValue
from nasmigrate.schema.evidence import ColumnAsk, TableProfile
from nasmigrate.schema.model import Column, Table
from nasmigrate.sqlite.scan import Scan

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_REALS = st.floats(allow_nan=False)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_DATES = st.dates().map(lambda day: day.isoformat())
_CLASSES: Sequence[st.SearchStrategy[SqliteValue]] = (
    _INTEGERS,
    _REALS,
    _TEXTS,
    _DATES,
    st.binary(max_size=8),
    st.just(RawText(b"\xff")),
)


@st.composite
def columns(draw: st.DrawFn) -> list[SqliteValue]:
    """Runs of one class, with or without NULLs among them, now and then a single value of another."""
    values: list[SqliteValue] = []
    for kind in draw(st.lists(st.sampled_from(_CLASSES), min_size=1, max_size=3)):
        run = kind | st.none() if draw(st.booleans()) else kind
        values += draw(st.lists(run, min_size=1, max_size=30))
    return values


def profiled(values: Sequence[SqliteValue], cuts: Sequence[int]) -> TableProfile:
    """The profile of a table of (row number, value), taken in batches that end at `cuts`."""
    table = Table(
        name="t",
        columns=(Column(name="id", declared_type="INTEGER"), Column(name="c", declared_type="")),
        primary_key=("id",),
        rowid_alias="id",
    )
    scan = Scan(table, {"c": ColumnAsk(tests=tuple(TESTS))})
    edges = [0, *sorted(set(cuts)), len(values)]
    for start, end in pairwise(edges):
        if start < end:
            scan.add([(row, values[row]) for row in range(start, end)])
    return scan.result()


@given(values=columns(), data=st.data())
def test_cuts_change_nothing(values: list[SqliteValue], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(values)), max_size=8))
    event(f"{len(set(cuts))} cuts")
    whole, parts = profiled(values, []), profiled(values, cuts)
    assert parts.columns == whole.columns
    assert (parts.rows, parts.total_bytes) == (whole.rows, whole.total_bytes)
    assert parts.max_row_bytes <= whole.max_row_bytes
