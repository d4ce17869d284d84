"""A fixed sample of everything that can go wrong in a cutover and in a rollback; `make faults` runs all of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import faults
from support.census import CALLS, Place

SEED = 20261126
PER_PHASE = 2

CELLS = faults.sample(SEED, PER_PHASE * len(faults.phases()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[faults.World]:
    with faults.world(tmp_path_factory.mktemp("world")) as made:
        yield made


def test_every_phase_has_cells_for_every_fault() -> None:
    every = faults.cells()
    pairs = {(cell.phase, cell.fault) for cell in every}
    assert pairs == {(phase.key, fault) for _, phase in faults.phases() for fault in faults.FAULTS}
    assert len(set(every)) == len(every)


def test_the_sample_has_every_phase_and_every_fault() -> None:
    assert {cell.phase for cell in CELLS} == {phase.key for _, phase in faults.phases()}
    assert {cell.fault for cell in CELLS} == set(faults.FAULTS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_one_engine_serves_and_nothing_is_lost(
    cell: faults.Cell, world: faults.World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    faults.run_cell(world, cell, tmp_path, f"f{CELLS.index(cell)}")


@pytest.mark.parametrize("command", ["cutover", "rollback"])
def test_a_process_killed_in_a_system_call(command: str, world: faults.World, tmp_path: Path) -> None:
    (tmp_path / "census").mkdir()
    places = faults.take_census(world, command, tmp_path / "census", f"census_{command}")
    assert {place.call for place in places} <= set(CALLS)
    chance = random.Random(SEED)
    for number, phase in enumerate(sorted({place.phase for place in places})):
        place: Place = chance.choice([place for place in places if place.phase == phase])
        folder = tmp_path / f"kill-{number}"
        folder.mkdir()
        faults.run_kill(world, command, place, folder, f"k_{command}_{number}")
