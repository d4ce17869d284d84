"""The protocol never lets two engines take writes, nor loses an acknowledged one, and needs each of its guards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.protocol import (
    CLOSED,
    DRAINING,
    OPEN,
    START,
    Model,
    State,
    put,
    readings,
    safe,
    source_writable,
    steps_of,
    stopped,
)
from nasmigrate.core.phases import CUTOVER, FORWARD, REOPEN, ROLLBACK, UNDO, Action, Guard, Phase


def reachable(model: Model, start: State) -> set[State]:
    """All states that can be reached; the model must be safe."""
    programs = model.programs()
    seen, todo = {start}, [start]
    while todo:
        for following in model.following(todo.pop(), programs):
            assert safe(following)
            if following not in seen:
                seen.add(following)
                todo.append(following)
    return seen


@pytest.fixture(scope="module")
def three_runs() -> set[State]:
    """Every state that three runs of the tool can lead to."""
    return reachable(Model(commits_may_be_lost=True), START._replace(starts=3))


def told(states: list[State] | None) -> str:
    """A way to an unsafe state, for a failing test's message."""
    return "\n".join(str(state) for state in states or ())


def test_every_reachable_state_is_safe() -> None:
    number, found = Model(commits_may_be_lost=True).explore()
    assert found is None, told(found)
    assert number > 100_000, "the model has lost its interleavings"


@pytest.mark.parametrize("guard", Guard, ids=lambda guard: guard.name)
def test_each_guard_is_necessary(guard: Guard) -> None:
    model = Model(removed=frozenset({guard}), commits_may_be_lost=guard in (Guard.SEEN, Guard.ARRIVED))
    _, found = model.explore()
    assert found is not None, f"without the guard {guard.name} nothing is lost: it does not belong into the table"


def exchanged(phases: tuple[Phase, ...], first: str, second: str) -> tuple[Phase, ...]:
    """The table with two phases in each other's place."""
    by_key = {phase.key: phase for phase in phases}
    order = [{first: second, second: first}.get(phase.key, phase.key) for phase in phases]
    return tuple(by_key[key] for key in order)


def test_opening_before_the_fence_is_found() -> None:
    _, found = Model(cutover=exchanged(CUTOVER, "P6", "P7")).explore()
    assert found is not None


def test_dropping_the_fence_before_postgres_is_closed_is_found() -> None:
    _, found = Model(rollback=exchanged(ROLLBACK, "R3", "R4")).explore()
    assert found is not None


def test_a_rollback_without_its_last_rows_is_found() -> None:
    without = tuple(replace(phase, steps=()) if phase.key == "R2" else phase for phase in ROLLBACK)
    _, found = Model(rollback=without).explore()
    assert found is not None


def test_every_guard_stands_in_a_table() -> None:
    steps = (*steps_of(CUTOVER), *steps_of(ROLLBACK), *UNDO, *FORWARD, *REOPEN)
    assert set().union(*(step.guards for step in steps)) == set(Guard)
    assert {step.action for step in steps} == set(Action)


def test_the_whole_way_there_and_back_is_explored(three_runs: set[State]) -> None:
    assert any(state.controls[0].state == OPEN and state.fence for state in three_runs)
    assert any(state.controls[0].state == DRAINING and state.fence is None for state in three_runs)
    assert any(
        state.controls[0].state == CLOSED and state.controls[0].epoch > 2 and state.fence is None
        for state in three_runs
    )


def test_resume_alone_always_ends_with_one_engine_that_takes_writes(three_runs: set[State]) -> None:
    model = Model()
    programs = model.programs()
    crashed = {stopped(stopped(state, 0), 1)._replace(writers=(None, None)) for state in three_runs}
    assert len(crashed) > 20
    for state in crashed:
        # Once for each target that has something to be settled.
        end = resumed(model, programs, resumed(model, programs, state))
        takers = [source_writable(end), *(control.state == OPEN for control in end.controls)]
        assert takers.count(True) == 1, f"{state}\nends as\n{end}"
        assert resumed(model, programs, end) == end, "resume twice is not resume once"


def resumed(model: Model, programs: dict[str, tuple], state: State) -> State:
    """What `resume`, on the target that the fence names, makes of a state in which nobody else works."""
    for target in (0, 1):
        # `cutover` is not resumed, and an open Postgres stays open.
        wanted = [program for program in readings(state, target) if program not in ("cutover", "forward", "reopen")]
        if not wanted or state.controls[target].state == OPEN:
            continue
        state = state._replace(starts=1)
        begun = [one for one in model._starts(state, 0) if one.tools[0] and one.tools[0].program == wanted[0]]
        begun = [one for one in begun if one.tools[0] and one.tools[0].target == target]
        (state,) = begun
        while (tool := state.tools[0]) is not None and tool.position < len(programs[tool.program]):
            (state,) = model._step(state, 0, tool, programs[tool.program])
        state = state._replace(tools=put(state.tools, 0, None), starts=0)
    return state._replace(tools=(None, None), starts=0)
