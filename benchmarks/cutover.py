"""The write pause of a cutover, measured: 1 M rows x 8 columns, a writer beside it, rows changed in many chunks.

`python benchmarks/cutover.py [RUNS]` prints one line per run and, at the end, median and maximum of the freeze (lock
granted to fence committed), its parts, and predicted / actual. Everything happens in a temporary folder on an embedded
server with the settings of a stock cluster.
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from nasmigrate.core.config import Config
from nasmigrate.core.config_cutover import AppSection, CutoverSection
from nasmigrate.core.config_model import RehearseSection, TransferSection
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.embedded import embedded_server
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.rehearse import rehearse

ROWS = 1_000_000
CHANGED = 1_000
CHUNK_ROWS = 5_000
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
number = 0
while True:
    number += 1
    try:
        connection.execute("UPDATE big SET c = c + 1 WHERE id = ?", (number * 7919 % 1000000 + 1,))
    except sqlite3.Error:
        break
    time.sleep(0.02)
"""


def make(path: Path) -> None:
    """One table with the columns a shop has."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE big (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT, c INTEGER NOT NULL, d REAL,"
            " e TEXT, f INTEGER, g TEXT)"
        )
        connection.executemany(
            "INSERT INTO big VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (n, f"name {n}", f"mail{n}@example.org", n * 3, n / 16, "2026-01-02 03:04:05", n % 7, "x" * (n % 40))
                for n in range(1, ROWS + 1)
            ),
        )
        connection.commit()


def change(path: Path) -> None:
    """CHANGED rows in at least a hundred chunks, as they happen between the last pass and the lock."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        step = ROWS // CHANGED
        connection.executemany("UPDATE big SET c = c + 1 WHERE id = ?", ((n * step + 1,) for n in range(CHANGED)))
        connection.commit()


def one(number: int) -> Result:
    """One cutover; the rows change at the end of its passes."""
    with tempfile.TemporaryDirectory(prefix="nasmigrate-bench-") as name, embedded_server(durable=True) as server:
        folder = Path(name)
        source = folder / "app.db"
        make(source)
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop TEMPLATE template0")
            connection.execute("CREATE ROLE shop_app LOGIN")
        config = Config(
            app=AppSection(busy_timeout=30.0, arrival_timeout=0.1),
            cutover=CutoverSection(dump=False, max_freeze=30.0),
            transfer=TransferSection(chunk_rows=CHUNK_ROWS),
            rehearse=RehearseSection(cutover=False, round_trip=False),
        )
        context = Context(config=config, base=folder, reporter=Silent())
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(source)])
        try:
            time.sleep(0.5)
            assert rehearse(context, source).verdict == "pass"

            def watch(point: str) -> None:
                # As much before the last pass as after it: the prediction is by what that pass took.
                if point in ("P2:end", "P3:end"):
                    change(source)

            return cutover(
                context,
                source,
                Target(conninfo=make_conninfo(server.dsn, dbname="shop"), display="shop"),
                Options(watcher=watch),
            )
        finally:
            writer.kill()
            writer.wait()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    found = []
    for number in range(runs):
        rates = one(number).rates
        found.append(rates)
        print({name: value for name, value in rates.items() if name.startswith(("freeze", "open"))}, flush=True)
    freezes = [rates["freeze_seconds"] for rates in found]
    shares = [rates["freeze_predicted_seconds"] / rates["freeze_seconds"] for rates in found]
    print(f"freeze: median {statistics.median(freezes):.2f} s, maximum {max(freezes):.2f} s")
    print(f"predicted / actual within 0.67-1.5: {sum(0.67 <= share <= 1.5 for share in shares)} of {runs}")


if __name__ == "__main__":
    main()
