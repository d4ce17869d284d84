"""The disk of the run's folder is full: nothing that is only told or kept for later may steer a cutover or a rollback.

The folder `.nasmigrate` is a small disk of its own; Postgres and the application's files are on another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.night import Night, make_rehearsed, night_on

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import RolledBack
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.core.rundir import STATE_FOLDER
from nasmigrate.core.target import resolve_target
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.cutover import watchdog
from nasmigrate.workflows.cutover.options import Options
from nasmigrate.workflows.cutover.run import cutover
from nasmigrate.workflows.rollback import RollbackOptions, rollback
from nasmigrate.workflows.space import DISK_FACTOR

PAGE = 4096
MEGABYTE = 1 << 20


class SmallDisk:
    """The disk that `.nasmigrate` is on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self._held = folder / "held"

    def fill(self, *, for_good: bool = True) -> None:
        """Leave no byte of room, nor at the end of a file; if `for_good` what is removed makes none."""
        self._held.mkdir()
        for number, copy in enumerate(self.folder.glob("runs/*/*.db") if for_good else ()):
            (self._held / str(number)).hardlink_to(copy)
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.suffix in (".jsonl", ".log"):
                with path.open("ab") as file:
                    file.write(b" " * (-path.stat().st_size % PAGE))
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(PAGE)):
                pass

    def make_room(self) -> None:
        """Take away what filled it."""
        self._filler.unlink()
        shutil.rmtree(self._held)


@contextmanager
def small_disk(night: Night, size: int) -> Iterator[SmallDisk]:
    """Put `.nasmigrate` on a disk of `size` bytes beside what is in it."""
    state, kept = night.folder / STATE_FOLDER, night.folder / "kept"
    state.rename(kept)
    state.mkdir(mode=0o700)
    there = sum(-(-path.lstat().st_size // PAGE) * PAGE for path in kept.rglob("*"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={there + size},mode=0700", "tmpfs", str(state)], check=True)
    try:
        shutil.copytree(kept, state, symlinks=True, dirs_exist_ok=True)
        yield SmallDisk(state)
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


@pytest.fixture
def disk(night: Night) -> Iterator[SmallDisk]:
    """Room for a small night."""
    with small_disk(night, 64 * MEGABYTE) as made:
        yield made


def at(point: str, action: Callable[[], None]) -> Callable[[str], None]:
    """A watcher that does something at one point."""

    def watch(now: str) -> None:
        if now == point:
            action()

    return watch


def run(night: Night, what: str, watcher: Callable[[str], None] = lambda _point: None) -> Result:
    """The workflow in this process, so that the disk can be filled at a point of it."""
    loaded = load_config(night.folder, environ=os.environ)
    assert loaded.config.target.dsn
    context = Context(config=loaded.config, base=loaded.base, reporter=Silent())
    target = resolve_target(loaded.config.target.dsn, environ=os.environ, from_argv=False)
    options = Options(watcher=watcher)
    if what == "cutover":
        return cutover(context, night.source, target, options)
    return rollback(context, night.source, target, RollbackOptions(common=options))


def gates(result: Result) -> dict[str, tuple[str, str]]:
    """Name -> (status, detail)."""
    return {gate.name: (gate.status, gate.detail) for gate in result.gates}


def with_dump(night: Night) -> None:
    """As most settings are: what serves now is dumped at once."""
    settings = night.folder / "nasmigrate.toml"
    settings.write_text(settings.read_text().replace("dump = false", "dump = true"))


@pytest.mark.parametrize("point", ["P6:committed", "P7:begin", "P7:committed", "P8:end"])
def test_the_application_is_led_to_postgres_and_told_that_it_serves(
    point: str, disk: SmallDisk, night: Night, capfd: pytest.CaptureFixture[str]
) -> None:
    with_dump(night)
    done = run(night, "cutover", at(point, disk.fill))
    assert done.exit_code == 4
    assert (done.next_step or "").startswith("Postgres serves")
    found = gates(done)
    assert found["route"][0] == "pass"
    for name in ("round-trip", "dump"):
        assert found[name][0] == "inconclusive", found[name]
        assert "space" in found[name][1] or "full" in found[name][1], found[name]
    assert night.as_application in night.env_file.read_text()
    assert "Traceback" not in capfd.readouterr().err
    assert night.assert_one_serves() == "Postgres"
    # What was begun and has no room is not left behind.
    (folder,) = disk.folder.glob("runs/2*-cutover-*")
    assert not list(folder.glob("*.partial*")) + list(folder.glob("target.dump"))
    disk.make_room()
    assert night.document("resume")["code"] in (0, 4)
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_the_copies_make_room_for_the_settings_that_lead_the_application(disk: SmallDisk, night: Night) -> None:
    night.stop_writers()
    there = shutil.copy2(night.env_file, disk.folder / "app.env")
    settings = night.folder / "nasmigrate.toml"
    text = settings.read_text().replace('"app.env"', f'"{STATE_FOLDER}/app.env"')
    settings.write_text(text.replace("arrival_timeout = 10.0", "arrival_timeout = 0.1"))
    done = run(night, "cutover", at("P7:committed", lambda: disk.fill(for_good=False)))
    assert night.as_application in there.read_text()
    route = gates(done)["route"]
    assert route[0] == "inconclusive"
    assert route[1].startswith("no session"), route
    assert night.takers() == {"Postgres"}


@pytest.mark.parametrize("point", ["R3:committed", "R4:committed", "R5:begin"])
def test_the_application_is_led_home(point: str, disk: SmallDisk, night: Night) -> None:
    before = night.env_file.read_text()
    assert run(night, "cutover").exit_code == 0
    night.wait_for_writes()
    done = run(night, "rollback", at(point, disk.fill))
    assert done.exit_code == 0, gates(done)
    assert (done.next_step or "").startswith("SQLite serves")
    assert night.env_file.read_text() == before
    assert night.assert_one_serves_and_nothing_is_lost() == "SQLite"
    disk.make_room()
    assert night.document("status")["meaning"] == "SQLite serves"


def test_before_the_opening_everything_is_put_back_and_told(disk: SmallDisk, night: Night) -> None:
    with pytest.raises(RolledBack, match="SQLite serves as before"):
        run(night, "cutover", at("P4:end", disk.fill))
    assert night.assert_one_serves() == "SQLite"
    disk.make_room()
    # Nothing of it takes the room that the next one needs.
    (folder,) = disk.folder.glob("runs/2*-cutover-*")
    assert [path.name for path in folder.glob("*.db*")] == []
    assert run(night, "cutover").exit_code == 0
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_resume_settles_with_no_room_for_its_report(disk: SmallDisk, night: Night) -> None:
    night.drive("cutover", "P7:committed")
    disk.fill()
    assert night.document("resume")["code"] in (0, 4)
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_the_room_that_the_preflight_asks_for_is_enough(durable: EmbeddedServer, tmp_path: Path) -> None:
    """A file so large that what else is in the run's folder does not count."""
    rehearsed, folder = tmp_path / "rehearsed", tmp_path / "night"
    rehearsed.mkdir()
    folder.mkdir()
    make_rehearsed(rehearsed, rows=60_000)
    with night_on(durable.dsn, folder, rehearsed, f"room_{os.getpid()}") as night:
        for copy in night.folder.glob(f"{STATE_FOLDER}/runs/*/*.db"):
            copy.unlink()
        night.start_writers()
        with_dump(night)
        size = night.source.stat().st_size
        assert size > 4 * MEGABYTE
        with small_disk(night, DISK_FACTOR * size):
            result = run(night, "cutover")
            assert result.exit_code == 0, gates(result)
            assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"


def test_a_watchdog_whose_notes_have_no_room_settles_all_the_same(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    words = [sys.executable, "-c", "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(ran)]
    with Path("/dev/full").open("w") as full:
        subprocess.run(
            [sys.executable, "-c", f"from {watchdog.__name__} import settle; settle({words!r})"],
            stderr=full,
            check=False,
            timeout=30,
        )
    assert ran.exists()
