"""What is said of a source, and what a run leaves: names stay on their line, values and secrets stay inside."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cr3t-Of-The-Target"
PERSON = "Erika Mustermann, Heidestr. 17"
# Clears the screen, turns the reading direction, forges a line, breaks out of HTML.
NAMES = (
    "t\x1b[2J\x1b[1;31m",
    "u\u202egnp.exe",
    "v\nerror[NM0000]: all is well",
    "<script>alert(1)</script>",
    "w\x9b31m",
)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def nasmigrate(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nasmigrate", *arguments]
    env = {**os.environ, "FORCE_COLOR": "", "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def files_of(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.mark.parametrize("arguments", [("plan",), ("plan", "--json"), ("doctor",)], ids=" ".join)
def test_names_cannot_act_on_a_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as db:
        for name in NAMES:
            db.execute(f"CREATE TABLE {quoted(name)}({quoted(name)} INTEGER)")
            db.execute(f"INSERT INTO {quoted(name)} VALUES ('text in an integer column')")
        db.commit()
    done = nasmigrate(tmp_path, *arguments, str(source))
    assert done.returncode in (0, 3, 6), done.stderr
    for text in (done.stdout, done.stderr):
        assert _CONTROL.findall(text) == []
        assert "\nerror[NM0000]" not in text


def test_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as db:
        db.execute(f"CREATE TABLE {quoted(NAMES[3])}(a INTEGER)")
        db.execute(f"INSERT INTO {quoted(NAMES[3])} VALUES ('text')")
        db.commit()
    assert nasmigrate(tmp_path, "plan", str(source)).returncode == 3
    report = nasmigrate(tmp_path, "report", "--format", "html").stdout
    assert "alert(1)" in report
    assert "<script>alert" not in report


def test_a_hostile_path_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\nerror[NM0000]: fine.db"
    path.write_text("no database\n" * 9)
    done = nasmigrate(tmp_path, "plan", str(path))
    assert done.returncode == 7
    assert _CONTROL.findall(done.stderr) == []
    assert "\nerror[NM0000]" not in done.stderr


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A source with a personal value where a finding will name its row."""
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as db:
        db.executescript("CREATE TABLE people(id INTEGER PRIMARY KEY, age INTEGER, name VARCHAR(5));")
        db.execute("INSERT INTO people VALUES (1, ?, ?)", (PERSON, PERSON))
        db.commit()
    return source


def test_no_value_is_shown_unless_asked_for(people: Path, tmp_path: Path, database: str) -> None:
    done = nasmigrate(tmp_path, "copy", str(people), database)
    assert done.returncode == 3, done.stderr
    report = nasmigrate(tmp_path, "report", "--format", "html", "--output", ".nasmigrate/report.html")
    assert report.returncode == 0
    assert PERSON not in done.stdout + done.stderr
    left = files_of(tmp_path / ".nasmigrate")
    telling = [path.name for path in left if PERSON.encode() in path.read_bytes()]
    assert telling == ["snapshot.db"]
    # The revisions are to be read by others, where a project keeps them; here their folder is closed.
    assert [path for path in left if path.stat().st_mode & 0o077 and path.parent.name != "migrations"] == []
    assert [run.stat().st_mode & 0o077 for run in (tmp_path / ".nasmigrate" / "runs").iterdir()].count(0) >= 2
    assert PERSON in nasmigrate(tmp_path, "plan", str(people), "--show-values", "--json").stdout


def test_a_secret_reaches_neither_output_nor_files(people: Path, tmp_path: Path) -> None:
    # Nobody listens there: what libpq says of it may hold the conninfo.
    dsn = f"postgresql://app:{SECRET}@127.0.0.1:1/market"
    for arguments in (("copy", str(people), "env:TARGET"), ("doctor", str(people)), ("config", "show", "--sources")):
        done = nasmigrate(tmp_path, *arguments, TARGET=dsn, NASMIGRATE_TARGET_DSN="env:TARGET", PGPASSWORD=SECRET)
        assert SECRET not in done.stdout + done.stderr, arguments
    for path in files_of(tmp_path / ".nasmigrate"):
        assert SECRET.encode() not in path.read_bytes(), path.name


def test_a_secret_in_argv_is_refused_with_the_line_to_use(people: Path, tmp_path: Path) -> None:
    done = nasmigrate(tmp_path, "copy", str(people), f"postgresql://app:{SECRET}@127.0.0.1:1/market", "--json")
    assert done.returncode == 5
    assert SECRET not in done.stdout + done.stderr
    assert json.loads(done.stdout)["error"]["exit_code"] == 5


def test_no_dependency_is_a_dead_project_whose_name_may_be_taken() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *(line for group in groups.values() for line in group)]
    names = {re.split(r"[\[<>=!~ ;]", line, maxsplit=1)[0].lower() for line in wanted if isinstance(line, str)}
    assert names.isdisjoint({"pgsqlite", "sqlite3-to-postgres", "sqlite2pg", "sqlite-to-postgres"})
    assert [line for line in wanted if isinstance(line, str) and not re.search(r"[<>=~]", line)] == [], "no bounds"
