"""What the writers were told, against what is there: every acknowledged row once, none that was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A write that its engine confirmed. `began` and `ended` are seconds of the machine's monotonic clock."""

    engine: str
    number: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one writer wrote down, in its order."""

    acknowledged: tuple[Acknowledged, ...]
    refused: frozenset[int]
    unknown: frozenset[int]

    @property
    def all_acknowledged(self) -> frozenset[int]:
        """The numbers that any engine confirmed."""
        return frozenset(write.number for write in self.acknowledged)

    @property
    def longest_gap(self) -> float:
        """The longest time without an acknowledged write, in seconds."""
        return max((later.ended - earlier.ended for earlier, later in pairwise(self.acknowledged)), default=0.0)

    def by(self, engine: str) -> int:
        """How many writes an engine confirmed."""
        return sum(1 for write in self.acknowledged if write.engine == engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the count came to; `faults` is empty when nothing was lost and nothing came that was refused."""

    acknowledged: int
    refused: int
    unknown: int
    faults: tuple[str, ...]


def read_log(path: Path) -> Told:
    """What a writer was told; a torn last line is left out."""
    acknowledged: list[Acknowledged] = []
    refused, unknown = set(), set()
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        outcome, engine, number, began, ended = line.split()
        if outcome == "ok":
            acknowledged.append(Acknowledged(engine=engine, number=int(number), began=float(began), ended=float(ended)))
        elif outcome == "no":
            refused.add(int(number))
        else:
            unknown.add(int(number))
    return Told(acknowledged=tuple(acknowledged), refused=frozenset(refused), unknown=frozenset(unknown))


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
