"""The worker processes of a run: what is left of them when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from nasmigrate.core.pool import Pool


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _twice(state: None, task: int) -> int:
    return 2 * task


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_workers_of_a_closed_pool_are_gone_when_it_is_left(interrupted: bool) -> None:
    """One whose executor still ends beside the interpreter may print a traceback: its pipe is closed and woken."""
    before = threading.enumerate()
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext(), Pool(2) as pool:
        assert dict(pool.run(_nothing, (), _twice, range(5), spread=True)) == {n: 2 * n for n in range(5)}
        assert threading.enumerate() != before
        pool.close()
        if interrupted:
            raise KeyboardInterrupt
    assert threading.enumerate() == before
