"""What a script or an operator sees of a command: exit code, stdout, stderr, and nothing secret."""

from __future__ import annotations

import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from nasmigrate import __version__
from nasmigrate.commands import _live, _progress, main
from nasmigrate.commands._group import SUBCOMMANDS, cli
from nasmigrate.core.errors import CopyFailed, PreflightError
from nasmigrate.core.progress import Progress
from nasmigrate.core.result import Finding, Gate, Result
from nasmigrate.core.rundir import RunDirectory
from nasmigrate.workflows import doctor as doctor_workflow
from nasmigrate.workflows.filesystems import file_system_of, is_remote

HEAVY = ("apsw", "psycopg", "sqlalchemy", "alembic", "numpy", "pydantic", "rich", "sqlglot", "jinja2", "tomlkit")
SECRET = "s3cr3t"
WIDENED = Finding(code="TEXT_IN_INTEGER", severity="widened", table="t", column="c", message="text", accept="x")
REFUSED = Finding(code="NOT_CARRIED", severity="refusal", object="v", message="no")
NOTE = Finding(code="LONG_TEXT", severity="note", table="t", column="d", message="long")

Workflow = Callable[..., Result]


def result(command: str, **changes: Any) -> Result:
    facts: dict[str, Any] = {
        "command": command,
        "nasmigrate_version": __version__,
        "started_at": "2026-02-03T12:00:00+00:00",
        "seconds": 1.5,
        "verdict": "pass",
        "exit_code": 0,
        "source": "app.db",
        "target": "postgresql://app@db/market",
        "gates": (Gate(name="counts", status="pass", detail="3 tables", checked=3),),
    }
    return Result(**{**facts, **changes})


@pytest.fixture(autouse=True)
def _plain_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no setting or colour from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Workflow], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Put a function in the place of a workflow; returns the list of its calls."""

    def replace(name: str, workflow: Workflow) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def called(*arguments: Any, **options: Any) -> Result:
            calls.append((arguments, options))
            return workflow(*arguments, **options)

        module = types.ModuleType(f"nasmigrate.workflows.{name}")
        setattr(module, name, called)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return calls

    return replace


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


# --- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", "--help"], ["copy", "-h"], ["runs", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from nasmigrate.commands import main; code = main(sys.argv[1:]);"
        f"print(code, sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr)"
    )
    done = run_python(code, *arguments)
    assert done.stderr == "0 []\n"
    assert done.stdout


def test_the_list_in_help_says_what_each_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    context = click.Context(cli)
    for name, line in SUBCOMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert re.search(rf"^  {name} +{re.escape(line[:40])}", listed, re.MULTILINE)
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"Usage: nasmigrate {name}" in text


def test_python_dash_m_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nasmigrate", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"nasmigrate {__version__}\n")


# --- usage and settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pln"], "Did you mean 'plan'?"),
        (["plan", "--nope"], "No such option"),
        (["copy", "a.db", "postgresql://h/d", "--chunk-rows", "0"], "--chunk-rows"),
        (["copy", "a.db"], "no target"),
        (["plan"], "no source"),
        (["plan", "postgresql://app@h/d"], "SOURCE is the SQLite file"),
        (["copy", "a.db", "postgresql://h/d", "--target", "postgresql://h/e"], "given twice"),
        (["--json", "plan", "a.db", "--json-events"], "exclude each other"),
        (["rehearse", "a.db", "--password-file", "x"], "needs --target"),
        (["runs", "show"], "no runs yet"),
        (["report"], "no runs yet"),
    ],
)
def test_usage_problems_exit_2_and_leave_stdout_to_json(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    if "--json" not in arguments:
        assert captured.out == ""


@pytest.mark.parametrize("command", [["copy", "a.db"], ["verify", "a.db"], ["rehearse", "a.db", "--target"]])
def test_a_password_in_argv_exits_5_and_is_not_repeated(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, f"postgresql://app:{SECRET}@db/market", "--json"]) == 5
    captured = capsys.readouterr()
    assert captured.err.startswith("error[NM0510]: ")
    assert "PGPASSFILE=~/.pgpass nasmigrate " + " ".join(command) in captured.err
    assert "postgresql://app@db/market" in captured.err
    assert SECRET not in captured.out + captured.err
    assert json.loads(captured.out)["error"]["exit_code"] == 5


def test_config_show_names_origins_and_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nasmigrate.toml"
    file.write_text(f"[source]\npath = 'app.db'\n[target]\ndsn = 'postgresql://app:{SECRET}@db/m'\n")
    file.chmod(0o600)
    monkeypatch.setenv("NASMIGRATE_TRANSFER_CHUNK_ROWS", "7")
    assert main(["config", "show", "--sources"]) == 0
    lines = {line.split(" = ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["source.path"].endswith("# nasmigrate.toml")
    assert lines["transfer.chunk_rows"].endswith("# NASMIGRATE_TRANSFER_CHUNK_ROWS")
    assert lines["rehearse.round_trip"].endswith("# default")
    assert SECRET not in lines["target.dsn"]
    assert main(["config", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"key": "transfer.chunk_rows", "value": 7, "origin": "NASMIGRATE_TRANSFER_CHUNK_ROWS"} in document[
        "settings"
    ]
    assert SECRET not in json.dumps(document)


# --- the migrating commands ---------------------------------------------------------------------------------------


def test_plan_gets_source_and_options_from_anywhere(
    stub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calls = stub("plan", lambda *_a, **_o: result("plan", verdict="fail", exit_code=3))
    assert main(["--show-values", "plan", "app.db", "--write-migrations", "--json", "--quiet"]) == 3
    (context, source), options = calls[0]
    assert source == tmp_path / "app.db"
    assert options == {"write_migrations": True}
    assert context.show_values
    assert context.no_input
    assert context.base == tmp_path
    captured = capsys.readouterr()
    assert Result.model_validate_json(captured.out).exit_code == 3
    assert captured.err == ""


def test_the_source_of_the_settings_is_taken_from_their_folder(stub: Any, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nasmigrate.toml").write_text("[source]\npath = 'data/app.db'\n")
    calls = stub("plan", lambda *_a, **_o: result("plan"))
    assert main(["plan", "--config", "project/nasmigrate.toml"]) == 0
    (context, source), _ = calls[0]
    assert source == folder / "data" / "app.db"
    assert context.base == folder


def test_text_goes_to_stdout_without_colour_when_piped(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stub("plan", lambda *_a, **_o: result("plan"))
    assert main(["plan", "app.db"]) == 0
    captured = capsys.readouterr()
    assert "app.db" in captured.out
    assert "\x1b[" not in captured.out + captured.err


def test_force_color_and_no_color(
    stub: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub("plan", lambda *_a, **_o: result("plan"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["plan", "app.db"]) == 0
    assert "\x1b[" in capsys.readouterr().out
    assert main(["plan"]) == 2
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["plan", "app.db"]) == 0
    assert main(["plan"]) == 2
    captured = capsys.readouterr()
    assert "\x1b[" not in captured.out + captured.err


def test_write_accepts_adds_open_findings_but_no_refusal(
    stub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    findings = (WIDENED, REFUSED, NOTE)
    stub("plan", lambda *_a, **_o: result("plan", verdict="fail", exit_code=3, findings=findings))
    (tmp_path / "nasmigrate.toml").write_text("# mine\n[source]\npath = 'app.db'\n")
    assert main(["plan", "--write-accepts", "--json"]) == 3
    text = (tmp_path / "nasmigrate.toml").read_text()
    assert "TEXT_IN_INTEGER:t.c" in text
    assert "# mine" in text
    assert "NOT_CARRIED" not in text
    assert "LONG_TEXT" not in text
    captured = capsys.readouterr()
    assert "accepted TEXT_IN_INTEGER:t.c" in captured.err
    assert json.loads(captured.out)["exit_code"] == 3


def test_copy_passes_target_flags_and_chunks(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stub("copy", lambda *_a, **_o: result("copy"))
    monkeypatch.setenv("DSN", f"postgresql://app:{SECRET}@db/market")
    line = ["copy", "app.db", "env:DSN", "--resume", "--round-trip", "--chunk-rows", "10", "--chunk-bytes", "1 MiB"]
    assert main(line) == 0
    (context, _source, target), options = calls[0]
    assert target.display == "postgresql://app@db/market"
    assert SECRET in target.conninfo
    assert options == {"resume": True, "round_trip": True}
    assert (context.config.transfer.chunk_rows, context.config.transfer.chunk_bytes) == (10, 1024**2)


@pytest.mark.parametrize(
    "line", [["verify", "postgresql://db/m"], ["verify", "--target", "postgresql://db/m"], ["verify"]]
)
def test_a_lone_target_or_the_target_of_the_settings(line: list[str], stub: Any, tmp_path: Path) -> None:
    (tmp_path / "nasmigrate.toml").write_text("[source]\npath = 'app.db'\n[target]\ndsn = 'postgresql://db/m'\n")
    calls = stub("verify", lambda *_a, **_o: result("verify"))
    assert main(line) == 0
    (_context, source, target), options = calls[0]
    assert source == tmp_path / "app.db"
    assert target.display == "postgresql://db/m"
    assert options == {"round_trip": False}


def test_a_rehearsal_never_takes_the_target_of_the_settings(stub: Any, tmp_path: Path) -> None:
    (tmp_path / "nasmigrate.toml").write_text("[source]\npath = 'app.db'\n[target]\ndsn = 'postgresql://db/real'\n")
    calls = stub("rehearse", lambda *_a, **_o: result("rehearse"))
    assert main(["rehearse"]) == 0
    assert calls[0][1] == {"target": None, "keep_target": False, "with_stack": False}


# --- errors -------------------------------------------------------------------------------------------------------


def test_an_error_prints_code_checks_hint_and_log(
    stub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(context: Any, *_a: Any, **_o: Any) -> Result:
        RunDirectory.create(context.base, "plan")
        raise PreflightError("two\x1b[2J things", checks=["first: a", "second: b"], hint=f"password={SECRET}")

    stub("plan", fail)
    assert main(["plan", "app.db"]) == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    log = next((tmp_path / ".nasmigrate" / "runs").glob("*-plan-*")) / "debug.log"
    assert captured.err.splitlines() == [
        "error[NM0601]: two\\x1b[2J things",
        "  - first: a",
        "  - second: b",
        "hint: password=***",
        f"log: {log}",
    ]
    assert "Traceback" in log.read_text()
    assert SECRET not in log.read_text()


def test_an_unexpected_error_exits_1_and_shows_the_traceback_only_with_debug(
    stub: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(context: Any, *_a: Any, **_o: Any) -> Result:
        RunDirectory.create(context.base, "plan")
        raise ZeroDivisionError(f"postgresql://a:{SECRET}@db/m")

    stub("plan", fail)
    assert main(["plan", "app.db"]) == 1
    plain = capsys.readouterr().err
    assert plain.startswith("error[NM0100]: unexpected ZeroDivisionError")
    assert "log: " in plain
    assert "Traceback" not in plain
    assert main(["plan", "app.db", "--debug"]) == 1
    debug = capsys.readouterr().err
    assert "Traceback" in debug
    assert SECRET not in plain + debug


def test_an_error_is_a_json_document_too(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_a: Any, **_o: Any) -> Result:
        raise CopyFailed("t, chunk 3", hint="see", details={"table": "t", "dsn": f"host=x password={SECRET}", "n": 3})

    stub("copy", fail)
    assert main(["copy", "app.db", "postgresql://db/m", "--json"]) == 9
    document = json.loads(capsys.readouterr().out)
    assert document["format_version"] == 1
    assert document["error"] == {
        "code": "NM0902",
        "message": "t, chunk 3",
        "hint": "see",
        "details": {"table": "t", "dsn": "host=x password=***", "n": 3},
        "exit_code": 9,
    }


def test_ctrl_c_exits_130_and_says_how_to_go_on(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(context: Any, *_a: Any, **_o: Any) -> Result:
        RunDirectory.create(context.base, "copy")
        raise KeyboardInterrupt

    stub("copy", interrupt)
    assert main(["copy", "my app.db", "postgresql://db/m"]) == 130
    assert "nasmigrate copy 'my app.db' postgresql://db/m --resume" in capsys.readouterr().err


def test_a_termination_ends_like_ctrl_c_and_handlers_are_put_back(
    stub: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned: list[str] = []

    def terminated(*_a: Any, **_o: Any) -> Result:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append("server stopped")
        return result("plan")

    stub("plan", terminated)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["plan", "app.db"]) == 130
    assert cleaned == ["server stopped"]
    assert "nasmigrate plan app.db" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


# --- past runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def past_run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.create(tmp_path, "rehearse", token="00aa")
    run.write_json("result.json", result("rehearse"))
    return run


def test_runs_are_listed_and_shown(past_run: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, "plan", token="00bb")
    assert main(["runs", "list"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^{past_run.name} +pass +exit 0", out, re.MULTILINE)
    assert "no result" in out
    assert main(["runs", "list", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {run["name"]: run["verdict"] for run in runs}[past_run.name] == "pass"
    assert main(["runs", "show", past_run.name, "--json"]) == 0
    assert "result.json" in json.loads(capsys.readouterr().out)["files"]
    assert main(["runs", "show"]) == 0
    assert "no result" in capsys.readouterr().out


def test_a_report_is_made_again_in_each_form(
    past_run: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report"]) == 0
    assert "app.db" in capsys.readouterr().out
    assert main(["report", "--json"]) == 0
    assert Result.model_validate_json(capsys.readouterr().out).command == "rehearse"
    assert main(["report", past_run.name, "--output", "out.html"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (tmp_path / "out.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert (tmp_path / "out.html").stat().st_mode & 0o777 == 0o600
    past_run.path("result.json").write_text("{}")
    assert main(["report"]) == 2


# --- init, doctor, completion -------------------------------------------------------------------------------------


def database(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    return path


def test_init_finds_the_file_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "data" / "app's ü.db")
    database(tmp_path / "node_modules" / "x" / "other.db")
    (tmp_path / "notes.db").write_text("not a database " * 100)
    assert main(["init"]) == 0
    file = tmp_path / "nasmigrate.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert main(["config", "show", "--json"]) == 0
    rows = {row["key"]: row["value"] for row in json.loads(capsys.readouterr().out)["settings"]}
    assert rows["source.path"] == "data/app's ü.db"
    before = file.read_text()
    assert main(["init"]) == 2
    assert file.read_text() == before


def test_init_lists_several_files_and_takes_the_one_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "a.db")
    database(tmp_path / "b.db")
    assert main(["init"]) == 2
    err = capsys.readouterr().err
    assert "--source a.db" in err
    assert "--source b.db" in err
    assert not (tmp_path / "nasmigrate.toml").exists()
    assert main(["init", "--source", "b.db"]) == 0
    assert 'path = "b.db"' in (tmp_path / "nasmigrate.toml").read_text()


def test_every_setting_in_the_written_file_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] is None
    file = tmp_path / "nasmigrate.toml"
    setting = re.compile(r"# ((?:[a-z_]+ = |\[columns).*)")
    enabled, seen = [], set()
    for line in file.read_text().splitlines():
        match = setting.fullmatch(line)
        key = match[1].split(" = ")[0] if match else ""
        # `dsn` is shown in two forms; TOML takes one.
        enabled.append(match[1] if match and key not in seen else line)
        seen.add(key)
    assert {"path", "dsn", "chunk_bytes", "round_trip", "type"} <= seen
    file.write_text("\n".join(enabled))
    assert main(["config", "show"]) == 0


@pytest.fixture
def quick_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the embedded server's programs to the integration tests."""
    monkeypatch.setattr(doctor_workflow, "_embedded", lambda: [])


@pytest.mark.usefixtures("quick_doctor")
def test_doctor_runs_every_check_even_when_settings_are_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database(tmp_path / "app.db")
    (tmp_path / "nasmigrate.toml").write_text("[source]\npth = 'x'\n")
    assert main(["doctor", "app.db", "--target", f"postgresql://a:{SECRET}@127.0.0.1:1/m", "--json"]) == 6
    captured = capsys.readouterr()
    checks = {check["name"]: check for check in json.loads(captured.out)["checks"]}
    assert checks["settings"]["status"] == "fail"
    assert "source.path" in checks["settings"]["fix"]
    assert checks["source"]["status"] == "ok"
    assert checks["journal mode"]["status"] == "warn"
    assert checks["target"]["status"] == "fail"
    assert {"python", "libraries", "file system", "disk", "run directory"} <= set(checks)
    assert SECRET not in captured.out + captured.err
    assert not (tmp_path / ".nasmigrate").exists()


@pytest.mark.usefixtures("quick_doctor")
def test_doctor_exits_0_when_nothing_failed_and_6_when_the_target_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database(tmp_path / "app.db")
    assert main(["doctor", "app.db"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ok +source ", out, re.MULTILINE)
    assert re.search(r"^skipped +target ", out, re.MULTILINE)
    assert main(["doctor", "app.db", "--target", "postgresql://a@127.0.0.1:1/m"]) == 6
    assert re.search(r"^fail +target .*refused", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.usefixtures("quick_doctor")
def test_a_check_that_breaks_is_a_failure_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[doctor_workflow.DoctorCheck]:
        raise RuntimeError("broken")

    monkeypatch.setattr(doctor_workflow, "_libraries", broken)
    assert main(["doctor", "--json"]) == 6
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "RuntimeError: broken" in checks["libraries"]["detail"]
    assert checks["run directory"]["status"] == "ok"


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    share = tmp_path / "my share"
    (share / "inner").mkdir(parents=True)
    escaped = str(share).replace(" ", "\\040")
    mountinfo.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:5 / {escaped} rw shared:1 - nfs4 host:/x rw\n"
        f"3 2 0:6 / {escaped}/inner rw - btrfs /dev/sdb rw\n"
    )
    assert file_system_of(tmp_path / "a.db", mountinfo) == "ext4"
    assert file_system_of(share / "a.db", mountinfo) == "nfs4"
    assert file_system_of(share / "inner" / "a.db", mountinfo) == "btrfs"
    assert file_system_of(share, tmp_path / "none") is None
    assert is_remote("nfs4")
    assert not is_remote("btrfs")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_NASMIGRATE_COMPLETE" in capsys.readouterr().out


# --- progress -----------------------------------------------------------------------------------------------------


def copying(rows: int, elapsed: float, phase: str = "copy") -> Progress:
    return Progress(
        phase=phase,
        table="orders",
        tables_done=4,
        tables_total=12,
        rows_done=rows,
        rows_total=752_865,
        elapsed=elapsed,
    )


def test_the_progress_line_has_its_form() -> None:
    assert _progress.progress_line(copying(595_700, 0.931)) == (
        "copy 595700/752865 79.1% | tables 4/12 orders | 640k rows/s | elapsed 0m01s | eta 0m00s"
    )
    assert _progress.progress_line(Progress(phase="scan", rows_done=5)) == "scan 5 rows | elapsed 0m00s"


def test_99_97_percent_is_not_100() -> None:
    assert _progress.rows_text(Progress(phase="copy", rows_done=9_999, rows_total=10_000)).endswith(" 99.9%")
    assert _progress.rows_text(Progress(phase="copy", rows_done=10_000, rows_total=10_000)).endswith(" 100.0%")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0m00s"), (9.4, "0m09s"), (59.6, "1m00s"), (3599, "59m59s"), (3720, "1h02m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert _progress.duration_text(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(87.4, "87"), (999.6, "1k"), (640_123, "640k"), (999_600, "1.0M")])
def test_rates(rate: float, text: str) -> None:
    assert _progress.rate_text(rate) == text


def test_lines_come_every_ten_seconds_and_at_a_phase_change() -> None:
    stream, now = io.StringIO(), [0.0]
    reporter = _progress.LineReporter(stream, monotonic=lambda: now[0])
    reporter.phase("copy", "12 tables")
    for second in range(25):
        now[0] = float(second)
        reporter.progress(copying(second * 1000, float(second)))
    reporter.phase("verify")
    reporter.note("one\nline\x1b[2J")
    reporter.close()
    lines = stream.getvalue().splitlines()
    assert [line.split(" ")[1].split("/")[0] for line in lines if "|" in line] == ["10000", "20000", "24000"]
    assert lines[0] == "copy: 12 tables"
    assert lines[-2:] == ["verify", "note: one\\x0aline\\x1b[2J"]


def test_json_progress_is_throttled_but_the_end_is_always_said() -> None:
    stream, now = io.StringIO(), [0.0]
    reporter = _progress.JsonReporter(stream, monotonic=lambda: now[0])
    reporter.phase("copy")
    for rows in (1, 2, 3, 752_865):
        reporter.progress(copying(rows, 1.0))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event.get("rows_done") for event in events] == [None, 1, 752_865]


def test_the_live_display_is_plain_about_hostile_names_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    reporter = _live.LiveReporter(console=console)
    reporter.phase("copy", "12 tables")
    reporter.progress(
        Progress(phase="copy", table="[red]x[/red]\x07", rows_done=3, rows_total=4, tables_total=2, elapsed=1.0)
    )
    reporter.note("a [bold]note[/bold]")
    reporter.close()
    reporter.close()
    text = stream.getvalue()
    assert "0/2 [red]x[/red]\\x07" in text
    assert "3/4 75.0%" in text
    assert "note: a [bold]note[/bold]" in text
    assert "\x07" not in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_the_reporter_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def kind(environ: dict[str, str], **options: bool) -> type:
        settings = {"quiet": False, "json_events": False, **options}
        reporter = _progress.make_reporter(color=None, environ=environ, **settings)
        reporter.close()
        return type(reporter)

    assert kind({}) is _progress.LineReporter
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert kind({}) is _live.LiveReporter
    assert kind({"TERM": "dumb"}) is _progress.LineReporter
    assert kind({}, quiet=True) is _progress.QuietReporter
    assert kind({}, json_events=True) is _progress.JsonReporter
