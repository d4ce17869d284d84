"""The small parts of a cutover, each without a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.turns import turns

from nasmigrate.core.config import Config
from nasmigrate.core.config_cutover import AppSection, CutoverSection
from nasmigrate.core.context import Context
from nasmigrate.core.envfile import read_env_file
from nasmigrate.core.envfile_edit import backup_path, holds_lines, keep_backup, put_back, require_settable, set_lines
from nasmigrate.core.errors import ConfigError, RunLocked, SourceError, ToolFailed, ToolMissing, WrongPhase
from nasmigrate.core.phases import CUTOVER, ROLLBACK, phase
from nasmigrate.core.progress import Silent
from nasmigrate.core.rundir import write_atomic
from nasmigrate.core.target import Target
from nasmigrate.postgres.control_row import TargetIdentity
from nasmigrate.sqlite.fence import Fence
from nasmigrate.sqlite.source_lock import lock_path, source_lock
from nasmigrate.workflows.authorities import Standing
from nasmigrate.workflows.cutover.ends import make_ends
from nasmigrate.workflows.cutover.hooks import run_hook, run_program
from nasmigrate.workflows.cutover.interrupts import hold_interrupts
from nasmigrate.workflows.cutover.journal import FILE, Journal, read_journal
from nasmigrate.workflows.cutover.options import Options, freeze_limit, night_plan
from nasmigrate.workflows.cutover.routing import Routing, route, route_back
from nasmigrate.workflows.cutover.watchdog import settle, watch
from nasmigrate.workflows.demo.oracle import Told, judge, read_log
from nasmigrate.workflows.rollback.preview import refuse_unless_postgres_serves

ENV = """# the shop
export PORT=3101
DATABASE_URL=file:app.db   # old
OTHER='x y'
DATABASE_URL=file:again.db
"""


def test_an_env_file_keeps_everything_but_what_is_set(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_text(ENV)
    file.chmod(0o600)
    keep_backup(file)
    values = {"DATABASE_URL": 'postgresql://app:p$w"d@h/db', "DB_CLIENT": "pg"}
    assert not holds_lines(file, values)
    set_lines(file, values)
    assert holds_lines(file, values)
    assert not holds_lines(file, {**values, "DB_CLIENT": "sqlite"})
    assert read_env_file(file) == {
        "PORT": "3101",
        "DATABASE_URL": 'postgresql://app:p$w"d@h/db',
        "OTHER": "x y",
        "DB_CLIENT": "pg",
    }
    assert file.read_text().startswith("# the shop\nexport PORT=3101\n")
    assert file.stat().st_mode & 0o777 == 0o600
    keep_backup(file)  # a second routing keeps the first copy
    assert backup_path(file).read_text() == ENV
    assert put_back(file, values)
    assert file.read_text() == ENV
    assert not backup_path(file).exists()
    assert not put_back(file, values)


def test_going_back_keeps_what_was_written_into_the_env_file_since(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_bytes(ENV.encode() + b"LAST='no line end'\r\nEND=1")
    keep_backup(file)
    values = {"DATABASE_URL": "postgresql:///shop", "DB_CLIENT": "pg"}
    set_lines(file, values)
    led = file.read_bytes().replace(b"export PORT=3101", b"export PORT=4000")
    file.write_bytes(b"NEW=1\n" + led + b"DATABASE_URL=postgresql:///other\nAFTER=1\n")
    assert put_back(file, values)
    back = "NEW=1\n" + ENV.replace("3101", "4000") + "LAST='no line end'\r\nEND=1\nAFTER=1\n"
    assert file.read_bytes().decode() == back


def test_going_back_restores_lines_and_files_that_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_bytes(b"A=1\nexport DATABASE_URL=file:app.db")
    keep_backup(file)
    file.write_text("B=2\n")
    assert put_back(file, ["DATABASE_URL"])
    assert file.read_text() == "B=2\nexport DATABASE_URL=file:app.db\n"
    keep_backup(file)
    file.unlink()
    assert put_back(file, ["DATABASE_URL"])
    assert file.read_text() == "B=2\nexport DATABASE_URL=file:app.db\n"
    empty = tmp_path / "empty.env"
    empty.touch()
    keep_backup(empty)
    set_lines(empty, {"DATABASE_URL": "postgresql:///shop"})
    assert put_back(empty, ["DATABASE_URL"])
    assert empty.read_bytes() == b""


def routing(base: Path, **app: object) -> Routing:
    """What leads an application whose settings are these; the target is never asked."""
    config = Config(app=AppSection.model_validate(app))
    target = Target(conninfo="dbname=shop", display="shop")
    return Routing(
        context=Context(config=config, base=base, reporter=Silent()),
        ends=make_ends(config, base / "app.db", target),
        options=Options(),
        journal=Journal(base, "rollback", "run"),
    )


def test_the_way_back_sets_back_what_was_set_whatever_the_settings_say_by_now(tmp_path: Path) -> None:
    file, other = tmp_path / "app.env", tmp_path / "other.env"
    file.write_text(ENV)
    other.write_text(ENV)
    arrival = {"arrival_timeout": 0.1}
    lines = ["DATABASE_URL=postgresql:///shop", "PORT=4000"]
    (tmp_path / ".nasmigrate").mkdir()
    route(routing(tmp_path, env_file="app.env", env=lines, **arrival))
    assert "DATABASE_URL=postgresql:///shop\n" in file.read_text()
    gate = route_back(routing(tmp_path, env_file="other.env", env=lines[:1], **arrival))
    assert gate.status == "pass"
    assert file.read_text() == ENV
    assert f"{other} was left as it is" in gate.detail
    # An attempt that died after it put the file back is no reason to doubt the next one.
    again = route_back(routing(tmp_path, env_file="app.env", env=lines, **arrival))
    assert (again.status, again.detail) == ("pass", "start the application on SQLite as before")
    # Without the journal the settings are what is left.
    (tmp_path / ".nasmigrate" / FILE).unlink()
    nothing = route_back(routing(tmp_path, env_file="app.env", env=lines, **arrival))
    assert f"{file} was left as it is" in nothing.detail
    # What was set and lost its copy is not set back by itself, also when somebody has set other values since.
    route(routing(tmp_path, env_file="app.env", env=lines, **arrival))
    backup_path(file).unlink()
    file.write_text("DATABASE_URL=postgresql:///elsewhere\n")
    lost = route_back(routing(tmp_path, env_file="app.env", env=lines, **arrival))
    assert lost.status == "inconclusive"
    assert "no copy from before the cutover" in lost.detail


def test_of_an_env_file_that_is_a_link_the_file_behind_it_is_set_and_set_back(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    file, link = shared / "app.env", tmp_path / ".env"
    file.write_text(ENV)
    link.symlink_to("shared/app.env")
    keep_backup(link)
    values = {"DATABASE_URL": "postgresql:///shop"}
    set_lines(link, values)
    assert link.is_symlink()
    assert holds_lines(file, values)
    assert backup_path(link) == backup_path(file)
    assert put_back(link, values)
    assert link.is_symlink()
    assert file.read_text() == ENV
    assert sorted(path.name for path in shared.iterdir()) == ["app.env"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_the_application_can_read_its_env_file_on_both_engines_and_nobody_else_the_copy(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_text(ENV)
    os.chown(file, 65534, 12345)
    file.chmod(0o640)
    keep_backup(file)
    values = {"DATABASE_URL": "postgresql:///shop"}

    def facts() -> tuple[int, int, int]:
        found = file.stat()
        return found.st_mode & 0o777, found.st_uid, found.st_gid

    set_lines(file, values)
    assert facts() == (0o640, 65534, 12345)
    assert backup_path(file).stat().st_mode & 0o777 == 0o600
    assert put_back(file, values)
    assert facts() == (0o640, 65534, 12345)


def test_an_env_file_whose_group_may_not_be_given_stays_closed_to_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "app.env"
    file.write_text(ENV)
    file.chmod(0o640)
    facts = file.stat()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refuse)
    write_atomic(file, b"A=1\n", 0o640, owner=(facts.st_uid, facts.st_gid + 1))
    assert file.stat().st_mode & 0o777 == 0o600
    write_atomic(file, b"A=1\n", 0o640, owner=(facts.st_uid, facts.st_gid))
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_key_that_a_shell_exports_is_exported_still(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_text("export DATABASE_URL=file:app.db\n")
    keep_backup(file)
    set_lines(file, {"DATABASE_URL": "postgresql:///shop"})
    assert file.read_text() == "export DATABASE_URL=postgresql:///shop\n"
    assert put_back(file, ["DATABASE_URL"])
    assert file.read_text() == "export DATABASE_URL=file:app.db\n"


def test_a_rollback_to_a_source_fenced_for_another_target_says_how_to_name_it() -> None:
    fence = Fence(run_id="1", system_identifier="7", database_oid=5, epoch=2, file_mode=0o644, made_at="2026-01-01")
    standing = Standing(
        source=Path("app.db"),
        fence=fence,
        schema="",
        inode=1,
        control=None,
        identity=TargetIdentity(system_identifier="7", database_oid=6),
    )
    with pytest.raises(WrongPhase, match="fenced for another database") as refused:
        refuse_unless_postgres_serves(standing)
    assert "--target" in str(refused.value.hint)


def test_a_value_with_a_line_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    file.write_text(ENV)
    with pytest.raises(ConfigError):
        set_lines(file, {"DATABASE_URL": "a\nEVIL=1"})
    assert file.read_text() == ENV


def test_an_env_file_in_a_folder_that_is_not_writable_is_told_before_it_has_to_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "app.env"
    file.write_text(ENV)
    require_settable(file, {"DATABASE_URL": "postgresql:///shop"})
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(ConfigError, match="is not writable"):
        require_settable(file, {"DATABASE_URL": "postgresql:///shop"})
    assert file.read_text() == ENV


def test_damaged_lines_of_the_journal_are_counted_and_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "cutover", "run")
    journal.add("begin", "P0", "password=secret")
    journal.add("end", "P0")
    file = tmp_path / ".nasmigrate" / FILE
    assert "secret" not in file.read_text()
    file.write_bytes(file.read_bytes() + b'{"torn": \n\xff\xfe\n[]\n')
    entries, damaged = read_journal(tmp_path)
    assert [(entry.kind, entry.phase) for entry in entries] == [("begin", "P0"), ("end", "P0")]
    assert damaged == 3


def test_a_lost_journal_is_no_entries(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == ([], 0)


def test_a_hook_has_a_time_limit_and_no_shell(tmp_path: Path) -> None:
    run_hook("point", None, tmp_path, 1.0)
    run_hook("point", "touch 'a b' $HOME", tmp_path, 5.0)
    assert {path.name for path in tmp_path.iterdir()} >= {"a b", "$HOME"}
    with pytest.raises(ToolFailed, match="ended after"):
        run_hook("point", "sleep 60", tmp_path, 0.2)
    with pytest.raises(ToolMissing):
        run_hook("point", "/no/such/program", tmp_path, 1.0)
    with pytest.raises(ToolFailed, match="3"):
        run_hook("point", "sh -c 'exit 3'", tmp_path, 5.0)


def test_a_server_that_a_hook_leaves_in_the_background_lives_on(tmp_path: Path) -> None:
    run_hook("start", "sh -c 'echo started; sleep 300 & echo $! >server'", tmp_path, 10.0)
    server = int((tmp_path / "server").read_text())
    try:
        os.kill(server, 0)
    finally:
        os.kill(server, signal.SIGKILL)


def test_a_start_in_the_foreground_is_ended_unless_the_application_serves(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"]
    assert run_program(words, tmp_path, 1.0, None, lambda: False).code == -signal.SIGKILL
    assert run_program(words, tmp_path, 1.0, None, lambda: True).code == 0
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)  # it was there
    os.waitpid(pid, 0)


def test_a_failed_hook_tells_what_it_wrote_last(tmp_path: Path) -> None:
    command = "sh -c 'seq 1 40000; echo \"no such service\" >&2; sleep 300 & echo $! >server; exit 7'"
    with pytest.raises(ToolFailed, match="failed with 7: no such service"):
        run_hook("start", command, tmp_path, 10.0)
    os.kill(int((tmp_path / "server").read_text()), signal.SIGKILL)


def test_output_of_a_program_is_redacted(tmp_path: Path) -> None:
    done = run_program(["echo", "postgresql://u:secret@h/d"], tmp_path, 5.0)
    assert done.code == 0
    assert "secret" not in done.output


def test_the_freeze_is_a_share_of_what_the_driver_waits() -> None:
    config = Config(app=AppSection(busy_timeout=5.0))
    assert freeze_limit(config, Options()) == pytest.approx(4.0)
    assert freeze_limit(config, Options(max_freeze=1.5)) == 1.5
    assert freeze_limit(Config(cutover=CutoverSection(max_freeze=2.5)), Options()) == 2.5
    assert freeze_limit(config, Options(app_stopped=True)) is None


def test_the_plan_of_the_night_names_every_command(tmp_path: Path) -> None:
    app = AppSection(
        route="command", start="start it", stop="stop it", env_file=".env", env=("URL=env:X",), cron_pause="pause"
    )
    config = Config(app=app, cutover=CutoverSection(after_open="tell me", seed=True))
    night = night_plan(config, Options(), source="s", target="t", role="r", base=tmp_path)
    assert [step.phase.key for step in night.steps] == [phase.key for phase in CUTOVER]
    said = "\n".join(detail for step in night.steps for detail in step.details)
    for word in ("start it", "stop it", "pause", "tell me", "URL", ".env", "role r"):
        assert word in said


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"route": "command"}, "start"),
        ({"route": "compose"}, "compose_service"),
        ({"env": ("A=1",)}, "env_file"),
        ({"env_file": "x", "env": ("A",)}, "KEY=VALUE"),
    ],
)
def test_settings_that_cannot_work_are_refused(section: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AppSection(**section)


def told(*messages: dict[str, object], end: bool = True) -> list[list[str]]:
    """What a watchdog settles after these messages."""
    reader, writer = os.pipe()
    os.write(writer, "".join(json.dumps(message) + "\n" for message in messages).encode())
    if end:
        os.close(writer)
    settled: list[list[str]] = []
    try:
        watch(reader, settled.append)
    finally:
        os.close(reader)
        if not end:
            os.close(writer)
    return settled


def test_a_watchdog_settles_only_what_is_undecided() -> None:
    begin = {"resume": ["resume"]}
    frozen = {"stage": "frozen", "pid": 2**22 + 1, "limit": None}
    assert told(begin) == []
    assert told(begin, {"stage": "prepared"}) == [["resume"]]
    assert told(begin, {"stage": "prepared"}, {"stage": "decided"}, end=False) == []
    assert told(begin, frozen) == [["resume"]]
    assert told(begin, frozen, {"stage": "fencing"}) == [["resume"]]
    assert told(begin, frozen, {"stage": "fencing"}, {"stage": "decided"}, end=False) == []


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        # Postgres serves, and the proof is inconclusive because it was written to since: so it stays.
        (['4 {"writer": "Postgres", "control": {"state": "OPEN"}}'], 1),
        (['4 {"writer": "SQLite", "control": {"state": "CLOSED"}}'], 1),
        (['4 {"writer": "neither", "control": {"state": "CLOSED"}}', "0 {}"], 2),
        (['4 {"writer": "SQLite", "control": {"state": "DRAINING"}}', "0 {}"], 2),
        (['4 {"writer": "neither", "control": null}', '4 {"error": {"code": "NM0401"}}', "4 torn", "0 {}"], 4),
        (["8 {}", "11 {}"], 2),
        (['11 {"error": {"code": "NM1102"}}'], 1),
        (['11 {"error": {"code": "NM1121"}}'], 1),
        # The operator's own `resume` had the lock, or took the row over at the same moment; the disk was full.
        ([*(f'11 {{"error": {{"code": "{code}"}}}}' for code in ("NM1103", "NM1110", "NM1120")), "0 {}"], 4),
    ],
)
def test_a_watchdog_tries_until_one_engine_serves(
    answers: list[str], tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nasmigrate.workflows.cutover.watchdog.FIRST_PAUSE", 0.0)
    left = tmp_path / "answers"
    left.write_text("\n".join([*answers, "0 one try too many"]))
    resume = tmp_path / "resume"
    resume.write_text(
        f"#!/bin/sh\nread -r code document < {left}\nsed -i 1d {left}\nprintf '%s' \"$document\"\nexit $code\n"
    )
    resume.chmod(0o700)
    settle([str(resume)])
    assert len(left.read_text().splitlines()) == len(answers) + 1 - tries


def test_a_watchdog_kills_the_holder_of_the_lock_only_before_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasmigrate.workflows.cutover.watchdog.GRACE", 0.1)
    monkeypatch.setattr("nasmigrate.workflows.cutover.watchdog.SILENCE", 0.2)
    for stage, killed in (("frozen", True), ("fencing", False)):
        victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            messages: list[dict[str, object]] = [
                {"resume": ["resume"]},
                {"stage": "frozen", "pid": victim.pid, "limit": 0.1},
            ]
            if stage == "fencing":
                messages.append({"stage": "fencing"})
                assert told(*messages, end=False) == [["resume"]]
            else:
                process = subprocess.Popen(
                    [sys.executable, "-m", "nasmigrate.workflows.cutover.watchdog"],
                    stdin=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                assert process.stdin is not None
                process.stdin.write("".join(json.dumps(message) + "\n" for message in messages).encode())
                process.stdin.flush()
                victim.wait(20.0)
                process.kill()
                process.communicate()
            assert (victim.poll() == -signal.SIGKILL) == killed
        finally:
            victim.kill()
            victim.wait()


def test_an_interrupt_is_kept_until_the_end() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), hold_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(True)
    assert reached
    with hold_interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.too_late = True
    assert interrupts.came
    with pytest.raises(ValueError, match="first"), hold_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("first")


def test_one_run_at_a_time_by_whatever_path(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    source.touch()
    link = tmp_path / "link.db"
    link.symlink_to(source)
    assert lock_path(link) == lock_path(source)
    with source_lock(source, "cutover"), pytest.raises(RunLocked, match="cutover"), source_lock(link, "resume"):
        pass
    with source_lock(link, "resume"):
        pass


def test_a_lock_file_of_another_user_is_said_to_be_his(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "app.db"
    source.touch()

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(SourceError) as raised, source_lock(source, "resume"):
        pass
    assert "folder of the source must be writable" in str(raised.value.hint)
    lock_path(source).write_text("")
    owner = lock_path(source).stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(SourceError) as raised, source_lock(source, "resume"):
        pass
    assert "run this command as that user" in str(raised.value.hint)


def test_the_tables_of_phases_are_whole() -> None:
    keys = [phase.key for phase in (*CUTOVER, *ROLLBACK)]
    assert keys == [f"P{n}" for n in range(11)] + [f"R{n}" for n in range(6)]
    assert [phase.key for phase in (*CUTOVER, *ROLLBACK) if phase.commit_point] == ["P7", "R4"]
    assert not any(phase(key).killable for key in ("P6", "P7", "P8", "R3", "R4"))


def test_the_oracle_sees_what_is_lost_doubled_or_refused(tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    log.write_text(
        "ok sqlite 1 9.9 10.0\nno sqlite 2 10.0 10.1\nok postgres 3 10.4 10.5\nunknown postgres 4 10.5 10.6\nok sqli"
    )
    heard = read_log(log)
    assert heard.longest_gap == pytest.approx(0.5)
    good = judge({"w": heard}, [("w", 1), ("w", 3), ("w", 4)], {"w": 3})
    assert (good.acknowledged, good.refused, good.unknown, good.faults) == (2, 1, 1, ())
    for rows, fault in (
        ([("w", 1)], "lost"),
        ([("w", 1), ("w", 3), ("w", 3)], "twice"),
        ([("w", 1), ("w", 2), ("w", 3)], "refused"),
        ([("w", 1), ("w", 3), ("x", 1)], "nobody knows"),
    ):
        assert any(fault in line for line in judge({"w": heard}, rows, {"w": len(rows)}).faults), fault


def test_two_engines_that_took_writes_at_once_are_seen(tmp_path: Path) -> None:
    def told(*lines: str) -> dict[str, Told]:
        logs = [tmp_path / f"w{number}.log" for number in range(len(lines))]
        for log, text in zip(logs, lines, strict=True):
            log.write_text(text.replace(";", "\n") + "\n")
        return {log.stem: read_log(log) for log in logs}

    one = "ok sqlite 1 1.0 1.1;no sqlite 2 1.9 2.0;ok postgres 3 3.0 3.2;ok sqlite 4 5.0 5.1"
    # Answered late, but begun while SQLite could still have taken it.
    assert turns(told(one, "ok sqlite 1 2.9 3.9;ok postgres 2 3.9 4.0;ok sqlite 3 5.0 5.2")) == [
        "sqlite",
        "postgres",
        "sqlite",
    ]
    with pytest.raises(AssertionError, match="turn 1: sqlite took a write of w1"):
        turns(told(one, "ok sqlite 1 3.3 3.4;ok postgres 2 3.9 4.0;ok sqlite 3 5.0 5.2"))
    with pytest.raises(AssertionError, match="turn 2: postgres took a write of w1"):
        turns(told(one, "ok sqlite 1 2.0 2.1;ok postgres 2 5.5 5.6;ok sqlite 3 5.7 5.8"))
    with pytest.raises(AssertionError, match="postgres"):
        turns(told(one, "ok sqlite 1 2.0 2.1"))
