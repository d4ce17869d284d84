"""A cutover to be disturbed: a source, an empty target, settings, a rehearsal that passed, and writers that count."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from support.processes import environment, nasmigrate

from nasmigrate.core.rundir import write_atomic
from nasmigrate.workflows.demo.oracle import Verdict, judge, read_log

DRIVER = Path(__file__).with_name("night_driver.py")
LIMIT = 90.0

SCHEMA = """
PRAGMA journal_mode = {mode};
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, writer TEXT NOT NULL, number INTEGER NOT NULL);
CREATE TABLE totals (writer TEXT PRIMARY KEY, written INTEGER NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, added TEXT NOT NULL);
CREATE TABLE tags (product INTEGER NOT NULL REFERENCES products ON DELETE CASCADE, tag TEXT NOT NULL,
                   PRIMARY KEY (product, tag)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(name, content='products', content_rowid='id');
CREATE TRIGGER products_words AFTER INSERT ON products
BEGIN INSERT INTO words (rowid, name) VALUES (new.id, new.name); END;
"""


WRITERS = tuple(f"w{number}" for number in range(10))


def make_source(path: Path, *, mode: str = "WAL", rows: int = 500) -> None:
    """A small shop, with what makes a fence and a way home hard."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA.format(mode=mode))
        connection.executemany("INSERT INTO totals VALUES (?, 0)", [(writer,) for writer in WRITERS])
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?)",
            [(n, f"product {n}", n / 8, f"2026-01-{n % 28 + 1:02d} 10:00:00") for n in range(1, rows + 1)],
        )
        connection.executemany("INSERT INTO tags VALUES (?, ?)", [(n, f"tag{n % 7}") for n in range(1, rows + 1)])
        connection.commit()


@dataclass
class Night:
    """One folder and one database."""

    folder: Path
    dsn: str
    role: str
    writers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The SQLite file."""
        return self.folder / "app.db"

    @property
    def env_file(self) -> Path:
        """What the application is started with."""
        return self.folder / "app.env"

    @property
    def database(self) -> str:
        """Its name, for confirmations."""
        return str(psycopg.conninfo.conninfo_to_dict(self.dsn)["dbname"])

    @property
    def as_application(self) -> str:
        """How the application connects to Postgres."""
        return make_conninfo(self.dsn, user=self.role)

    def write_settings(self, *, app: str = "", cutover: str = "") -> None:
        """nasmigrate.toml and app.env."""
        self.write_env_file(f"PORT=3101\nDATABASE={self.source}\n".encode())
        (self.folder / "nasmigrate.toml").write_text(
            f'[source]\npath = "app.db"\n[target]\ndsn = {json.dumps(self.dsn)}\n'
            '[plan]\naccept = ["TRIGGER_NOT_CARRIED:products_words", "VIRTUAL_TABLE:words", "WAL_ABSENT:app.db"]\n'
            f'[app]\nrole = "{self.role}"\nbusy_timeout = 4.0\nenv_file = "app.env"\n'
            f"env = [{json.dumps('DATABASE=' + self.as_application)}]\narrival_timeout = 10.0\n{app}\n"
            f"[cutover]\ndump = false\n{cutover}\n"
        )

    def write_env_file(self, data: bytes) -> None:
        """Replace app.env as a whole: the writers look at it all the time."""
        write_atomic(self.env_file, data)

    def run(self, what: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """A command of the tool, to its end."""
        agreed = ("--yes", "--confirm", self.database) if what in ("cutover", "rollback") else ()
        if "--dry-run" in flags:
            agreed = ()
        return nasmigrate(self.folder, what, *agreed, *flags)

    def document(self, what: str, *flags: str) -> dict[str, object]:
        """The same with --json."""
        done = self.run(what, "--json", *flags)
        return {"code": done.returncode, **json.loads(done.stdout or "{}"), "stderr": done.stderr}

    def drive(
        self,
        what: str,
        point: str,
        number: int = signal.SIGKILL,
        *,
        watchdog: bool = False,
        wait: bool = True,
        plant: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """The workflow in a process that sends itself a signal at a point; `plant` is a bug of `plants.py`."""
        words = [what, str(self.folder), point, str(int(number)), str(int(watchdog)), *([plant] if plant else [])]
        with (self.folder / "driver.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(DRIVER), *words],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        if wait:
            try:
                process.wait(LIMIT)
            finally:
                process.kill()
        return process

    def meaning(self) -> str:
        """What `status` says first."""
        return str(self.document("status")["meaning"])

    # -- the application -------------------------------------------------------------------------------------

    def start_writers(self, names: Sequence[str] = ("w0", "w1"), *, pause: float = 0.01) -> None:
        """Start them, with `pause` seconds between a write and the next; wait until each got writes acknowledged."""
        for name in names:
            self.writers[name] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "nasmigrate.workflows.demo.writer",
                    str(self.env_file),
                    str(self.folder / f"{name}.log"),
                    name,
                    str(pause),
                ],
                env=environment(),
                stdin=subprocess.DEVNULL,
            )
        self.wait_for_writes()

    def wait_for_writes(self, more: int = 3, seconds: float = 30.0) -> None:
        """Wait until every writer got some more writes acknowledged: one engine serves, and it is reached."""
        before = {name: self._acknowledged(name) for name in self.writers}
        until = time.monotonic() + seconds
        for name, number in before.items():
            while self._acknowledged(name) < number + more:
                assert time.monotonic() < until, f"{name} gets no write acknowledged: {self.meaning()}"
                time.sleep(0.05)

    def stop_writers(self) -> None:
        """Kill them; a commit of which they were not told counts as unknown."""
        for process in self.writers.values():
            process.kill()
            process.wait()
        self.writers.clear()

    def _acknowledged(self, name: str) -> int:
        log = self.folder / f"{name}.log"
        return len(read_log(log).all_acknowledged) if log.exists() else 0

    # -- the oracle ------------------------------------------------------------------------------------------

    def takers(self, *, patience: float = 5.0) -> set[str]:
        """Which engines take a write of the application at one instant. Nothing is kept.

        SQLite's transaction stays open while Postgres is asked, so an answer with both is never one of two instants. A
        SQLite that is locked for `patience` seconds counts as taking none.
        """
        found = set()
        with ExitStack() as stack:
            with suppress(sqlite3.Error):
                file = stack.enter_context(
                    closing(sqlite3.connect(self.source, timeout=patience, isolation_level=None))
                )
                file.execute("BEGIN IMMEDIATE")
                stack.callback(file.execute, "ROLLBACK")
                file.execute("INSERT INTO tags VALUES (1, 'probe')")
                found.add("SQLite")
            with suppress(psycopg.Error), psycopg.connect(self.as_application) as connection:
                connection.execute("INSERT INTO tags VALUES (1, 'probe')")
                connection.rollback()
                found.add("Postgres")
        return found

    def verdict(self) -> Verdict:
        """Count in the engine that serves. The writers must have been stopped."""
        told = {log.stem: read_log(log) for log in self.folder.glob("w*.log") if log.name != "watchdog.log"}
        if self.takers() == {"Postgres"}:
            with psycopg.connect(self.dsn) as connection:
                rows = connection.execute("SELECT writer, number FROM orders").fetchall()
                totals = dict(connection.execute("SELECT writer, written FROM totals").fetchall())
        else:
            with closing(sqlite3.connect(self.source)) as connection:
                rows = connection.execute("SELECT writer, number FROM orders").fetchall()
                totals = dict(connection.execute("SELECT writer, written FROM totals").fetchall())
        # A write under way when its writer was killed was told to nobody: it may be there.
        last = {name: max((*heard.all_acknowledged, *heard.refused, *heard.unknown, 0)) for name, heard in told.items()}
        rows = [(name, number) for name, number in rows if number <= last.get(name, 0)]
        kept = {name: sum(1 for who, _ in rows if who == name) for name in told}
        assert all(totals[name] - kept[name] in (0, 1) for name in told), (totals, kept)
        return judge(told, rows, kept)

    def assert_one_serves_and_nothing_is_lost(self) -> str:
        """Exactly one engine takes writes, the writers reach it, and the count is right. Which one."""
        serving = self.assert_one_serves()
        self.assert_nothing_is_lost()
        return serving

    def assert_one_serves(self) -> str:
        """Exactly one engine takes writes, and the writers reach it. Which one."""
        takers = self.takers()
        assert len(takers) == 1, f"writes are taken by {takers or 'nobody'}: {self.meaning()}"
        self.wait_for_writes()
        (one,) = takers
        return one

    def assert_nothing_is_lost(self) -> None:
        """End the writers; every write that was acknowledged is there, none that was refused."""
        self.stop_writers()
        verdict = self.verdict()
        assert not verdict.faults, verdict.faults
        assert verdict.acknowledged > 0


@contextmanager
def night_on(server_dsn: str, folder: Path, rehearsed: Path | None, name: str) -> Iterator[Night]:
    """A night in `folder`: a copy of a rehearsed one, or a new one with a source that the caller makes.

    Args:
        server_dsn: a superuser's conninfo of a durable server.
        folder: exists and is empty.
        rehearsed: a folder that `rehearse` passed in.
        name: of database and role.
    """
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"{name}_app")))
    night = Night(folder=folder, dsn=make_conninfo(server_dsn, dbname=name), role=f"{name}_app")
    if rehearsed is not None:
        shutil.copytree(rehearsed, folder, dirs_exist_ok=True, symlinks=True)
        for result in folder.glob(".nasmigrate/runs/2*/result.json"):
            # A rehearsal names its source; this is a copy of that one.
            result.write_text(result.read_text().replace(str(rehearsed), str(folder)))
    night.write_settings()
    try:
        yield night
    finally:
        night.stop_writers()
        for log in folder.glob(".nasmigrate/runs/2*/watchdog.log"):
            _end_watchdogs(log)
        with psycopg.connect(server_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for role in ("app", "rw", "owner"):
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{name}_{role}")))


def _end_watchdogs(log: Path) -> None:
    """End a watchdog of this test that still tries, by the file it has open."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if any(link.readlink() == log for link in (entry / "fd").iterdir()):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


def make_rehearsed(folder: Path, *, mode: str = "WAL", rows: int = 500) -> Path:
    """Give the folder a source and settings, and a rehearsal that passed; the folder."""
    make_source(folder / "app.db", mode=mode, rows=rows)
    Night(folder=folder, dsn="dbname=unused", role="unused").write_settings()
    done = nasmigrate(folder, "rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
