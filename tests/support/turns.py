"""Who took writes when, from what the application's processes were told: never two engines at any instant."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from nasmigrate.workflows.demo.oracle import Told


def turns(told: Mapping[str, Told]) -> list[str]:
    """The engines in the order in which they took writes.

    A write was taken at some instant between its beginning and its answer. If an engine's last write of its turn began
    after the first one of the next turn was answered, both took writes at once, whatever those instants were.

    Args:
        told: writer -> what it was told; each was acknowledged something in every turn.

    Raises:
        AssertionError: two took writes at once, or the writers saw different turns.
    """
    runs = {
        name: [(engine, list(group)) for engine, group in groupby(heard.acknowledged, key=lambda write: write.engine)]
        for name, heard in told.items()
    }
    orders = {name: [engine for engine, _ in turn] for name, turn in runs.items()}
    order = next(iter(orders.values()))
    assert all(each == order for each in orders.values()), orders
    for number in range(len(order) - 1):
        last, until = max((run[number][1][-1].began, name) for name, run in runs.items())
        first, by = min((run[number + 1][1][0].ended, name) for name, run in runs.items())
        assert last <= first, (
            f"turn {number + 1}: {order[number]} took a write of {until} {last - first:.3f} s after {order[number + 1]}"
            f" had answered {by}"
        )
    return order
