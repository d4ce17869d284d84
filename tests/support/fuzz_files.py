"""Damaged files through `copy`, each in a process of its own with limits: a named error or a proven copy, nothing else.

python -m support.fuzz_files COUNT             run COUNT files and print what became of them
python -m support.fuzz_files --case NUMBER     run one of them here, with its traceback
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from random import Random
from threading import Thread
from typing import Final

import apsw
import psycopg
from support.judge import judge
from support.mutate_sqlite import BASES, base_file, mutate
from support.postgres import fresh_database

from nasmigrate.core.result import Difference
from nasmigrate.postgres.embedded import embedded_server

TESTS: Final = Path(__file__).resolve().parents[1]
SEED: Final = 20261126
DEADLINE: Final = 60.0
"""Seconds for a file, all of the copy included; the product's own deadline for its examination is far shorter."""
EXAMINATION: Final = 10.0
_MEMORY: Final = 3 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a file. `verdict`: refused, copied, lie, crash, hang or wrote; `detail` is a code or a gate."""

    number: int
    base: str
    mutation: str
    verdict: str
    detail: str
    message: str = ""
    seconds: float = 0.0
    commit: str = ""

    @property
    def good(self) -> bool:
        """A named error, or a copy that the judge finds equal."""
        return self.verdict in ("refused", "copied")


class Files:
    """The damaged files by number: the same for the same seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._seed = seed
        self._contents = {}
        for name in BASES:
            self._contents[name] = base_file(name, folder / f"{name}.db").read_bytes()

    def file(self, number: int) -> tuple[str, str, bytes]:
        """(base, mutation, content) of a file; file 0 to len(BASES) - 1 are the sound base files themselves."""
        if number < len(BASES):
            return BASES[number], "none", self._contents[BASES[number]]
        random = Random(f"{self._seed}/{number}")
        base = random.choice(BASES)
        return base, *mutate(self._contents[base], random)


def copied(source: Path, dsn: str) -> tuple[str, str, str]:
    """Copy it as the command does, and ask the judge; (verdict, detail, message)."""
    from nasmigrate.core.config_model import Config, SourceSection, TransferSection
    from nasmigrate.core.context import Context
    from nasmigrate.core.errors import NasmigrateError
    from nasmigrate.core.progress import Silent
    from nasmigrate.core.target import Target
    from nasmigrate.workflows.copy import copy

    config = Config(
        source=SourceSection(deadline=EXAMINATION, busy_timeout=0.5),
        transfer=TransferSection(workers=1, verify_connections=1),
    )
    context = Context(config=config, base=source.parent, reporter=Silent(), isolated=False)
    try:
        result = copy(context, source, Target(conninfo=dsn, display="the target"), round_trip=True)
    except NasmigrateError as error:
        return ("crash" if error.code == "NM0100" else "refused"), error.code, error.message
    failed = sorted(gate.name for gate in result.gates if gate.status not in ("pass", "skipped"))
    told = "; ".join(f"{gate.name}: {gate.detail}" for gate in result.gates if gate.name in failed)
    if "source-indexes" in failed:
        return "refused", "gate source-indexes", told
    if set(failed) <= {"decisions", "digests", "round-trip"} and _cannot_be_written_anew(source, result.differences):
        return "refused", "gate round-trip", told
    if set(failed) - {"decisions"}:
        return "lie", f"gates {', '.join(failed)}", told
    verdict = judge(source, dsn)
    if verdict.differences:
        return "lie", "the judge disagrees", "; ".join(verdict.differences[:5])
    if verdict.values != verdict.present:
        return "lie", "the judge left something out", str(verdict)
    return "copied", "decisions to take" if failed else "nothing to decide", ""


def _cannot_be_written_anew(source: Path, differences: Sequence[Difference]) -> bool:
    """Whether every difference is in a value that no SQLite would write: what the gates say of it is true.

    Such a value is in a generated column (the damage made it another one than its expression gives), or it is text,
    or a number of which the column's affinity makes the other when it is written again.
    """
    by_table: dict[str, list[Difference]] = {}
    for difference in differences:
        by_table.setdefault(difference.table or "", []).append(difference)
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as db:
        db.text_factory = bytes
        for table, found in by_table.items():
            quoted = '"' + table.replace('"', '""') + '"'
            unlike: set[str] = set()
            for _, name, declared, _, _, _, hidden in db.execute(f"PRAGMA table_xinfo({quoted})").fetchall():
                if hidden or _changed_by_affinity(db, quoted, name.decode(), declared.decode()):
                    unlike.add(name.decode())
            if not all(difference.column in unlike if difference.column else unlike for difference in found):
                return False
    return bool(differences)


def _changed_by_affinity(db: sqlite3.Connection, table: str, column: str, declared: str) -> bool:
    """Whether some value of a column is of another class when the product's SQLite writes it."""
    name = '"' + column.replace('"', '""') + '"'
    stored = f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
    with closing(apsw.Connection(":memory:")) as fresh:
        fresh.execute(f"CREATE TABLE t(a {declared}, kind)")
        for kind, value in db.execute(f"SELECT typeof({name}), {stored} FROM {table}"):
            mark = "CAST(? AS TEXT)" if kind == b"text" else "?"
            fresh.execute(f"INSERT INTO t VALUES ({mark}, ?)", (value, kind.decode()))
        return bool(fresh.execute("SELECT count(*) FROM t WHERE typeof(a) <> kind").fetchall()[0][0])


def _in_child(source: Path, dsn: str, pipe: int) -> None:
    """Never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        outcome = copied(source, dsn)
    except BaseException:
        outcome = ("crash", "unexpected exception", traceback.format_exc()[-3000:])
    with os.fdopen(pipe, "w") as stream:
        json.dump(outcome, stream)
    os._exit(0)


def _limited(source: Path, dsn: str) -> tuple[str, str, str]:
    """`copied` in a fork with a deadline."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(source, dsn, writing)
    os.close(writing)
    text, end = b"", time.monotonic() + DEADLINE
    with os.fdopen(reading, "rb", buffering=0) as stream:
        while select.select([stream], [], [], max(0.0, end - time.monotonic()))[0]:
            block = stream.read(65536)
            if not block:
                break
            text += block
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang", f"more than {DEADLINE:g} s", ""
    _, status = os.waitpid(child, 0)
    if not text:
        ended = os.waitstatus_to_exitcode(status)
        return "crash", signal.Signals(-ended).name if ended < 0 else f"exit code {ended}", ""
    verdict, detail, message = json.loads(text)
    return verdict, detail, message


class Worker:
    """Runs files one after the other on one database."""

    def __init__(self, files: Files, dsn: str, folder: Path) -> None:
        self._files = files
        self._dsn = dsn
        self._folder = folder
        self._admin = psycopg.connect(dsn, autocommit=True)

    def run(self, number: int) -> Outcome:
        """One file."""
        base, mutation, content = self._files.file(number)
        folder = self._folder / str(number)
        folder.mkdir()
        source = folder / "app.db"
        source.write_bytes(content)
        started = time.monotonic()
        verdict, detail, message = _limited(source, self._dsn)
        left = sorted(path.name for path in folder.iterdir() if path.name not in ("app.db", ".nasmigrate"))
        journals = {"app.db-wal", "app.db-shm"} if content[19:20] == b"\2" else set()
        if source.read_bytes() != content or set(left) - journals:
            verdict, detail = "wrote", f"the source or beside it: {left}"
        shutil.rmtree(folder)
        self._clean()
        return Outcome(
            number=number,
            base=base,
            mutation=mutation,
            verdict=verdict,
            detail=detail,
            message=message,
            seconds=round(time.monotonic() - started, 3),
        )

    def _clean(self) -> None:
        """Back to an empty database, which it still is after most files."""
        if self._admin.execute("SELECT to_regnamespace('nasmigrate')").fetchone() == (None,):
            return
        for statement in (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "DROP SCHEMA IF EXISTS nasmigrate CASCADE",
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
        ):
            self._admin.execute(statement)


def _work(dsn: str, seed: int, numbers: Sequence[int]) -> None:
    """A worker: one line of JSON for each file."""
    # Everything is imported once, before the forks.
    for module in ("postgres.migrate", "schema.planner", "verify.round_trip", "workflows.copy", "workflows.load"):
        import_module(f"nasmigrate.{module}")
    with tempfile.TemporaryDirectory(prefix="nasmigrate-fuzz-") as name:
        folder = Path(name)
        worker = Worker(Files(folder, seed), dsn, folder)
        for number in numbers:
            print(json.dumps(asdict(worker.run(number))), flush=True)


def run(server: str, numbers: Sequence[int], *, seed: int = SEED, workers: int = 2) -> Iterator[Outcome]:
    """What becomes of the files, in no order.

    Args:
        server: conninfo of a superuser.
        numbers: which files.
        seed: of all of them.
        workers: processes at once.

    Raises:
        RuntimeError: a worker itself broke.
    """
    with ExitStack() as stack:
        started = []
        for index in range(workers):
            dsn = stack.enter_context(fresh_database(server))
            command = [sys.executable, "-m", "support.fuzz_files", "--worker", dsn, str(seed)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdin is not None
            process.stdin.write(json.dumps(list(numbers[index::workers])))
            process.stdin.close()
            started.append(process)
        done = 0
        lines: SimpleQueue[str | None] = SimpleQueue()
        for process in started:
            Thread(target=_read, args=(process, lines), daemon=True).start()
        ended = 0
        while ended < workers:
            line = lines.get()
            if line is None:
                ended += 1
                continue
            done += 1
            yield Outcome(**json.loads(line))
        if done != len(numbers):
            raise RuntimeError(f"{len(numbers) - done} files were not run: a worker broke")


def _read(process: subprocess.Popen[str], lines: SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def page(outcomes: Sequence[Outcome], *, seed: int) -> str:
    """docs/hostile-files.md: what became of the files."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    lines = [
        "<!-- Written by `make fuzz` (tests/support/fuzz_files.py); do not edit. -->",
        "# Damaged files\n",
        f"{len(outcomes):,} SQLite files, damaged by a seeded mutator (seed {seed}, tests/support/mutate_sqlite.py),",
        "each through `nasmigrate copy` with its round trip into a real Postgres, in a process with limits. A file",
        "must end in an error with a name, or in a copy that the product has proven **and** that an independent judge,",
        "which shares no code with it, finds equal. Anything else is a crash, a hang or a lie, and a bug. The source",
        "must be unchanged, and nothing lie beside it.\n",
        f"Run on {_commits(outcomes)}; the slowest file took {max(outcome.seconds for outcome in outcomes):.1f} s.\n",
        "| outcome | files |\n|--|--|",
        f"| refused with a named error | {verdicts['refused']:,} |",
        f"| copied, proven, and the judge agrees | {verdicts['copied']:,} |",
        f"| crash | {verdicts['crash']} |\n| hang (over {DEADLINE:g} s) | {verdicts['hang']} |",
        f"| lie | {verdicts['lie']} |\n| source changed, or a file left beside it | {verdicts['wrote']} |\n",
        "Most copies are of files whose damage is none to SQLite: in free space, or a value that is another one now",
        "and is copied as it stands. No check can know that it was another once.\n",
        "## By damage\n",
        "| damage | files | refused | copied |\n|--|--|--|--|",
    ]
    for mutation in sorted({outcome.mutation for outcome in outcomes}):
        these = Counter(outcome.verdict for outcome in outcomes if outcome.mutation == mutation)
        lines.append(f"| {mutation} | {sum(these.values())} | {these['refused']} | {these['copied']} |")
    lines += ["\n## By error\n", "| error | files |\n|--|--|"]
    details = Counter(outcome.detail for outcome in outcomes if outcome.verdict == "refused")
    lines += [f"| {detail} | {count} |" for detail, count in sorted(details.items())]
    lines += [f"\nBase files: {', '.join(BASES)}. One file again, with its traceback: `make fuzz CASE=<number>`.", ""]
    return "\n".join(lines)


def _commits(outcomes: Sequence[Outcome]) -> str:
    """The commits the files ran on, the most common one first."""
    counted = Counter(outcome.commit for outcome in outcomes).most_common()
    first = f"commit `{counted[0][0]}`"
    return first + "".join(f", {count} files again on `{commit}` after a correction" for commit, count in counted[1:])


def _case(number: int, seed: int) -> None:
    """One file, in this process."""
    with tempfile.TemporaryDirectory() as name, embedded_server() as server, fresh_database(server.dsn) as dsn:
        folder = Path(name)
        base, mutation, content = Files(folder, seed).file(number)
        source = folder / "case" / "app.db"
        source.parent.mkdir()
        source.write_bytes(content)
        kept = Path(tempfile.gettempdir()) / f"nasmigrate-fuzz-{number}.db"
        shutil.copy(source, kept)
        print(base, mutation, kept, flush=True)
        print(*copied(source, dsn), sep="\n")


def main() -> int:
    """As a script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int, nargs="?", default=5000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--case", type=int)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--outcomes", type=Path, help="keep the outcomes here, and run only files that are not good yet"
    )
    arguments = parser.parse_args()
    if arguments.case is not None:
        _case(arguments.case, arguments.seed)
        return 0
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    known = _kept(arguments.outcomes)
    numbers = [
        number
        for number in range(arguments.first, arguments.first + arguments.count)
        if number not in known or not known[number].good
    ]
    began = time.monotonic()
    with embedded_server() as server, ExitStack() as stack:
        kept = stack.enter_context(arguments.outcomes.open("a")) if arguments.outcomes else None
        for done, outcome in enumerate(
            run(server.dsn, numbers, seed=arguments.seed, workers=arguments.workers), start=1
        ):
            known[outcome.number] = replace(outcome, commit=commit)
            if kept is not None:
                print(json.dumps(asdict(known[outcome.number])), file=kept, flush=True)
            if not outcome.good:
                print(json.dumps(asdict(outcome)), flush=True)
            if done % 500 == 0:
                print(f"{done} files, {time.monotonic() - began:.0f} s", flush=True)
    outcomes = [known[number] for number in sorted(known)]
    counted = Counter((outcome.verdict, outcome.detail) for outcome in outcomes)
    for (verdict, detail), count in sorted(counted.items()):
        print(f"{count:6} {verdict}: {detail}")
    if arguments.page is not None:
        arguments.page.write_text(page(outcomes, seed=arguments.seed))
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _kept(path: Path | None) -> dict[int, Outcome]:
    """The last outcome of each file of an earlier run."""
    if path is None or not path.exists():
        return {}
    found = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()]
    return {outcome.number: outcome for outcome in found}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _work(sys.argv[2], int(sys.argv[3]), json.load(sys.stdin))
    else:
        sys.exit(main())
