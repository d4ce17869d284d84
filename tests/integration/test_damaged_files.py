"""Damaged files through the whole road: a named error or a proven copy. `make fuzz` runs five thousand of them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from support.fuzz_files import SEED, Files, page, run
from support.mutate_sqlite import BASES, MUTATIONS, DamagedFile

from nasmigrate.postgres.embedded import EmbeddedServer

SAMPLE = 100
"""Files of the sample: about a minute on two processors."""


def test_a_sample_of_damaged_files_ends_in_named_errors_and_proven_copies(server: EmbeddedServer) -> None:
    outcomes = list(run(server.dsn, range(SAMPLE)))
    assert [outcome for outcome in outcomes if not outcome.good] == []
    # The sound base files come first: they are copied, or the sample would show nothing.
    sound = {outcome.base: outcome.verdict for outcome in outcomes if outcome.mutation == "none"}
    assert sound == dict.fromkeys(BASES, "copied")
    assert {outcome.verdict for outcome in outcomes if outcome.mutation != "none"} == {"refused", "copied"}


def test_the_files_follow_from_the_seed_alone(tmp_path: Path) -> None:
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
    one, two = Files(tmp_path / "one", SEED), Files(tmp_path / "two", SEED)
    other = Files(tmp_path / "three", SEED + 1)
    numbers = range(len(BASES), 400)
    assert [one.file(number) for number in numbers] == [two.file(number) for number in numbers]
    assert [one.file(number) for number in numbers] != [other.file(number) for number in numbers]
    assert {one.file(number)[1] for number in numbers} == set(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_kind_of_damage_changes_the_file(tmp_path: Path, mutation: str) -> None:
    files = Files(tmp_path, SEED)
    changed = 0
    for base in BASES:
        content = files.file(BASES.index(base))[2]
        damaged = damage(mutation, content, Random(base))
        changed += damaged != content
    assert changed >= len(BASES) // 2


def damage(mutation: str, content: bytes, random: Random) -> bytes:
    file = DamagedFile(content)
    MUTATIONS[mutation](file, random)
    return bytes(file.bytes)


def test_the_table_of_outcomes_counts_every_file(server: EmbeddedServer) -> None:
    outcomes = list(run(server.dsn, range(6), workers=1))
    text = page(outcomes, seed=SEED)
    assert text.startswith("<!-- Written by `make fuzz`")
    assert "| copied, proven, and the judge agrees | 6 |" in text
