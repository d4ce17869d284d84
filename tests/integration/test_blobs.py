"""BLOBs: every byte is hashed on both sides, and large ones do not pile up in memory."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.copies import copied, gates, verified
from support.processes import environment, tree_memory

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


@pytest.mark.parametrize("cutover", ["false", "true"])
def test_memory_is_bounded_where_rows_are_large(cutover: str, tmp_path: Path) -> None:
    (tmp_path / "nasmigrate.toml").write_text(f"[rehearse]\ncutover = {cutover}\n")
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, body BLOB)")
        connection.executemany("INSERT INTO files VALUES (?, ?)", ((n, bytes([n]) * ROW_BYTES) for n in range(ROWS)))
        connection.commit()
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate", "rehearse", "app.db"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()
    peaks = [0]

    def watch() -> None:
        while not ended.wait(0.02):
            peaks.append(tree_memory(process.pid, without=("postgres",)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        ended.set()
        watcher.join()
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, errors
    assert 20 < max(peaks) / 1e6 < LIMIT_MB
