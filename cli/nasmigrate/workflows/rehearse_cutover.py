"""The last part of a rehearsal: cutover and rollback of a copy, under synthetic writes, on a scratch database."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import apsw
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from nasmigrate.core.config_model import Config
from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Gate, Prediction, Result
from nasmigrate.core.target import Target
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.digests import table_name
from nasmigrate.postgres.ledger import has_originals
from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.prepare import Prepared
from nasmigrate.workflows.proof import Proof, round_trip_gate
from nasmigrate.workflows.rehearsal_writer import statements, writable_columns
from nasmigrate.workflows.rollback import RollbackOptions, rollback
from nasmigrate.workflows.run import Run
from nasmigrate.workflows.source import file_state, reopen_source

FOLDER = "night"
_ROWS = 20
"""Rows per column that are changed on Postgres before the way back."""
_NAMED = 5
"""Tables that a gate names."""
_START_LIMIT = 20.0
"""Seconds for the writer to begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedNight:
    """What the rehearsed cutover measured, in seconds; both None when it did not come so far.

    `written` says whether anything was written to the copy meanwhile.
    """

    freeze: float | None = None
    pause: float | None = None
    written: bool = False


def rehearse_cutover(run: Run, conninfo: str, prepared: Prepared, proof: Proof) -> RehearsedNight:
    """Cut a copy of the source over to an empty scratch database, write there, roll back, compare.

    Args:
        run: the rehearsal's.
        conninfo: an empty database, whose roles are made and removed here.
        prepared: the source and its plan.
        proof: takes the gates `cutover`, `rollback` and `home-again`.
    """
    folder = run.directory.root / FOLDER
    folder.mkdir(mode=0o700)
    copy = folder / "copy.db"
    target = Target(conninfo=conninfo, display="scratch database")
    # Its runs are of no use to anyone later; what it found is in this run's gates.
    quiet = replace(run.context, base=folder, reporter=Silent(), config=_for_a_copy(run.context.config, copy))
    options = Options(scratch=True, max_freeze=3600.0)
    try:
        journal_mode = _copy(prepared, copy)
        with _roles(conninfo):
            with _writing(copy, prepared) as writes, run.phase("cutover", "of a copy, under writes"):
                went = cutover(quiet, copy, target, options)
            written = _written(writes)
            proof.add(_gate("cutover", went, f"a copy ({journal_mode}) was cut over{_under(written, prepared.plan)}"))
            with run.phase("rollback", "of the copy, with rows written on Postgres"):
                changed = _write_on_postgres(conninfo, prepared)
                back = rollback(quiet, copy, target, RollbackOptions(common=options))
            home = f"{changed} rows written on Postgres came home"
            none = "no row was changed on Postgres, so none had to come home"
            proof.add(_gate("rollback", back, home if changed else none))
            with run.phase("home again"):
                _compare(run, conninfo, prepared.plan, copy, proof)
    except NasmigrateError as error:
        checks = error.details.get("checks")
        why = "; ".join(map(str, checks)) if isinstance(checks, list) and checks else error.message
        proof.add(Gate(name="cutover", status="fail", detail=f"{error.code}: {why}", checked=1))
        return RehearsedNight()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    freeze = went.rates["freeze_seconds"]
    return RehearsedNight(freeze=freeze, pause=freeze + went.rates["open_seconds"], written=bool(written))


def predicted(prediction: Prediction, night: RehearsedNight) -> Prediction:
    """The prediction with the pause that was measured on the copy in the place of the one that was computed."""
    if night.pause is None or night.freeze is None:
        return prediction
    return prediction.model_copy(
        update={
            "write_pause_seconds": round(night.pause, 2),
            "write_pause_basis": (
                f"measured on a copy {'under synthetic writes' if night.written else 'that nothing wrote to'}:"
                f" {night.freeze:.2f} s from the lock to the fence,"
                f" {night.pause - night.freeze:.2f} s from there to the opening; the application's own restart comes"
                " on top"
            ),
        }
    )


def _for_a_copy(config: Config, copy: Path) -> Config:
    """The settings for a scratch cutover: roles of its own, and what is true of every copy accepted.

    A copy has no log before the first writer opens it.
    """
    accept = (*config.plan.accept, f"WAL_ABSENT:{copy.name}")
    return config.model_copy(
        update={
            "plan": config.plan.model_copy(update={"accept": accept}),
            "app": config.app.model_copy(update={"role": type(config.app)().role}),
        }
    )


def _copy(prepared: Prepared, copy: Path) -> str:
    """A copy that can be written, in WAL mode, as live files mostly are."""
    shutil.copyfile(prepared.source.snapshot, copy)
    copy.chmod(0o600)
    with closing(apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        return str(connection.pragma("journal_mode", "wal"))


@contextmanager
def _writing(copy: Path, prepared: Prepared) -> Iterator[Path]:
    """While there are synthetic writes; the file names the tables that had one."""
    writes, written = copy.with_name("writes.json"), copy.with_name("written.jsonl")
    writes.write_text(json.dumps(statements(prepared.plan, prepared.source.schema)), encoding="utf-8")
    written.touch(mode=0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "nasmigrate.workflows.rehearsal_writer", str(copy), str(writes), str(written)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # A live file has its -wal beside it; one that has none is asked about.
        until = time.monotonic() + _START_LIMIT
        wal = copy.with_name(f"{copy.name}-wal")
        while not wal.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        yield written
    finally:
        process.kill()
        process.wait()


def _written(writes: Path) -> set[str]:
    """The tables that were written to; a line that the end of the writer cut off does not count."""
    lines = writes.read_text(encoding="utf-8").splitlines(keepends=True)
    return {json.loads(line) for line in lines if line.endswith("\n")}


def _under(written: set[str], plan: Plan) -> str:
    """How many tables were written to during the cutover, and which were not."""
    if not written:
        return "; nothing was written to it meanwhile"
    others = sorted(table.name for table in plan.tables if table.name not in written)
    shown = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    return f" under writes to {len(written)} of {len(plan.tables)} tables" + (f", none to {shown}" if others else "")


@contextmanager
def _roles(conninfo: str) -> Iterator[None]:
    """The application's role for the time of the rehearsal; the other two are made by the cutover, and go with it."""
    database = str(conninfo_to_dict(conninfo)["dbname"])
    names = [f"{database}_{kind}" for kind in ("app", "rw", "owner")]
    with connected(conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(names[0])))
    try:
        yield
    finally:
        with connected(conninfo, autocommit=True) as connection:
            there = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (names,)).fetchall()
            for (name,) in there:
                role = sql.Identifier(name)
                connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(role))
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
                connection.execute(sql.SQL("DROP ROLE {}").format(role))


def _write_on_postgres(conninfo: str, prepared: Prepared) -> int:
    """Change some rows of each table that has a column to write to, as the application would; how many."""
    changed = 0
    with connected(conninfo) as connection:
        for table in prepared.plan.tables:
            names, rows = writable_columns(table, prepared.source.schema.table(table.name)), _ROWS
            if has_originals(connection, table.name):
                # The value of one row in many would make them alike, and what each held could not be told. A row
                # without a key keeps what it held too, but the round trip knows originals by the whole row alone.
                names, rows = names[-1:] if table.mode == "range" else (), 1
            for name in names:
                column = sql.Identifier(table.column(name).target)
                done = connection.execute(
                    sql.SQL(
                        "UPDATE {table} SET {column} = (SELECT {column} FROM {table} OFFSET 1 LIMIT 1)"
                        " WHERE ctid IN (SELECT ctid FROM {table} LIMIT {rows})"
                        " AND EXISTS (SELECT FROM {table} OFFSET 1)"
                    ).format(table=table_name(table), column=column, rows=sql.Literal(rows))
                )
                changed += done.rowcount
                connection.commit()
    return changed


def _gate(name: str, result: Result, what: str) -> Gate:
    bad = [f"{gate.name}: {gate.detail}" for gate in result.gates if gate.status in ("fail", "inconclusive")]
    return Gate(
        name=name,
        status="fail" if bad else "pass",
        detail="; ".join(bad) or what,
        checked=len(result.gates),
        seconds=result.seconds,
    )


def _compare(run: Run, conninfo: str, plan: Plan, copy: Path, proof: Proof) -> None:
    """Postgres, which is closed, against the copy as it came home: every row, by the round trip."""
    source = reopen_source(copy, copy, "", file_state(copy))
    part = Proof()
    with connected(conninfo, purpose="nasmigrate verify") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        round_trip_gate(run, part, connection, plan, source, written_since=True)
    (gate,) = part.gates
    proof.add(gate.model_copy(update={"name": "home-again"}), part.differences, part.total)
