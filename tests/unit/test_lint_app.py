"""`lint-app`: the SQL in an application's source is found where it stands, and whether it can reach Postgres."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasmigrate.commands import main
from nasmigrate.workflows.lint_app.literals import LANGUAGES, literals
from nasmigrate.workflows.lint_app.python_literals import python_literals
from nasmigrate.workflows.lint_app.sql import is_piece, is_statement

SCRIPT = LANGUAGES[".js"]

SERVER = """\
const open = require('better-sqlite3');
const db = open(process.env.DB_PATH || 'data/app.db');
const quotes = /['"`]/; // it's no string
const rows = db.prepare(`SELECT id, name FROM users
   WHERE name LIKE ${pattern} ${more.map(x => `AND "y" == 'z'`).join('')}
   ORDER BY id`).all();
db.prepare('INSERT OR IGNORE INTO t (a) ' +
  "VALUES (datetime('now'))").run();
const quiet = db.prepare("SELECT a FROM t WHERE a GLOB 'x*'"); // nasmigrate:ignore
where.push("name LIKE 'a%'"); const text = 'Select an item from the list, or delete it';
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = main(["--json", "lint-app", *arguments])
    return code, json.loads(capsys.readouterr().out)


def places(document: dict[str, object]) -> list[tuple[str, int, str]]:
    return [(hit["file"], hit["line"], hit["rule"]) for hit in document["hits"]]  # type: ignore[attr-defined]


def test_hits_name_file_and_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "server.js").write_text(SERVER)
    (folder / "package.json").write_text('{"dependencies": {"better-sqlite3": "1", "pg": "8"}}')
    code, document = run(capsys)
    assert code == 0
    assert places(document) == [
        ("src/server.js", 5, "like-case"),
        ("src/server.js", 5, "equality"),
        ("src/server.js", 7, "insert-or"),
        ("src/server.js", 8, "moment-function"),
        ("src/server.js", 10, "like-case"),
    ]
    assert document["findings"] == []


def test_packages_and_builds_are_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("node_modules/x", "dist", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.js").write_text("db.prepare('SELECT a FROM t WHERE a == 1')")
    (folder / "bundle.min.js").write_text("db.prepare('SELECT a FROM t WHERE a == 1')")
    _, document = run(capsys)
    assert (document["files"], document["hits"]) == (0, [])


def test_python_and_sql_files_are_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.py").write_text(
        'import psycopg\ndef f(c, t):\n    c.execute(f"""\n  SELECT a FROM {t}\n  WHERE b == 1""")\n'
    )
    (folder / "b.sql").write_text("-- the report\nSELECT a\nFROM t LIMIT 1, 2;\nPRAGMA user_version;\n")
    _, document = run(capsys)
    assert places(document) == [("a.py", 5, "equality"), ("b.sql", 3, "limit-comma"), ("b.sql", 4, "statement")]


def test_no_driver_for_postgres_is_a_decision(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "server.js").write_text("const db = require('better-sqlite3')('data/dev.db');\n")
    (folder / "package.json").write_text('{"dependencies": {"better-sqlite3": "1"}}')
    code, document = run(capsys)
    assert code == 3
    codes = {finding["code"]: finding for finding in document["findings"]}  # type: ignore[attr-defined]
    assert set(codes) == {"APP_HAS_NO_PG_PATH", "APP_PATH_HARDCODED"}
    assert codes["APP_PATH_HARDCODED"]["keys"] == ["server.js:1"]
    # The lines it prints answer it.
    accepts = ", ".join(finding["accept"].split("[", 2)[2].rstrip("]") for finding in codes.values())
    (folder / "nasmigrate.toml").write_text(f"[plan]\naccept = [{accepts}]\n")
    code, document = run(capsys)
    assert code == 0
    assert all(finding["accepted"] for finding in document["findings"])  # type: ignore[attr-defined]


def test_other_sqlite_files_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("app.db", "session.db"):
        (folder / name).write_bytes(b"SQLite format 3\0" + bytes(84))
    (folder / "notes.db").write_text("no database")
    (folder / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n')
    code, document = run(capsys)
    assert code == 0
    assert [(f["code"], f["keys"]) for f in document["findings"]] == [("OTHER_SQLITE_FILES", ["session.db"])]  # type: ignore[attr-defined]


def test_the_text_form_says_what_to_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "server.js").write_text(SERVER + "import pg from 'pg';\n")
    assert main(["lint-app"]) == 0
    out = capsys.readouterr().out
    assert "SQL_DIALECT insert-or: 1 place\n  server.js:7  INSERT OR IGNORE" in out
    assert "write: INSERT … ON CONFLICT DO NOTHING" in out
    assert "5 places in" in out


def test_a_file_is_not_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x").write_text("")
    assert main(["lint-app", "x"]) == 2
    assert "not a folder" in capsys.readouterr().err


@given(st.text(alphabet="abc'\"`\\/${}\n;+ (", max_size=60))
def test_the_scanner_ends_and_places_are_places_of_the_file(source: str) -> None:
    for literal in literals(source, SCRIPT):
        for offset, character in enumerate(literal.text):
            place = literal.place(offset)
            assert 0 <= place < len(source)
            assert character in (source[place], " ", "_")
            # Lines are what a reader is told.
            assert (character == "\n") == (source[place] == "\n")


@given(st.text(alphabet="abc'\"\\{}\n fr#", max_size=60))
def test_any_text_may_be_called_python(source: str) -> None:
    for literal in python_literals(source):
        assert literal.text
        assert 0 <= literal.place(0) <= len(source)


@pytest.mark.parametrize(
    ("text", "statement", "piece"),
    [
        ("SELECT a FROM b", True, False),
        ("\n  -- why\n  select a\n  from b", True, False),
        ("Select an item from the list", False, False),
        ("update available", False, False),
        ("drop me a line", False, False),
        ("you are logged in (as admin)", False, False),
        ("name LIKE ?", False, True),
        ("AND price >= ?", False, True),
        ("datetime('now')", False, True),
        ("SELECT last_insert_rowid()", True, False),
    ],
)
def test_sql_is_told_from_sentences(text: str, statement: bool, piece: bool) -> None:
    assert (is_statement(text), is_piece(text)) == (statement, piece)
