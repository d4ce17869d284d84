"""Somebody writes to the target while it is compared: what a second look does not find is neither pass nor failure."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.copies import copied, gates, verified

from nasmigrate.core.result import Result
from nasmigrate.workflows import proof


@pytest.fixture(params=["with a key", "without one"])
def source(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Path:
    """A copied source."""
    key = "PRIMARY KEY" if request.param == "with a key" else ""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute(f"CREATE TABLE t (id INTEGER {key}, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"v{n}") for n in range(500)))
    assert copied(tmp_path, tmp_path / "app.db", database).exit_code == 0
    return tmp_path / "app.db"


def verified_while(monkeypatch: pytest.MonkeyPatch, source: Path, database: str, *, put_back: bool) -> Result:
    """Verify while a row is changed before it is hashed, and put back before the second look, or not."""
    compare = proof.compare_digests

    def comparing(*arguments: Any, **words: Any) -> Any:
        with psycopg.connect(database, autocommit=True) as application:
            application.execute("UPDATE t SET v = 'written meanwhile' WHERE id = 7")
            outcomes = compare(*arguments, **words)
            if put_back:
                application.execute("UPDATE t SET v = 'v7' WHERE id = 7")
        return outcomes

    monkeypatch.setattr(proof, "compare_digests", comparing)
    return verified(source.parent, source, database)


def test_what_the_second_look_does_not_find_is_inconclusive(
    source: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = verified_while(monkeypatch, source, database, put_back=True)
    assert (result.exit_code, gates(result)["digests"]) == (4, "inconclusive")
    assert "verify again when nobody writes" in str(result.gates)


def test_what_the_second_look_finds_is_a_difference(
    source: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = verified_while(monkeypatch, source, database, put_back=False)
    assert (result.exit_code, gates(result)["digests"]) == (3, "fail")
    assert result.differences_total
