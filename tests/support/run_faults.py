"""Runs the fault cells and the kills in system calls, and writes docs/faults.md: `make faults [MINUTES=…] [JOBS=…]`.

Cells come in an order in which every phase and every fault are met early, so a run that is cut short is a sample.
What a cell came to is recorded under .nasmigrate/faults by the commit that last changed the tool, and the next run on
the same tool goes on from there: with the cells that did not run yet, and those that failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import faults
from support.census import Place

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
SEED = 20261126
KILLED = "killed in a system call"


@dataclass
class Record:
    """What is known of this tool, a JSON line each: the kills that were found, and what each cell came to, last."""

    path: Path
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.done = {name for name, line in self.outcomes().items() if not line["failed"]}

    def lines(self) -> list[dict[str, Any]]:
        """All lines, in the order they were written."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def outcomes(self) -> dict[str, dict[str, Any]]:
        """What each cell came to the last time it ran."""
        return {line["name"]: line for line in self.lines() if "name" in line}

    def add(self, **line: object) -> None:
        """Append one line; several processes write to the file."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def one(self, place: tuple[str, str], name: str, work: Callable[[], str]) -> None:
        """Run one cell, unless it passed already, and note how it ended."""
        if name in self.done:
            return
        began = time.monotonic()
        failed = False
        try:
            ended = work()
        except Exception as error:  # whatever went wrong is a failed cell, and the others still run
            failed, ended = True, f"FAILED: {type(error).__name__}: {error}"
        self.add(name=name, phase=place[0], fault=place[1], failed=failed, ended=ended)
        sys.stderr.write(f"{time.monotonic() - began:5.1f} s  {name}: {ended}\n")


@dataclass
class Table:
    """What was found and run, by phase and fault."""

    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    run: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Table:
        """The table of all that was recorded."""
        table = cls(found=Counter((cell.phase, cell.fault) for cell in faults.cells()))
        kills: dict[str, Counter[tuple[str, str]]] = {}
        for line in record.lines():
            if "census" in line:
                kills[line["census"]] = Counter((phase, KILLED) for phase in line["phases"])
        for line in record.outcomes().values():
            place = (line["phase"], line["fault"])
            table.run[place] += 1
            if line["failed"]:
                table.failed.setdefault(place, []).append(f"{line['name']}: {line['ended']}")
        for counted in kills.values():
            table.found += counted
        return table


def main() -> int:
    """Run until all is done or the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop beginning new cells after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the cells")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    record = Record(ROOT / ".nasmigrate" / "faults" / f"{_commit()}.jsonl")
    if arguments.share is not None:
        return run_share(record, arguments.share, arguments.jobs, time.monotonic() + 60 * arguments.minutes)
    command = [sys.executable, "-m", "support.run_faults", *sys.argv[1:]]
    others = [subprocess.Popen([*command, "--share", str(share)]) for share in range(arguments.jobs)]
    ended = [other.wait() for other in others]
    table = Table.of(record)
    PAGE.write_text(page(table))
    return 1 if table.failed or any(ended) else 0


def run_share(record: Record, share: int, jobs: int, until: float) -> int:
    """Run the cells and kills whose place in the order is this share's."""
    with tempfile.TemporaryDirectory(prefix="nasmigrate-faults-") as scratch:
        folder = Path(scratch)
        (folder / "rehearsed").mkdir()
        with faults.world(folder / "rehearsed") as world:
            kills = _kills(world, folder, record)
            cells = list(dict.fromkeys((*faults.sample(SEED, len(faults.cells())), *faults.cells())))
            for number in range(share, max(len(kills), len(cells)), jobs):
                if time.monotonic() > until:
                    break
                if number < len(cells):
                    cell = cells[number]
                    where = faults.fresh_folder(folder, 2 * number)
                    record.one(
                        (cell.phase, cell.fault),
                        str(cell),
                        lambda: faults.run_cell(world, cell, where, f"cell{number}"),  # noqa: B023 - called at once
                    )
                if number < len(kills):
                    command, place = kills[number]
                    where = faults.fresh_folder(folder, 2 * number + 1)
                    record.one(
                        (place.phase, KILLED),
                        f"{command} {place}",
                        lambda: faults.run_kill(world, command, place, where, f"kill{number}"),  # noqa: B023 - as above
                    )
    return 0


def _kills(world: faults.World, folder: Path, record: Record) -> list[tuple[str, Place]]:
    """The first and the last of each kind of call in each phase."""
    found: list[tuple[str, Place]] = []
    for command in ("cutover", "rollback"):
        places = faults.take_census(world, command, faults.fresh_folder(folder, -1), f"census_{command}")
        record.add(census=command, phases=[place.phase for place in places])
        ends: dict[tuple[str, str], list[Place]] = {}
        for place in places:
            ends.setdefault((place.phase, place.call), []).append(place)
        found += [(command, place) for group in ends.values() for place in dict.fromkeys((group[0], group[-1]))]
    return sorted(found, key=lambda one: (one[1].number, one[1].phase, one[1].call))


def _commit() -> str:
    """The commit that last changed the tool, `-dirty` where it differs from that."""
    last = ["git", "log", "-1", "--format=%h", "--", ":/cli"]
    commit = subprocess.run(last, capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ":/cli"], check=False)
    return commit + ("-dirty" if changed.returncode else "")


def page(table: Table) -> str:
    """The page."""
    names = [*faults.FAULTS, KILLED]
    meanings = {name: (fault.__doc__ or "").splitlines()[0] for name, fault in faults.FAULTS.items()}
    meanings[KILLED] = "A process of the tool gets SIGKILL in one write, sync, rename or send."
    total = sum(table.run.values())
    failed = sum(map(len, table.failed.values()))
    lines = [
        "# Faults at every phase",
        "",
        f"Written by `make faults` for the tool as of commit {_commit()}: {sum(table.found.values()):,} cells found,"
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
