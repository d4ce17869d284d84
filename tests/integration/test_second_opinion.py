"""A bug in our own encoder, which both digests share: the round trip, which shares no code with it, still sees it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.copies import copied, gates

from nasmigrate.schema.codecs.numbers import BigInt, Double
from nasmigrate.schema.codecs.text import Text


def _narrow(encode: Callable[..., tuple[bytes, list[bytes]]]) -> Callable[..., tuple[bytes, list[bytes]]]:
    """REALs lose their last digits, as in a 4-byte float."""
    return lambda self, column: encode(self, [float(np.float32(value)) for value in column])


def _signless(encode: Callable[..., tuple[bytes, list[bytes]]]) -> Callable[..., tuple[bytes, list[bytes]]]:
    return lambda self, column: encode(self, [abs(value) for value in column])


def _trimmed(encode: Callable[..., tuple[bytes, list[bytes]]]) -> Callable[..., tuple[bytes, list[bytes]]]:
    return lambda self, column: encode(self, [value.rstrip() for value in column])


@pytest.mark.parametrize(
    ("codec", "bug", "column"), [(Double, _narrow, "r"), (BigInt, _signless, "n"), (Text, _trimmed, "s")]
)
def test_a_wrong_encoder_is_found_by_the_round_trip(
    tmp_path: Path, database: str, codec: Any, bug: Any, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL, n INTEGER, s TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?, ?, ?)", ((n, n + 0.1, -n * 7, f"word {n}  ") for n in range(1, 40))
        )
    monkeypatch.setattr(codec, "encode_native", bug(codec.encode_native))
    result = copied(tmp_path, tmp_path / "app.db", database)
    found = gates(result)
    assert (found["counts"], found["digests"]) == ("pass", "pass"), "both sides share the bug"
    assert found["round-trip"] == "fail"
    assert result.exit_code == 3
    assert {difference.column for difference in result.differences} == {column}
