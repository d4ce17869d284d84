"""The network between here and the server fails in the middle of a copy, at twenty places: said, resumed, proven."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from data_samples import generate
from psycopg.conninfo import make_conninfo
from support.copies import context, gates, target, verified
from support.postgres import fresh_database
from support.processes import nasmigrate
from support.proxy import Proxy
from support.servers import Server, embedded_programs, postgres

from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.result import Result
from nasmigrate.workflows.copy import copy

SEED = 20_261_126
POINTS = 20
CHUNK_ROWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What passes when nobody disturbs the copy: bytes in both directions, and the fingerprint of what arrives."""

    source: Path
    rows: int
    passed: int
    fingerprint: str


@pytest.fixture(scope="module")
def remote() -> Iterator[Server]:
    """The newest server, over TCP."""
    with postgres(programs=embedded_programs()) as running:
        yield running


def copied(folder: Path, source: Path, dsn: str, *, resume: bool = False) -> Result:
    return copy(context(folder, chunk_rows=CHUNK_ROWS), source, target(dsn), resume=resume)


@pytest.fixture(scope="module")
def undisturbed(remote: Server, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    rows = generate.generate(folder / "app.db", rows=6_000)
    with closing(sqlite3.connect(folder / "app.db")) as connection, connection:
        connection.execute("CREATE TABLE visits (page TEXT, seconds INTEGER)")
        connection.executemany("INSERT INTO visits VALUES (?, ?)", [(f"/{n % 70}", n % 30) for n in range(1500)])
    with fresh_database(remote.dsn) as dsn, Proxy(remote.port) as proxy:
        result = copied(folder, folder / "app.db", make_conninfo(dsn, port=proxy.port))
        assert set(gates(result).values()) <= {"pass", "skipped"}, result.gates
        assert result.fingerprint is not None
        return Undisturbed(
            source=folder / "app.db",
            rows=sum(rows.values()) + 1500,
            passed=proxy.passed,
            fingerprint=result.fingerprint,
        )


def points() -> list[float]:
    """Twenty places, as shares of all bytes, one in each twentieth: the same in every session."""
    rng = random.Random(SEED)
    return [round((part + rng.random()) / POINTS, 4) for part in range(POINTS)]


def test_the_places_are_spread() -> None:
    assert len(set(points())) == POINTS
    assert points() == points()


@pytest.mark.parametrize("point", points())
def test_cut_and_resumed(remote: Server, undisturbed: Undisturbed, tmp_path: Path, point: float) -> None:
    source = tmp_path / "app.db"
    shutil.copy2(undisturbed.source, source)
    with fresh_database(remote.dsn) as dsn, Proxy(remote.port, cut_at=round(point * undisturbed.passed)) as proxy:
        through = make_conninfo(dsn, port=proxy.port)
        with pytest.raises(NasmigrateError) as caught:
            copied(tmp_path, source, through)
        assert proxy.is_cut
        assert int(caught.value.exit_code) == 8, caught.value
        assert "state" in caught.value.details, caught.value
        assert str(caught.value.details["state"]) in caught.value.message
        proxy.mend()
        try:
            result = copied(tmp_path, source, through, resume=True)
        except NasmigrateError as nothing:
            assert nothing.code == "NM1106", nothing
            result = copied(tmp_path, source, through)
        assert set(gates(result).values()) <= {"pass", "skipped"}, result.gates
        assert result.exit_code == 0
        assert result.fingerprint == undisturbed.fingerprint
        assert sum(table.rows_target or 0 for table in result.tables) == undisturbed.rows
        assert verified(tmp_path, source, dsn).exit_code == 0


def test_cut_while_the_server_can_still_be_asked(remote: Server, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The command, as a user sees it: its sessions are ended, the server is there, so the rows it holds are named."""
    shutil.copy2(undisturbed.source, tmp_path / "app.db")
    (tmp_path / "nasmigrate.toml").write_text(f"[transfer]\nchunk_rows = {CHUNK_ROWS}\n")
    with fresh_database(remote.dsn) as dsn, Proxy(remote.port, cut_at=undisturbed.passed // 3, once=True) as proxy:
        done = nasmigrate(tmp_path, "copy", "app.db", make_conninfo(dsn, port=proxy.port))
        assert done.returncode == 8, done.stderr
        assert f"of {undisturbed.rows:,} rows, whole chunks of" in done.stderr
        assert "nasmigrate copy --resume" in done.stderr
        again = nasmigrate(tmp_path, "copy", "app.db", make_conninfo(dsn, port=proxy.port), "--resume")
        assert again.returncode == 0, again.stdout + again.stderr
