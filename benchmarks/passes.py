"""How long a catch-up pass and the way home take: 1 M rows x 8 in chunks of 8,192 rows, changes over all chunks.

    python benchmarks/passes.py [--rows 1000000] [--rounds 5]

What is measured is the work on both sides, split as a result splits it; locks, fences and routes are not part of it.
The server is one stock cluster, fsync on, as for the other benchmarks.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from data_samples import shapes  # noqa: E402
from support.home_changes import home_changes, spread_keys  # noqa: E402
from support.pipeline import Pipeline  # noqa: E402
from support.postgres import fresh_database  # noqa: E402
from support.two_sides import TwoSides, no_guard, two_sides  # noqa: E402

from nasmigrate.core.pool import Pool  # noqa: E402
from nasmigrate.postgres.connect import connected  # noqa: E402
from nasmigrate.postgres.embedded import embedded_server  # noqa: E402
from nasmigrate.sqlite.open import SourceFile  # noqa: E402
from nasmigrate.sqlite.snapshot import take_pages  # noqa: E402
from nasmigrate.workflows.bring_home import BroughtHome, bring_home, settle  # noqa: E402
from nasmigrate.workflows.catch_up import Pass, catch_up  # noqa: E402

CHUNK_ROWS = 8192
CHANGED = 1000


def main() -> int:
    """Measure both directions and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="catch-up passes of either kind; 0 for the way home only")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="passes-") as folder,
        embedded_server() as server,
        fresh_database(server.dsn) as dsn,
    ):
        work = Path(folder)
        live = work / "live.db"
        shapes.bench_table(live, rows=arguments.rows)
        with closing(sqlite3.connect(live)) as connection:
            connection.executescript(spread_keys("big"))
        sides = two_sides(Pipeline(conninfo=dsn, base=work), live, chunk_rows=CHUNK_ROWS)
        print(f"{arguments.rows} rows, {live.stat().st_size / 1e6:.0f} MB, {len(sides.ledger['big'])} chunks")
        if arguments.rounds:
            forward(sides, work, arguments.rows, arguments.rounds)
        backward(sides, arguments.rows)
    return 0


def forward(sides: TwoSides, work: Path, rows: int, rounds: int) -> None:
    """1,000 rows changed in SQLite, evenly over all chunks, reach Postgres: by pages, and by digests of all rows."""
    with Pool(2) as pool, connected(sides.pipeline.conninfo) as target:
        pool.warm(("nasmigrate.workflows.catch_up",))
        these = Pass(plan=sides.plan, run_id=sides.run_id, pool=pool, limits=sides.limits, workdir=work)
        before = take_pages(sides.live, work / "before.db")
        for by_pages in (True, False):
            totals = []
            for number in range(rounds):
                with closing(sqlite3.connect(sides.live)) as connection, connection:
                    connection.execute(f"UPDATE big SET n = n + 1 WHERE id / 2 % {rows // CHANGED} = {number}")
                began = time.perf_counter()
                snapshot = take_pages(sides.live, work / f"{by_pages}-{number}.db")
                copied = time.perf_counter()
                source = SourceFile(path=snapshot)
                since = before if by_pages else None
                done = catch_up(target, these, source, sides.ledger, no_guard, since=since)
                applied = time.perf_counter()
                target.commit()
                ended = time.perf_counter()
                totals.append(ended - began)
                sides.ledger = done.ledger
                before.unlink()
                before = snapshot
                spent = done.seconds
                print(
                    f"catch-up {'by pages' if by_pages else 'by digests'}: {done.changed_rows} rows in {done.chunks}"
                    f" chunks, {totals[-1]:.3f} s = copy {copied - began:.3f} + digest {spent.digest:.3f} + compare"
                    f" {spent.compare:.3f} + apply {spent.apply:.3f} + verify {spent.verify:.3f} + commit"
                    f" {ended - applied:.3f}"
                )
            print(f"median {statistics.median(totals):.3f} s, maximum {max(totals):.3f} s")


def backward(sides: TwoSides, rows: int) -> None:
    """A tenth of the rows changed in Postgres come home, then 3,000 more in passes as a rollback makes them."""
    home_changes(sides.pipeline.conninfo, "big", "n = n + 1, s = s || '!'", every=25, number=0)
    these = sides.homecoming(sides.schema())
    with connected(sides.pipeline.conninfo) as target, closing(sides.writer()) as live:
        done: BroughtHome | None = None
        for number, name in enumerate(("everything", "by row versions", "by row versions")):
            began, used = time.perf_counter(), time.process_time()
            done = bring_home(target, live, these, done.ledger if done else sides.ledger, done.seen if done else None)
            target.rollback()
            spent = done.seconds
            print(
                f"way home, {name}: {done.changed_rows} rows, {time.perf_counter() - began:.2f} s = compare"
                f" {spent.compare:.2f} + apply {spent.apply:.2f} + verify {spent.verify:.2f};"
                f" {time.process_time() - used:.2f} s of this process"
            )
            home_changes(sides.pipeline.conninfo, "big", "n = n + 1", every=rows // 1200, number=number)
        began = time.perf_counter()
        settle(target, live, these, ["big"])
        live.execute("COMMIT")
        print(f"settle and commit: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
