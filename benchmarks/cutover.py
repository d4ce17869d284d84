"""The write pause of a cutover and the way home, measured on the commands themselves.

    python benchmarks/cutover.py [--runs 10] [--homes 3] [--rows 1000000] [--write]

One table of 1 M rows x 8 columns; a writer makes 50 transactions a second until it is refused. Each run is a whole
`cutover` of the same rehearsed file into a fresh database of one stock cluster (fsync on); 1,000 rows in at least 100
chunks change before the last pass, which the prediction is made from, and 1,000 others after it. Freeze is the time
from the write lock to the fence's commit, as the command reports it.

The first `--homes` runs are followed by a whole `rollback`: 100,000 rows were changed in Postgres (40 % inserted, 40 %
updated, 20 % deleted, over all chunks), 3,000 more change so before the pass that predicts the lock, and 3,000 more
after it. Lock is the time from the locks on Postgres' tables to SQLite's commit.

With --write the tables go to benchmarks/CUTOVER.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.home_changes import home_changes  # noqa: E402

from nasmigrate.core.config import Config  # noqa: E402
from nasmigrate.core.config_cutover import AppSection, CutoverSection  # noqa: E402
from nasmigrate.core.config_model import RehearseSection, TransferSection  # noqa: E402
from nasmigrate.core.context import Context  # noqa: E402
from nasmigrate.core.progress import Silent  # noqa: E402
from nasmigrate.core.target import Target  # noqa: E402
from nasmigrate.postgres.embedded import embedded_server  # noqa: E402
from nasmigrate.workflows.cutover.options import Options  # noqa: E402
from nasmigrate.workflows.cutover.run import cutover  # noqa: E402
from nasmigrate.workflows.rehearse import rehearse  # noqa: E402
from nasmigrate.workflows.rollback import RollbackOptions, rollback  # noqa: E402

CHANGED = 1_000
CHUNK_ROWS = 8_192
BEHIND = 3_000
RESULTS = ROOT / "benchmarks" / "CUTOVER.md"
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
rows, number, due = int(sys.argv[2]), 0, time.monotonic()
while True:
    number += 1
    try:
        connection.execute("UPDATE big SET c = c + 1 WHERE id = ?", (2 * (number * 7919 % rows + 1),))
    except sqlite3.Error:
        break
    due += 0.02
    time.sleep(max(0.0, due - time.monotonic()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What one command said of its pause, in seconds; `whole` is the wall time of the command."""

    rates: dict[str, float]
    whole: float

    def share(self, name: str) -> float:
        """Predicted / actual."""
        return self.rates[f"{name}_predicted_seconds"] / max(self.rates[f"{name}_seconds"], 1e-9)


class AfterNote(Silent):
    """Calls `do` at each note that begins with a word."""

    def __init__(self, word: str, do: Callable[[], object]) -> None:
        self._word = word
        self._do = do

    def note(self, text: str) -> None:
        """Look at the word."""
        if text.startswith(self._word):
            self._do()


def make(path: Path, rows: int) -> None:
    """One table with the columns a shop has; its keys are even, so that rows can be inserted everywhere."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE big (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT, c INTEGER NOT NULL, d REAL,"
            " e TEXT, f INTEGER, g TEXT)"
        )
        connection.executemany(
            "INSERT INTO big VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    2 * n,
                    f"name {n}",
                    f"mail{n}@example.org",
                    n * 3,
                    n / 16,
                    "2026-01-02 03:04:05",
                    n % 7,
                    "x" * (n % 40),
                )
                for n in range(1, rows + 1)
            ),
        )
        connection.commit()


def change(path: Path, rows: int, number: int) -> None:
    """CHANGED rows, evenly over the table; those of another number are others."""
    step = max(1, rows // CHANGED)
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.executemany(
            "UPDATE big SET c = c + 1 WHERE id = ?", ((2 * (n * step + 1 + number),) for n in range(rows // step))
        )
        connection.commit()


@contextmanager
def writing(path: Path, rows: int) -> Iterator[None]:
    """An application that goes on until it is refused a write."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(rows)])
    try:
        time.sleep(0.5)
        yield
    finally:
        writer.kill()
        writer.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A folder with a rehearsed file, and a cluster."""

    folder: Path
    rows: int
    server: str
    config: Config

    @property
    def source(self) -> Path:
        """The live file."""
        return self.folder / "app.db"

    @property
    def target(self) -> Target:
        """The database it moves into."""
        return Target(conninfo=make_conninfo(self.server, dbname="shop"), display="shop")

    def rehearse(self) -> None:
        """Once: what is rehearsed is the plan, and that stays."""
        make(self.folder / "first.db", self.rows)
        shutil.copyfile(self.folder / "first.db", self.source)
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute("CREATE ROLE shop_app LOGIN")
        with writing(self.source, self.rows):
            result = rehearse(self._context(Silent()), self.source)
        if result.verdict != "pass":
            failed = [f"{gate.name}: {gate.detail}" for gate in result.gates if gate.status != "pass"]
            raise SystemExit(f"the rehearsal came to {result.verdict}: {failed}")

    def cutover(self) -> Pause:
        """One cutover of the file as it was at first; rows change before its last pass, and again after it."""
        for suffix in ("", "-wal", "-shm"):
            self.source.with_name(self.source.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self.folder / "first.db", self.source)
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
            # A cutover that was not rolled back leaves the application's role a member of these.
            connection.execute("DROP ROLE IF EXISTS shop_rw, shop_owner")
            connection.execute("CREATE DATABASE shop TEMPLATE template0")

        def watch(point: str) -> None:
            if point in ("P2:end", "P3:end"):
                change(self.source, self.rows, 0 if point == "P2:end" else 1)

        with writing(self.source, self.rows):
            began = time.perf_counter()
            result = cutover(self._context(Silent()), self.source, self.target, Options(watcher=watch))
            return Pause(rates=result.rates, whole=time.perf_counter() - began)

    def rollback(self) -> Pause:
        """One rollback, with rows to bring in the first pass, in the second and under the lock."""
        number = 0

        def changes(every: int) -> None:
            nonlocal number
            home_changes(self.target.conninfo, "big", "c = c + 1", every=every, number=number)
            number += 1

        def behind() -> None:
            changes(max(30, self.rows * 5 // (2 * BEHIND)))

        def watch(point: str) -> None:
            if point == "R0:end":
                behind()

        changes(25)
        began = time.perf_counter()
        context = self._context(AfterNote("pass 1:", behind))
        result = rollback(context, self.source, self.target, RollbackOptions(common=Options(watcher=watch)))
        return Pause(rates=result.rates, whole=time.perf_counter() - began)

    def _context(self, reporter: Silent) -> Context:
        return Context(config=self.config, base=self.folder, reporter=reporter)


def freezes(pauses: Sequence[Pause]) -> str:
    """The table of the freezes."""
    parts = ("copy", "digest", "apply", "verify", "fence")
    lines = [
        "| run | freeze s | pages copied | digest | apply | verify | fence | predicted s | predicted / actual |",
        "|--|--|--|--|--|--|--|--|--|",
    ]
    for number, pause in enumerate(pauses, 1):
        rates = pause.rates
        split = " | ".join(f"{rates[f'freeze_{part}_seconds']:.2f}" for part in parts)
        lines.append(
            f"| {number} | {rates['freeze_seconds']:.2f} | {split} | {rates['freeze_predicted_seconds']:.2f} |"
            f" {pause.share('freeze'):.2f} |"
        )
    found = [pause.rates["freeze_seconds"] for pause in pauses]
    fitting = sum(0.67 <= pause.share("freeze") <= 1.5 for pause in pauses)
    lines += [
        "",
        f"Freeze: median {statistics.median(found):.2f} s, maximum {max(found):.2f} s. Predicted / actual within 0.67"
        f" to 1.5 in {fitting} of {len(found)}.",
    ]
    return "\n".join(lines)


def homes(pauses: Sequence[Pause]) -> str:
    """The table of the ways home."""
    parts = ("wait", "compare", "apply", "verify", "settle", "close", "commit")
    lines = [
        f"| run | rollback s | of it under lock s | {' | '.join(parts)} | predicted s | predicted / actual |",
        "|--|--|--|" + "--|" * (len(parts) + 2),
    ]
    for number, pause in enumerate(pauses, 1):
        split = " | ".join(f"{pause.rates[f'lock_{part}_seconds']:.2f}" for part in parts)
        lines.append(
            f"| {number} | {pause.whole:.2f} | {pause.rates['lock_seconds']:.2f} | {split} |"
            f" {pause.rates['lock_predicted_seconds']:.2f} | {pause.share('lock'):.2f} |"
        )
    locks = [pause.rates["lock_seconds"] for pause in pauses]
    lines += ["", f"Lock: median {statistics.median(locks):.2f} s, maximum {max(locks):.2f} s."]
    return "\n".join(lines)


def machine(version: str) -> str:
    """Date, commit, processor, cores, load and versions; no names of hosts."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    model = models[0].split(":", 1)[1].strip() if models else platform.machine()
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {found.stdout.strip()}, {model}, {os.cpu_count()} cores, load average"
        f" {os.getloadavg()[2]:.1f}, Linux, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
        f" PostgreSQL {version} with its default settings (fsync on)."
    )


def main() -> None:
    """Measure, print and, if asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--homes", type=int, default=3, help="runs that are followed by a rollback")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    config = Config(
        app=AppSection(busy_timeout=30.0, arrival_timeout=0.1),
        cutover=CutoverSection(dump=False, max_freeze=60.0, max_lock=60.0),
        transfer=TransferSection(chunk_rows=CHUNK_ROWS),
        rehearse=RehearseSection(cutover=False, round_trip=False),
    )
    there: list[Pause] = []
    back: list[Pause] = []
    with tempfile.TemporaryDirectory(prefix="nasmigrate-bench-") as name, embedded_server(durable=True) as server:
        bench = Bench(folder=Path(name), rows=arguments.rows, server=server.dsn, config=config)
        bench.rehearse()
        for number in range(arguments.runs):
            there.append(bench.cutover())
            print(f"cutover {number + 1}: {there[-1]}", flush=True)
            if number < arguments.homes:
                back.append(bench.rollback())
                print(f"rollback {number + 1}: {back[-1]}", flush=True)
        facts = machine(server.version)
    text = "\n\n".join(
        [
            "<!-- Written by benchmarks/cutover.py. -->\n# Cutover and rollback",
            facts,
            f"## The freeze\n\n{arguments.rows:,} rows x 8 columns in chunks of {CHUNK_ROWS:,}; {CHANGED:,} rows"
            " changed over all chunks since the last pass, and a writer of 50 transactions a second.",
            freezes(there),
        ]
    )
    if back:
        text += "\n\n" + "\n\n".join(
            [
                "## The way home\n\nA tenth of the rows was changed in Postgres (40 % inserted, 40 % updated, 20 %"
                f" deleted, over all chunks), and {BEHIND:,} more before the last pass and as many after it, which come"
                " home under the lock.",
                homes(back),
            ]
        )
    print("\n" + text)
    if arguments.write:
        RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
