"""`copy`, checks included, beside pgloader and DuckDB (neither checks anything), in pairs within one run.

Every tool is measured as a whole process: wall time from outside, processor time and peak memory of its process tree
without the server. The server is one stock cluster (fsync on) for the whole run; each copy goes into a fresh database.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from data_samples import shapes  # noqa: E402

from nasmigrate.postgres.embedded import embedded_server  # noqa: E402

LIMIT_SECONDS = 900


@dataclass(slots=True)
class Runs:
    """The runs of one tool on one case: seconds of wall, seconds of processor, bytes of memory."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    rows: int = 0
    note: str = ""


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and its descendants now."""
    total, todo = 0, [pid]
    while todo:
        one = todo.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, IndexError):
            continue
    return total


def measure(command: list[str], cwd: Path, log: Path) -> tuple[float, float, int, int]:
    """(wall seconds, processor seconds, peak bytes, exit code) of a command and what it starts."""
    peak = 0
    with log.open("wb") as output:
        before = os.times()
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            # Often enough for the peak, seldom enough not to be part of what is measured.
            while not done.wait(0.1):
                peak = max(peak, tree_memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            code = process.wait(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        wall = time.perf_counter() - started
        done.set()
        watcher.join()
        after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return wall, cpu, peak, code


DUCKDB = """
import sys, duckdb
source, dsn, schema = sys.argv[1:4]
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for path in sys.argv[4:]:
    connection.execute(f"INSTALL '{path}'")
connection.execute("LOAD sqlite_scanner")
connection.execute("LOAD postgres_scanner")
connection.execute(f"ATTACH '{source}' AS s (TYPE sqlite, READ_ONLY)")
connection.execute(f"ATTACH '{dsn}' AS p (TYPE postgres)")
names = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 's'").fetchall()
for (name,) in names:
    connection.execute(f'CREATE TABLE p.public."{name}" AS SELECT * FROM s."{name}"')
    finish = f'ALTER TABLE "{name}" ADD PRIMARY KEY (id); ANALYZE "{name}"'
    connection.execute(f"CALL postgres_execute('p', '{finish}')")
"""


def extension_files() -> list[str]:
    """The extensions that the duckdb-extension packages carry."""
    from importlib.metadata import distribution

    found = []
    for package in ("duckdb-extension-sqlite-scanner", "duckdb-extension-postgres-scanner"):
        found += [
            str(file.locate()) for file in distribution(package).files or [] if file.name.endswith(".duckdb_extension")
        ]
    return found


def commands(source: Path, dsn: str, work: Path) -> dict[str, list[str]]:
    """Tool -> the command that copies `source` into the database of `dsn`."""
    facts = conninfo_to_dict(dsn)
    found = {"nasmigrate": [sys.executable, "-m", "nasmigrate", "--quiet", "copy", str(source), dsn]}
    if shutil.which("pgloader"):
        load = work / "pgloader.load"
        load.write_text(
            f"load database from sqlite://{source} into"
            f" postgresql://{facts['user']}@unix:{facts['host']}:{facts['port']}/{facts['dbname']}"
            " with include drop, create tables, create indexes, reset sequences;\n"
        )
        found["pgloader"] = ["pgloader", str(load)]
    try:
        files = extension_files()
    except ImportError:
        files = []
    if files:
        script = work / "duck.py"
        script.write_text(DUCKDB)
        plain = make_conninfo(
            host=str(facts["host"]), port=str(facts["port"]), user=str(facts["user"]), dbname=str(facts["dbname"])
        )
        found["DuckDB"] = [sys.executable, str(script), str(source), plain, "public", *files]
    return found


def count(dsn: str) -> int:
    """Rows in the public tables of a database."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        total = 0
        for (name,) in names:
            row = connection.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name))).fetchone()
            total += row[0] if row else 0
        return total


def run_case(name: str, source: Path, server: str, rounds: int, work: Path) -> dict[str, Runs]:
    """A B C A B C …: every tool once per round."""
    results: dict[str, Runs] = {}
    tools = list(commands(source, server, work))
    for number in range(rounds):
        for tool in tools:
            database = f"bench_{number}_{tool.lower()}"
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database)))
                connection.execute("CHECKPOINT")
            # Nothing that an earlier tool wrote is still on its way to the disk.
            os.sync()
            dsn = make_conninfo(server, dbname=database)
            folder = Path(tempfile.mkdtemp(dir=work))
            try:
                wall, cpu, memory, code = measure(commands(source, dsn, work)[tool], folder, work / f"{tool}.log")
                runs = results.setdefault(tool, Runs())
                runs.wall.append(wall)
                runs.cpu.append(cpu)
                runs.memory.append(memory)
                runs.rows = count(dsn)
                if code:
                    tail = (work / f"{tool}.log").read_text(errors="replace")[-300:]
                    runs.note = f"exit {code}: {' '.join(tail.split())}"
                print(f"{name} round {number + 1} {tool}: {wall:.2f} s, {memory / 1e6:.0f} MB", flush=True)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                with psycopg.connect(server, autocommit=True) as connection:
                    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
    return results


CHECKS = {
    "nasmigrate": "counts, digests of every column, catalogue, sequences",
    "pgloader": "none",
    "DuckDB": "none",
}


def table(title: str, rows: int, results: dict[str, Runs]) -> str:
    """One case as Markdown."""
    ours = results["nasmigrate"].wall
    lines = [
        f"## {title}",
        "",
        "| tool | median s (min to max) | k rows/s | processor s | peak MB | tool / nasmigrate, medians | pairs |"
        " rows loaded | checks |",
        "|--|--|--|--|--|--|--|--|--|",
    ]
    for tool, runs in results.items():
        median = statistics.median(runs.wall)
        pairs = statistics.median(theirs / mine for theirs, mine in zip(runs.wall, ours, strict=True))
        lines.append(
            f"| {tool} | {median:.2f} ({min(runs.wall):.2f} to {max(runs.wall):.2f}) | {rows / median / 1000:.0f}"
            f" | {statistics.median(runs.cpu):.1f} | {max(runs.memory) / 1e6:.0f}"
            f" | {median / statistics.median(ours):.2f} | {pairs:.2f} | {runs.rows:,} of {rows:,} | {CHECKS[tool]} |"
        )
    notes = [f"- {tool}: {runs.note}" for tool, runs in results.items() if runs.note]
    return "\n".join(lines + (["", *notes] if notes else [])) + "\n"


def machine() -> str:
    """Processor, cores, memory and versions; no names of hosts."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    versions = [f"Python {platform.python_version()}"]
    if shutil.which("pgloader"):
        out = subprocess.run(["pgloader", "--version"], capture_output=True, text=True, check=False).stdout
        versions.append(out.splitlines()[0] if out else "pgloader")
    try:
        from importlib.metadata import version

        versions.append(f"DuckDB {version('duckdb')}")
    except ImportError:
        versions.append("DuckDB not installed")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip()}, {model}, {os.cpu_count()} cores,"
        f" {memory:.0f} GiB, Linux, {', '.join(versions)}"
    )


def main() -> int:
    """Run the cases and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000, help="rows of the large table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["big", "small"])
    arguments = parser.parse_args()
    if not shutil.which("pgloader"):
        print("pgloader is not on PATH and is left out: apt-get install pgloader", file=sys.stderr)
    parts = []
    with tempfile.TemporaryDirectory(prefix="nasmigrate-bench-") as folder, embedded_server(durable=True) as server:
        work = Path(folder)
        if arguments.only != "small":
            source = work / "big.db"
            shapes.bench_table(source, rows=arguments.rows)
            results = run_case("big", source, server.dsn, arguments.rounds, work)
            parts.append(table(f"One table of {arguments.rows:,} rows x 8 columns", arguments.rows, results))
        if arguments.only != "big":
            source = work / "small.db"
            shapes.many_tables(source, tables=200, rows=50)
            results = run_case("small", source, server.dsn, arguments.rounds, work)
            parts.append(table("200 tables of 50 rows", 10_000, results))
        version = server.version
    text = (
        "# Results\n\nWritten by `make bench`; see [README.md](README.md) for what is measured.\n\n"
        f"{machine()}, PostgreSQL {version} with its default settings (fsync on).\n\n"
        f"{arguments.rounds} rounds, tools in turn. Wall time of the whole process, start-up included; memory of the"
        " client's process tree, the server left out.\n\n" + "\n".join(parts)
    )
    if arguments.rows == parser.get_default("rows") and arguments.only is None:
        (ROOT / "benchmarks" / "RESULTS.md").write_text(text)
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
