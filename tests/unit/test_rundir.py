"""What a command leaves behind must be private, whole, and found again."""

from __future__ import annotations

import itertools
import json
import logging
import os
import pwd
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nasmigrate.core import rundir
from nasmigrate.core.errors import StateError, UsageProblem
from nasmigrate.core.result import Gate
from nasmigrate.core.rundir import RunDirectory, list_runs, write_atomic

NOON = datetime(2026, 2, 3, 12, 0, 0, tzinfo=UTC)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _umask() -> object:
    """An open umask, so that every mode seen here is the tool's own doing."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_names_modes_and_gitignore(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "rehearse", NOON, "00ff")
    assert run.name == "20260203T120000Z-rehearse-00ff"
    assert run.root == tmp_path / ".nasmigrate" / "runs" / run.name
    for folder in (run.root, run.root.parent, run.root.parent.parent):
        assert mode_of(folder) == 0o700
    assert (tmp_path / ".nasmigrate" / ".gitignore").read_text() == "*\n"


def test_latest_is_a_relative_link_to_the_last_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "plan", NOON, "0001")
    second = RunDirectory.create(tmp_path, "plan", NOON, "0000")
    link = tmp_path / ".nasmigrate" / "runs" / "latest"
    assert link.readlink() == Path(second.name)
    assert RunDirectory.find(tmp_path).name == second.name
    assert [run.name[-4:] for run in list_runs(tmp_path)] == ["0000", "0001"]


def test_without_the_link_the_newest_name_is_the_last_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "plan", NOON, "0001")
    newest = RunDirectory.create(tmp_path, "plan", NOON.replace(hour=13), "0000")
    link = tmp_path / ".nasmigrate" / "runs" / "latest"
    link.unlink()
    assert RunDirectory.find(tmp_path, "latest").name == newest.name
    link.symlink_to("pruned")
    assert RunDirectory.find(tmp_path, "latest").name == newest.name


def test_a_run_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "plan", NOON, "0001")
    RunDirectory.create(tmp_path, "copy", NOON, "0001")
    assert RunDirectory.find(tmp_path, "20260203T120000Z-p").name == run.name
    with pytest.raises(UsageProblem, match="2 runs begin like that"):
        RunDirectory.find(tmp_path, "2026")
    for name in ("2025", "../runs", ""):
        with pytest.raises(UsageProblem, match="not found"):
            RunDirectory.find(tmp_path, name)


def test_a_folder_without_runs_is_said(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == ()
    with pytest.raises(UsageProblem, match="no runs yet"):
        RunDirectory.find(tmp_path)


def test_a_taken_name_is_not_used_twice(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "plan", NOON, "0001")
    with pytest.raises(StateError):
        RunDirectory.create(tmp_path, "plan", NOON, "0001")
    made = {RunDirectory.create(tmp_path, "plan", NOON).name for _ in range(5)}
    assert len(made) == 5


def test_a_base_that_cannot_hold_it_is_an_error_of_state(tmp_path: Path) -> None:
    (tmp_path / ".nasmigrate").write_text("a file")
    with pytest.raises(StateError, match="cannot make a run directory"):
        RunDirectory.create(tmp_path, "plan", NOON)


def test_another_users_folder_is_no_reason_to_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cutover by sudo, and a resume without: another folder would know nothing of that night."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nasmigrate.core.rundir._prepare", refuse)
    with pytest.raises(StateError) as raised:  # nothing is there yet
        RunDirectory.create(tmp_path, "resume", NOON)
    assert "run in a folder you may write to" in str(raised.value.hint)
    (tmp_path / ".nasmigrate").mkdir()
    owner = (tmp_path / ".nasmigrate").stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(StateError) as raised:
        RunDirectory.create(tmp_path, "resume", NOON)
    assert f"belongs to {pwd.getpwuid(owner).pw_name}: run this command as that user" in str(raised.value.hint)
    assert "--config" not in str(raised.value.hint)


def test_json_is_written_whole_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create(tmp_path, "plan", NOON, "0001")
    path = run.write_json("gate.json", Gate(name="counts", status="pass", detail="ok", checked=3))
    assert Gate.model_validate_json(path.read_bytes()).checked == 3
    assert mode_of(path) == 0o600
    run.write_json("facts.json", {"name": "t\ud800", "rows": 1})
    assert json.loads(run.path("facts.json").read_bytes())["rows"] == 1

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        run.write_json("facts.json", {"rows": 2})
    assert json.loads(run.path("facts.json").read_bytes())["rows"] == 1
    assert not list(run.root.glob(".*.tmp"))


def test_a_trail_with_no_room_is_lost_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory.create(tmp_path, "plan", NOON, "0001")
    logger = logging.getLogger("nasmigrate.full")
    for name in ("events.jsonl", "debug.log"):
        run.path(name).symlink_to("/dev/full")
    run.event("start")
    with run.debug_log(logger):
        logger.error("a line")
    run.path("debug.log").unlink()
    run.path("debug.log").mkdir()  # it cannot be opened at all
    with run.debug_log(logger):
        logger.error("a line")
    assert capsys.readouterr().err == ""


def test_a_file_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "plan", NOON, "0001")
    for name in ("../x", "a/b", "", ".hidden", "/etc/passwd"):
        with pytest.raises(ValueError, match="plain file name"):
            run.path(name)


def test_events_are_lines_with_both_clocks_and_no_secret(tmp_path: Path) -> None:
    ticks = itertools.count(start=1.5, step=1.0)
    run = RunDirectory.create(tmp_path, "copy", token="0001", clock=lambda: NOON, monotonic=lambda: next(ticks))
    run.event("start", target="postgresql://a:s3cr3t@db/m", nested={"password": "s3cr3t"}, path=Path("x"))
    run.event("end", seconds=1.0)
    lines = run.path("events.jsonl").read_text().splitlines()
    assert "s3cr3t" not in "".join(lines)
    first, second = (json.loads(line) for line in lines)
    assert first["time"] == "2026-02-03T12:00:00.000000+00:00"
    assert (first["monotonic"], second["monotonic"]) == (1.5, 2.5)
    assert (first["kind"], first["path"], second["seconds"]) == ("start", "x", 1.0)
    assert mode_of(run.path("events.jsonl")) == 0o600


def test_the_log_is_redacted_private_and_detached_afterwards(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "copy", NOON, "0001")
    logger = logging.getLogger("nasmigrate.test_rundir")
    with run.debug_log(logger):
        logger.debug("connect %s", "host=db password=s3cr3t")
        try:
            raise ValueError("postgresql://a:s3cr3t@db/m")
        except ValueError:
            logger.exception("failed")
    logger.warning("after the run")
    text = run.path("debug.log").read_text()
    assert "connect host=db password=***" in text
    assert "Traceback" in text
    assert "s3cr3t" not in text
    assert "after the run" not in text
    assert logger.handlers == []
    assert mode_of(run.path("debug.log")) == 0o600


def test_write_atomic_keeps_the_mode_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one", 0o640)
    assert (path.read_bytes(), mode_of(path)) == (b"one", 0o640)
