"""Runs the fault cells and the kills in system calls, and writes docs/faults.md: `make faults [MINUTES=…]`.

Cells come in an order in which every phase and every fault are met early, so a run that is cut short is a sample.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support import faults
from support.census import Place

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
SEED = 20261126
KILLED = "killed in a system call"


@dataclass
class Table:
    """What was run, by phase and fault."""

    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    run: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def one(self, place: tuple[str, str], name: str, work: Callable[[], str]) -> None:
        """Run one cell and note how it ended."""
        began = time.monotonic()
        self.run[place] += 1
        try:
            ended = work()
        except Exception as error:  # whatever went wrong is a failed cell, and the others still run
            ended = f"FAILED: {type(error).__name__}: {error}"
            self.failed.setdefault(place, []).append(f"{name}: {ended}")
        sys.stderr.write(f"{time.monotonic() - began:5.1f} s  {name}: {ended}\n")


def main() -> int:
    """Run until all is done or the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop beginning new cells after so long")
    until = time.monotonic() + 60 * parser.parse_args().minutes
    table = Table()
    for cell in faults.cells():
        table.found[cell.phase, cell.fault] += 1
    with tempfile.TemporaryDirectory(prefix="nasmigrate-faults-") as scratch:
        folder = Path(scratch)
        (folder / "rehearsed").mkdir()
        with faults.world(folder / "rehearsed") as world:
            kills = _kills(world, folder, table)
            cells = list(dict.fromkeys((*faults.sample(SEED, len(faults.cells())), *faults.cells())))
            for number in range(max(len(kills), len(cells))):
                if time.monotonic() > until:
                    break
                if number < len(cells):
                    cell = cells[number]
                    where = faults.fresh_folder(folder, 2 * number)
                    table.one(
                        (cell.phase, cell.fault),
                        str(cell),
                        lambda: faults.run_cell(world, cell, where, f"cell{number}"),  # noqa: B023 - called at once
                    )
                if number < len(kills):
                    command, place = kills[number]
                    where = faults.fresh_folder(folder, 2 * number + 1)
                    table.one(
                        (place.phase, KILLED),
                        f"{command} {place}",
                        lambda: faults.run_kill(world, command, place, where, f"kill{number}"),  # noqa: B023 - as above
                    )
    PAGE.write_text(page(table))
    return 1 if table.failed else 0


def _kills(world: faults.World, folder: Path, table: Table) -> list[tuple[str, Place]]:
    """The first and the last of each kind of call in each phase."""
    found: list[tuple[str, Place]] = []
    for command in ("cutover", "rollback"):
        places = faults.take_census(world, command, faults.fresh_folder(folder, -1), f"census_{command}")
        for place in places:
            table.found[place.phase, KILLED] += 1
        ends: dict[tuple[str, str], list[Place]] = {}
        for place in places:
            ends.setdefault((place.phase, place.call), []).append(place)
        found += [(command, place) for group in ends.values() for place in dict.fromkeys((group[0], group[-1]))]
    return sorted(found, key=lambda one: (one[1].number, one[1].phase, one[1].call))


def page(table: Table) -> str:
    """The page."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    names = [*faults.FAULTS, KILLED]
    meanings = {name: (fault.__doc__ or "").splitlines()[0] for name, fault in faults.FAULTS.items()}
    meanings[KILLED] = "A process of the tool gets SIGKILL in one write, sync, rename or send."
    total = sum(table.run.values())
    failed = sum(map(len, table.failed.values()))
    lines = [
        "# Faults at every phase",
        "",
        f"Written by `make faults` on commit {commit.stdout.strip()}: {sum(table.found.values()):,} cells found,"
        f" {total:,} run, {failed} failed.",
        "",
        "A cell is a point that a cutover or rollback passes, and a fault there, while two applications write all",
        "the time. After it `resume` runs, twice; then exactly one engine takes writes, every write that was",
        "acknowledged is there, none that was refused. CI runs a fixed sample with every phase and every fault.",
        "",
        "Each field: cells run / found, and how many failed.",
        "",
        "| fault | " + " | ".join(phase.key for _, phase in faults.phases()) + " |",
        "|--|" + "--|" * len(faults.phases()),
    ]
    for name in names:
        fields = []
        for _, phase in faults.phases():
            place = (phase.key, name)
            bad = len(table.failed.get(place, ()))
            fields.append(f"{table.run[place]}/{table.found[place]}" + (f" **{bad} failed**" if bad else ""))
        lines.append(f"| {name} | " + " | ".join(fields) + " |")
    lines += ["", "| fault | what happens |", "|--|--|", *(f"| {name} | {meanings[name]} |" for name in names)]
    if table.failed:
        lines += ["", "## Failed", "", *(f"- {text}" for texts in table.failed.values() for text in texts)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
