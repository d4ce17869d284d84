"""BLOBs: every byte is hashed on both sides, and large ones do not pile up in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.copies import copied, gates, verified
from support.processes import memory_of_rehearsal

ROW_BYTES = 8 * 1024 * 1024
ROWS = 16
LIMIT_MB = 300
"""For rows of that size; with all rows of the table in one batch, more than 500 were measured."""


@pytest.mark.parametrize(
    "written",
    [b"[B@1b6d3586", b"\x00\x01\x02\x04", b"", bytes(range(256)).hex().encode()],
    ids=["an object's print form", "one bit of another blob", "nothing", "the hex digits"],
)
def test_a_blob_that_was_written_as_something_else_is_named(written: bytes, tmp_path: Path, database: str) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, body BLOB)")
        connection.executemany(
            "INSERT INTO files VALUES (?, ?)", [(1, b"\x00\x01\x02\x03"), (2, bytes(range(256))), (3, b""), (4, None)]
        )
        connection.commit()
    assert copied(tmp_path / "base", tmp_path / "app.db", database).exit_code == 0
    with psycopg.connect(database) as target:
        target.execute("UPDATE public.files SET body = %s WHERE id = 2", (written,))
    result = verified(tmp_path / "base", tmp_path / "app.db", database)
    assert result.exit_code == 3
    assert {name for name, status in gates(result).items() if status == "fail"} == {"digests", "round-trip"}
    assert {(found.table, found.key, found.column) for found in result.differences} == {("files", "id=2", "body")}


@pytest.mark.parametrize("cutover", [False, True])
def test_memory_is_bounded_where_rows_are_large(cutover: bool, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, body BLOB)")
        connection.executemany("INSERT INTO files VALUES (?, ?)", ((n, bytes([n]) * ROW_BYTES) for n in range(ROWS)))
        connection.commit()
    peak, _ = memory_of_rehearsal(tmp_path / "app.db", cutover=cutover, timeout=120)
    assert 20 < peak / 1e6 < LIMIT_MB
