"""The demo from its beginning to its count, in a folder of its own and on an embedded Postgres."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.core.config import Config
from nasmigrate.core.config_cutover import AppSection
from nasmigrate.core.context import Context
from nasmigrate.core.errors import GateFailed
from nasmigrate.core.progress import Reporter, Silent
from nasmigrate.core.result import Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.embedded import embedded_server
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.demo.oracle import Verdict, judge, read_log
from nasmigrate.workflows.demo.writer import BUSY_TIMEOUT
from nasmigrate.workflows.rehearse import rehearse
from nasmigrate.workflows.rollback import RollbackOptions, rollback

WRITER = "web"
ROWS = 20_000
SERVING = 2.0
"""Seconds for which each engine serves in front of the audience."""

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT NOT NULL, number INTEGER NOT NULL);
CREATE TABLE totals (writer TEXT PRIMARY KEY, written INTEGER NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL NOT NULL, added TEXT NOT NULL);
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What the demo showed. Seconds; `longest_pause` is the longest time in which the writer got no acknowledgement."""

    verdict: Verdict
    on_sqlite: int
    on_postgres: int
    longest_pause: float
    freeze: float
    lock: float
    seconds: float
    passed: bool


def demo(folder: Path, *, say: Say, reporter: Reporter | None = None) -> DemoOutcome:
    """Show a cutover and a rollback under a live writer.

    Args:
        folder: an empty, private directory.
        say: told the story, line by line.
        reporter: told the phases.

    Raises:
        TargetError: the embedded server cannot run here.
        NasmigrateError: the demo itself failed.
    """
    began = time.monotonic()
    source, env_file, log = folder / "shop.db", folder / "app.env", folder / "acknowledged.log"
    _make_source(source)
    env_file.write_text(f"PORT=3101\nDATABASE={source}\n")
    env_file.chmod(0o600)
    with ExitStack() as stack:
        server = stack.enter_context(embedded_server(durable=True))
        target = _make_target(server.dsn)
        application = make_conninfo(target.conninfo, user="demo_app")
        context = Context(
            config=Config(
                app=AppSection(
                    role="demo_app",
                    busy_timeout=BUSY_TIMEOUT,
                    env_file=str(env_file),
                    env=(f"DATABASE={application}",),
                    arrival_timeout=20.0,
                )
            ),
            base=folder,
            reporter=reporter or Silent(),
        )
        stack.enter_context(_writing(env_file, log))
        say(f"an application writes to {source.name}, a SQLite file with {ROWS:,} rows, about 50 times a second")
        _passed(rehearse(context, source), "the rehearsal")
        say("rehearsed: the copy is proven, the plan is known")
        _wait(log)
        moved = _passed(cutover(context, source, target, Options()), "the cutover")
        freeze = moved.rates["freeze_seconds"]
        say(
            f"cut over: writes were frozen for {freeze:.2f} s ({moved.rates['freeze_predicted_seconds']:.2f} s were"
            " predicted); the application writes to Postgres, the SQLite file refuses"
        )
        _wait(log)
        back = _passed(rollback(context, source, target, RollbackOptions()), "the rollback")
        lock = back.rates["lock_seconds"]
        say(f"rolled back: {lock:.2f} s without writes; what Postgres took is home, the application writes to SQLite")
        _wait(log)
    told = read_log(log)
    verdict = _count(source, log)
    on_sqlite, on_postgres = (told.by(engine) for engine in ("sqlite", "postgres"))
    return DemoOutcome(
        verdict=verdict,
        on_sqlite=on_sqlite,
        on_postgres=on_postgres,
        longest_pause=told.longest_gap,
        freeze=freeze,
        lock=lock,
        seconds=time.monotonic() - began,
        passed=not verdict.faults and on_sqlite > 0 and on_postgres > 0,
    )


def _make_source(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(_SCHEMA).fetchall()
        connection.execute("BEGIN").fetchall()
        connection.execute("INSERT INTO totals VALUES (?, 0)", (WRITER,)).fetchall()
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?)",
            (
                (number, f"product {number}", number / 8, f"2026-01-{number % 28 + 1:02d} 12:00:00")
                for number in range(1, ROWS + 1)
            ),
        ).fetchall()
        connection.execute("COMMIT").fetchall()


def _make_target(dsn: str) -> Target:
    with connected(dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE demo_app LOGIN")
        connection.execute(sql.SQL("CREATE DATABASE demo TEMPLATE template0 ENCODING 'UTF8'"))
    return Target(conninfo=make_conninfo(dsn, dbname="demo"), display="embedded Postgres, database demo")


@contextmanager
def _writing(env_file: Path, log: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate.workflows.demo.writer", str(env_file), str(log), WRITER],
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait(log)
        yield
    finally:
        process.kill()
        process.wait()


def _wait(log: Path) -> None:
    """Let the audience see the writer write for a while; it must write."""
    before = len(read_log(log).all_acknowledged) if log.exists() else 0
    until = time.monotonic() + 20.0
    time.sleep(SERVING)
    while not log.exists() or len(read_log(log).all_acknowledged) <= before:
        if time.monotonic() > until:
            raise GateFailed("the demo's application gets no write acknowledged", hint=f"see {log}")
        time.sleep(0.05)


def _passed(result: Result, what: str) -> Result:
    bad = [f"{gate.name}: {gate.detail}" for gate in result.gates if gate.status in ("fail", "inconclusive")]
    if bad:
        raise GateFailed(f"{what} did not pass: {bad[0]}", checks=bad)
    return result


def _count(source: Path, log: Path) -> Verdict:
    """The oracle. The writer is gone, so the file can be read as it is."""
    with closing(apsw.Connection(str(source))) as connection:
        rows = [
            (str(writer), int(number)) for writer, number in connection.execute("SELECT writer, number FROM orders")
        ]
        totals = {str(writer): int(written) for writer, written in connection.execute("SELECT * FROM totals")}
    return judge({WRITER: read_log(log)}, rows, totals)
