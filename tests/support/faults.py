"""Faults at every phase of a cutover and a rollback, and what must hold afterwards.

A cell is a command, a point that its workflow passes (`P6:committed`) and a fault. The workflow runs in a process of
its own, stops itself at the point, the fault happens, and it goes on, unless the fault was its end. Then `resume`
runs until it has an answer, and the oracle counts: exactly one engine takes writes, every write that was
acknowledged to the application is there, none that was refused.

The points are made from the phase table, so a phase that is added has cells or fails the test.
`make faults` runs every cell and writes docs/faults.md.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from support import servers
from support.census import Place, census, kill_at
from support.lost_answers import LostAnswers
from support.night import Night, make_source, night_on
from support.processes import nasmigrate

from nasmigrate.core.phases import CUTOVER, ROLLBACK, Phase
from nasmigrate.workflows.cutover.journal import FILE as JOURNAL

DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
MAX_FREEZE = 3.0
LIMIT = 120.0
_COMMITTED = ("P5", "P6", "P7", "R3", "R4")
"""Phases with a point right after their commit."""
_UNCLAIMED = ("P0:begin", "P0:end", "P1:begin", "P1:end", "P2:begin", "R0:begin")
"""Points at which a run has not claimed the control row yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing that can go wrong."""

    command: str
    point: str
    fault: str

    @property
    def phase(self) -> str:
        """The key of its phase."""
        return self.point.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.command} {self.point} {self.fault}"


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a fault has at hand."""

    cell: Cell
    night: Night
    process: subprocess.Popen[bytes]
    server: servers.Server
    proxy: LostAnswers
    stack: ExitStack
    notes: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        """Let the tool run again."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)

    def change_source(self, statement: str) -> None:
        """As the application would; a source that is locked or fenced refuses, and that is an outcome too."""
        with closing(sqlite3.connect(self.night.source, timeout=1.0, isolation_level=None)) as connection:
            try:
                connection.execute(statement)
            except sqlite3.Error as error:
                self.notes.append(f"{statement.split()[0]}: {error}")


# -- the faults ------------------------------------------------------------------------------------------------------


def kill(scene: Scene) -> None:
    """SIGKILL."""
    scene.process.kill()


def terminate(scene: Scene) -> None:
    """SIGTERM, as at a shutdown."""
    scene.process.terminate()
    scene.go_on()


def interrupt_twice(scene: Scene) -> None:
    """Ctrl-C, and again."""
    scene.process.send_signal(signal.SIGINT)
    scene.go_on()
    time.sleep(0.05)
    with suppress(ProcessLookupError):
        scene.process.send_signal(signal.SIGINT)


def wake_after_resume(scene: Scene) -> None:
    """Suspended beyond the freeze's limit; `resume` runs elsewhere; then it wakes."""
    time.sleep(MAX_FREEZE + 1.0)
    code = scene.night.document("resume")["code"]
    takers = scene.night.takers()
    assert len(takers) <= 1, takers
    scene.go_on()
    scene.process.wait(LIMIT)
    # Before it has claimed the control row there is nothing that resume could take over: then it may go on. So may a
    # rollback that resume could not settle, because it holds SQLite's lock.
    if scene.cell.point not in _UNCLAIMED and (scene.cell.command == "cutover" or code in (0, 4)):
        assert scene.night.takers() == takers, "a tool that woke changed who serves"


def crash_postgres(scene: Scene) -> None:
    """A backend of Postgres is killed: the whole server recovers."""
    with psycopg.connect(scene.server.dsn, autocommit=True) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row
        os.kill(row[0], signal.SIGKILL)
    scene.go_on()


def cut_connections(scene: Scene) -> None:
    """Every connection of the tool to Postgres is cut."""
    with psycopg.connect(scene.server.dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nasmigrate%'"
        )
    scene.go_on()


def lose_an_answer(scene: Scene) -> None:
    """The next COMMIT reaches Postgres, its answer does not come back."""
    scene.proxy.arm()
    scene.go_on()


def application_ddl(scene: Scene) -> None:
    """The application adds a column to the source."""
    scene.change_source("ALTER TABLE products ADD COLUMN colour TEXT")
    scene.go_on()


def application_vacuum(scene: Scene) -> None:
    """The application vacuums the source."""
    scene.change_source("VACUUM")
    scene.go_on()


def long_reader(scene: Scene) -> None:
    """Something reads the source in one long transaction."""
    connection = scene.stack.enter_context(closing(sqlite3.connect(scene.night.source, isolation_level=None)))
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM products").fetchall()
    scene.go_on()


def clock_jump(scene: Scene) -> None:
    """The tool's clock jumps by an hour."""
    scene.process.send_signal(signal.SIGUSR1)
    scene.go_on()


def journal_lost(scene: Scene) -> None:
    """Killed, and the journal is deleted."""
    scene.process.kill()
    scene.process.wait()
    (scene.night.folder / ".nasmigrate" / JOURNAL).unlink(missing_ok=True)


def journal_flipped(scene: Scene) -> None:
    """Killed, and bits of the journal are flipped."""
    scene.process.kill()
    scene.process.wait()
    path = scene.night.folder / ".nasmigrate" / JOURNAL
    raw = bytearray(path.read_bytes())
    for place in range(0, len(raw), 7):
        raw[place] ^= 1 << place % 8
    path.write_bytes(raw)


def source_fails(error: str) -> Callable[[Scene], None]:
    """The next writes and syncs of the source's files fail, in every process of the tool."""

    def fail(scene: Scene) -> None:
        source = scene.night.source
        words = ["strace", "-f", "-qq", "-o", "/dev/null"]
        for path in (source, source.with_name("app.db-wal"), source.with_name("app.db-journal")):
            words += ["-P", str(path)]
        words += [
            "-e",
            "trace=pwrite64,fdatasync,fsync",
            "-e",
            f"inject=pwrite64,fdatasync,fsync:error={error}:when=1..3",
        ]
        for pid in (scene.process.pid, *_children(scene.process.pid)):
            words += ["-p", str(pid)]
        tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        scene.stack.callback(_end, tracer)
        until = time.monotonic() + 10
        while not _traced(scene.process.pid):
            assert time.monotonic() < until, "strace did not attach"
            time.sleep(0.01)
        scene.go_on()

    fail.__doc__ = f"The next writes and syncs of the source fail with {error}."
    return fail


FAULTS: dict[str, Callable[[Scene], None]] = {
    "kill": kill,
    "terminate": terminate,
    "interrupt-twice": interrupt_twice,
    "wake-after-resume": wake_after_resume,
    "crash-postgres": crash_postgres,
    "cut-connections": cut_connections,
    "lose-an-answer": lose_an_answer,
    "application-ddl": application_ddl,
    "application-vacuum": application_vacuum,
    "long-reader": long_reader,
    "clock-jump": clock_jump,
    "journal-lost": journal_lost,
    "journal-flipped": journal_flipped,
    "source-EIO": source_fails("EIO"),
    "source-ENOSPC": source_fails("ENOSPC"),
}


# -- the cells -------------------------------------------------------------------------------------------------------


def points(phase: Phase) -> tuple[str, ...]:
    """The points of a phase."""
    found = [f"{phase.key}:begin", f"{phase.key}:end"]
    if phase.key in _COMMITTED:
        found.insert(1, f"{phase.key}:committed")
    return tuple(found)


def phases() -> tuple[tuple[str, Phase], ...]:
    """Every phase with the command that runs it. Seeding has no state that these faults could break."""
    return tuple(
        (command, phase)
        for command, table in (("cutover", CUTOVER), ("rollback", ROLLBACK))
        for phase in table
        if phase.key != "P10"
    )


def cells() -> tuple[Cell, ...]:
    """Every cell."""
    return tuple(
        Cell(command=command, point=point, fault=fault)
        for command, phase in phases()
        for point in points(phase)
        for fault in FAULTS
    )


def sample(seed: int, size: int) -> tuple[Cell, ...]:
    """A fixed sample in which every phase and every fault occur as evenly as they can."""
    chance = random.Random(seed)
    by_pair: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells():
        by_pair.setdefault((cell.phase, cell.fault), []).append(cell)
    keys = [phase.key for _, phase in phases()]
    names = list(FAULTS)
    chosen: list[Cell] = []
    # Diagonals of the table phase x fault: each has every phase, and together they have every pair.
    for shift in chance.sample(range(len(names)), len(names)):
        for row, key in enumerate(keys):
            chosen.append(chance.choice(by_pair[key, names[(row + shift) % len(names)]]))
    return tuple(chosen[:size])


# -- running ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all cells share: a durable server and a folder in which a rehearsal passed."""

    server: servers.Server
    rehearsed: Path


@contextmanager
def world(folder: Path, *, mode: str = "WAL") -> Iterator[World]:
    """Start the server and rehearse."""
    with servers.postgres(programs=servers.embedded_programs(), settings=DURABLE) as server:
        make_source(folder / "app.db", mode=mode)
        Night(folder=folder, dsn="dbname=unused", role="unused").write_settings()
        with closing(sqlite3.connect(folder / "app.db")) as application:
            application.execute("SELECT count(*) FROM products").fetchall()
            done = nasmigrate(folder, "rehearse")
        assert done.returncode == 0, done.stdout + done.stderr
        yield World(server=server, rehearsed=folder)


def run_cell(world: World, cell: Cell, folder: Path, name: str) -> str:
    """Run one cell in an empty folder; which engine serves afterwards.

    Raises:
        AssertionError: something that must hold does not.
    """
    with (
        ExitStack() as stack,
        LostAnswers(world.server.port) as proxy,
        night_on(world.server.dsn, folder, world.rehearsed, name) as night,
    ):
        night.dsn = psycopg.conninfo.make_conninfo(night.dsn, port=proxy.port)
        _begin(night, cell.command)
        process = night.drive(cell.command, cell.point, signal.SIGSTOP, wait=False)
        stack.callback(_end, process)
        wait_until_stopped(process, night)
        untouched = cell.phase in ("P0", "P1", "P2", "P3")
        FAULTS[cell.fault](
            Scene(cell=cell, night=night, process=process, server=world.server, proxy=proxy, stack=stack)
        )
        process.wait(LIMIT)
        stack.close()
        _wait_for_postgres(world.server)
        serving, _ = settled(night)
        may_go_on = cell.fault == "wake-after-resume" and cell.point in _UNCLAIMED
        ended = cell.fault in ("kill", "journal-lost", "journal-flipped", "wake-after-resume")
        if untouched and ended and not may_go_on:
            assert serving == "SQLite", "the source serves until the opening"
        return serving


def run_kill(world: World, command: str, place: Place, folder: Path, name: str) -> str:
    """Kill a process of the tool in one system call; which engine serves after `resume`, '' if it did not come to it.

    Raises:
        AssertionError: something that must hold does not.
    """
    with night_on(world.server.dsn, folder, world.rehearsed, name) as night:
        _begin(night, command)
        if not kill_at(night, command, place):
            return ""
        return settled(night)[0]


def take_census(world: World, command: str, folder: Path, name: str) -> list[Place]:
    """Every system call of an undisturbed run that changes something."""
    with night_on(world.server.dsn, folder, world.rehearsed, name) as night:
        _begin(night, command)
        return census(night, command)


def _begin(night: Night, command: str) -> None:
    """Writers write; before a rollback there is a cutover."""
    night.write_settings(cutover=f"max_freeze = {MAX_FREEZE}")
    night.start_writers()
    if command == "rollback":
        done = night.run("cutover", "--max-freeze", "60")  # not what the cell is about, and slow beside others
        assert done.returncode == 0, done.stdout + done.stderr
        night.wait_for_writes()


def settled(night: Night) -> tuple[str, tuple[object, object]]:
    """What must hold after any fault: which engine serves, and how `resume` ended, twice."""
    assert len(night.takers()) <= 1, "two engines take writes"
    first, meaning = night.document("resume"), night.meaning()
    serving = night.assert_one_serves()
    # While the application writes: a resume that finds it gone from Postgres waits for it.
    again = night.document("resume")
    assert night.meaning() == meaning, "resume twice is not resume once"
    assert night.assert_one_serves() == serving, "resume twice is not resume once"
    night.assert_nothing_is_lost()
    assert {first["code"], again["code"]} <= {0, 4, 11}, (first, again)
    return serving, (first["code"], again["code"])


def wait_until_stopped(process: subprocess.Popen[bytes], night: Night) -> None:
    """Wait until the driver has stopped itself at its point."""
    until = time.monotonic() + LIMIT
    while _state(process.pid) != "T":
        assert process.poll() is None, (night.folder / "driver.log").read_text()
        assert time.monotonic() < until, "the point was not reached"
        time.sleep(0.005)


def _wait_for_postgres(server: servers.Server) -> None:
    until = time.monotonic() + LIMIT
    while True:
        try:
            psycopg.connect(server.dsn, connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _traced(pid: int) -> bool:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1]) != 0
    return True  # it is gone


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def fresh_folder(parent: Path, number: int) -> Path:
    """An empty folder for a cell."""
    folder = parent / f"cell-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
