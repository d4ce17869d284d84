"""What the writers were told, against what is there: every acknowledged row once, none that was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one writer wrote down. `longest_gap` is the longest time without an acknowledged write, in seconds."""

    acknowledged: dict[str, frozenset[int]]
    refused: frozenset[int]
    unknown: frozenset[int]
    longest_gap: float

    @property
    def all_acknowledged(self) -> frozenset[int]:
        """Of every engine."""
        return frozenset().union(*self.acknowledged.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the count came to; `faults` is empty when nothing was lost and nothing came that was refused."""

    acknowledged: int
    refused: int
    unknown: int
    faults: tuple[str, ...]


def read_log(path: Path) -> Told:
    """What a writer was told; a torn last line is left out."""
    acknowledged: dict[str, set[int]] = {}
    refused, unknown = set(), set()
    last: float | None = None
    gap = 0.0
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        outcome, engine, number, moment = line.split()
        if outcome == "ok":
            acknowledged.setdefault(engine, set()).add(int(number))
            gap = max(gap, float(moment) - last) if last is not None else gap
            last = float(moment)
        elif outcome == "no":
            refused.add(int(number))
        else:
            unknown.add(int(number))
    return Told(
        acknowledged={engine: frozenset(numbers) for engine, numbers in acknowledged.items()},
        refused=frozenset(refused),
        unknown=frozenset(unknown),
        longest_gap=gap,
    )


def judge(told: Mapping[str, Told], rows: Iterable[tuple[str, int]], totals: Mapping[str, int]) -> Verdict:
    """Compare.

    Args:
        told: writer -> what it was told.
        rows: (writer, number) of every row of `orders`.
        totals: writer -> `totals.written`.
    """
    faults: list[str] = []
    present: dict[str, list[int]] = {writer: [] for writer in told}
    for writer, number in rows:
        present.setdefault(writer, []).append(number)
    for writer, numbers in present.items():
        if writer not in told:
            faults.append(f"rows of {writer}, whom nobody knows")
            continue
        there, heard = set(numbers), told[writer]
        if len(there) != len(numbers):
            faults.append(f"{writer}: {len(numbers) - len(there)} rows are there twice")
        if lost := heard.all_acknowledged - there:
            faults.append(f"{writer}: {len(lost)} acknowledged rows are lost, the first is {min(lost)}")
        if ghosts := there & heard.refused:
            faults.append(f"{writer}: {len(ghosts)} refused rows are there, the first is {min(ghosts)}")
        counted = totals.get(writer, 0)
        if counted != len(there):
            faults.append(f"{writer}: {counted} were counted, {len(there)} rows are there")
    return Verdict(
        acknowledged=sum(len(heard.all_acknowledged) for heard in told.values()),
        refused=sum(len(heard.refused) for heard in told.values()),
        unknown=sum(len(heard.unknown) for heard in told.values()),
        faults=tuple(faults),
    )
