"""A file made to harm its reader ends in an error with a name, within the deadline; nothing in it is executed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from nasmigrate.core.config_model import Config, SourceSection
from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError, SourceCorrupt, SourceError, SourceHostile
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.sqlite import open as open_module
from nasmigrate.sqlite.open import length_limit, open_snapshot, open_source
from nasmigrate.workflows.plan import plan

ROWS = "INSERT INTO t VALUES (1, 'a'), (2, 'b');"


def made(folder: Path, *statements: str) -> Path:
    path = folder / "app.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); {ROWS}" + "".join(statements))
    return path


def planned(source: Path, deadline: float = 2.0) -> Result:
    """`plan` with a short deadline; the source and its folder are unchanged afterwards."""
    before, names = source.read_bytes(), {path.name for path in source.parent.iterdir()}
    config = Config(source=SourceSection(deadline=deadline))
    try:
        return plan(Context(config=config, base=source.parent, reporter=Silent()), source)
    finally:
        assert source.read_bytes() == before
        assert {path.name for path in source.parent.iterdir()} - names <= {".nasmigrate"}


def findings(result: Result) -> set[str]:
    return {finding.code for finding in result.findings}


@pytest.mark.parametrize(
    "view",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "SELECT load_extension('/tmp/evil.so')",
        "SELECT a.a FROM t a, t b, t c, t d WHERE a.a LIKE '%' || hex(zeroblob(9000)) || '%'",
        "SELECT * FROM pragma_writable_schema(1)",
        "SELECT fts3_tokenizer('simple', x'4141414141414141')",
        "SELECT readfile('/etc/passwd')",
    ],
)
def test_a_view_is_not_read(tmp_path: Path, view: str) -> None:
    source = made(tmp_path, f"CREATE VIEW v AS {view};")
    result = planned(source)
    assert [table.rows_source for table in result.tables] == [2]


def test_a_view_named_like_a_table_is_not_taken_for_it(tmp_path: Path) -> None:
    endless = "CREATE VIEW T2 AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    source = made(
        tmp_path,
        "CREATE VIEW t2 AS SELECT 1; PRAGMA writable_schema = ON;",
        f"UPDATE sqlite_schema SET sql = '{endless}' WHERE name = 't2';",
    )
    with pytest.raises(SourceCorrupt, match="no row for the view 'T2'"):
        planned(source)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_endless_sql_is_interrupted(tmp_path: Path) -> None:
    looks = 0

    def passed() -> bool:
        nonlocal looks
        looks += 1
        return looks > 3

    with closing(open_snapshot(made(tmp_path))) as connection:
        with pytest.raises(apsw.InterruptError), open_module.interrupted_when(connection, passed):
            connection.execute(ENDLESS).fetchall()
        # The next statement is not concerned.
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(2,)]


# A column that is added later is computed by its readers only.
GENERATED = "CREATE TABLE g(id INTEGER PRIMARY KEY); INSERT INTO g VALUES (1);"


@pytest.mark.parametrize(
    "expression",
    [
        "hex(zeroblob(400000000))",
        "printf('%.*c', 900000000, 'x')",
        "replace(printf('%.*c', 30000, 'x'), 'x', printf('%.*c', 30000, 'y'))",
    ],
)
def test_a_giant_generated_value_is_refused(tmp_path: Path, expression: str) -> None:
    source = made(tmp_path, GENERATED, f"ALTER TABLE g ADD COLUMN b AS ({expression});")
    with pytest.raises(SourceHostile) as caught:
        planned(source, deadline=30)
    assert (caught.value.code, caught.value.exit_code) == ("NM0709", 7)
    assert str(source) in caught.value.message


def test_many_large_generated_values_are_refused(tmp_path: Path) -> None:
    source = made(
        tmp_path,
        "CREATE TABLE g(id INTEGER PRIMARY KEY, b AS (zeroblob(60000000)));",
        "INSERT INTO g SELECT a.id * 10 + b.id FROM (SELECT 1 id UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) a,",
        "(SELECT 1 id UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5) b;",
    )
    with pytest.raises(SourceHostile, match="generated columns of 'g' come to"):
        planned(source, deadline=30)


def test_an_expression_that_no_one_can_interrupt_ends_at_the_deadline(tmp_path: Path) -> None:
    # One call of instr() over two long strings: SQLite looks at nothing until it is done, in an hour or so.
    source = made(
        tmp_path,
        GENERATED,
        "ALTER TABLE g ADD COLUMN b AS (instr(printf('%.*c', 30000000, 'x'), printf('%.*c', 15000000, 'x') || 'y'));",
    )
    with pytest.raises(SourceHostile, match="takes too long"):
        planned(source, deadline=1)


def test_a_generated_column_of_ordinary_size_is_no_matter(tmp_path: Path) -> None:
    source = made(tmp_path, "CREATE TABLE g(a, b AS (hex(a)), c AS (a * 2) STORED); INSERT INTO g VALUES (x'00ff');")
    assert {table.name: table.rows_source for table in planned(source).tables} == {"g": 1, "t": 2}


def test_values_are_limited_by_the_size_of_the_file() -> None:
    assert length_limit(4096) == 64 * 2**20
    assert length_limit(100 * 2**20) == 200 * 2**20
    assert length_limit(2**40) == 10**9


# -- b-trees that are none ---------------------------------------------------------------------------------------

PAGE = 4096


def patched(path: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def large(folder: Path) -> tuple[Path, int]:
    """A table of two levels, and its root page."""
    path = made(folder)
    with closing(sqlite3.connect(path)) as db:
        db.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 300) for n in range(10, 500)])
        db.commit()
        [(root,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 't'")
    return path, int(root)


def test_a_tree_that_contains_itself_is_refused(tmp_path: Path) -> None:
    path, root = large(tmp_path)

    def loop(content: bytearray) -> None:
        base = (root - 1) * PAGE
        assert content[base] == 5, "an interior page"
        first = int.from_bytes(content[base + 12 : base + 14], "big")
        content[base + first : base + first + 4] = root.to_bytes(4, "big")

    with pytest.raises(SourceCorrupt):
        planned(patched(path, loop))


def test_a_tree_whose_children_are_one_page_is_refused(tmp_path: Path) -> None:
    path, root = large(tmp_path)

    def same(content: bytearray) -> None:
        base = (root - 1) * PAGE
        cells = int.from_bytes(content[base + 3 : base + 5], "big")
        for number in range(cells):
            cell = base + int.from_bytes(content[base + 12 + 2 * number : base + 14 + 2 * number], "big")
            content[cell : cell + 4] = content[base + 8 : base + 12]

    with pytest.raises(SourceCorrupt):
        planned(patched(path, same))


def test_a_table_that_is_not_in_the_order_of_its_key_is_refused(tmp_path: Path) -> None:
    path = made(
        tmp_path, "CREATE TABLE kv(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO kv VALUES ('a', 1), ('b', 2);"
    )
    with closing(sqlite3.connect(path)) as db:
        [(root,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'kv'")

    def swap(content: bytearray) -> None:
        at = (int(root) - 1) * PAGE + 8
        content[at : at + 4] = content[at + 2 : at + 4] + content[at : at + 2]

    with pytest.raises(SourceCorrupt, match="PRIMARY KEY order"):
        planned(patched(path, swap))


def test_a_free_list_that_never_ends_is_refused(tmp_path: Path) -> None:
    path, _ = large(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM t WHERE id > 20")

    def loop(content: bytearray) -> None:
        trunk = int.from_bytes(content[32:36], "big")
        assert trunk, "there are free pages"
        content[(trunk - 1) * PAGE : (trunk - 1) * PAGE + 4] = trunk.to_bytes(4, "big")

    with pytest.raises(SourceCorrupt):
        planned(patched(path, loop))


def endless_schema(folder: Path) -> Path:
    """sqlite_schema as a tree in which every page is a child twenty deep: SQLite would read it for years."""
    path = folder / "app.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(a)")
    return path


def schema_dag(content: bytearray) -> None:
    """Make page 1 interior over a chain of interior pages, each of which names the next one hundreds of times."""
    depth, fan = 12, 200
    leaf = bytearray(content[:PAGE])
    pages = len(content) // PAGE
    content.extend(bytes(PAGE * (depth + 1)))
    # A leaf whose rows are those of automatic indexes, which SQLite may read again and again.
    target = pages + depth
    content[target * PAGE : (target + 1) * PAGE] = _leaf_of(leaf)
    for level in range(depth + 1):
        page = 0 if level == 0 else pages + level - 1
        child = pages + level if level < depth else target
        start = 100 if page == 0 else 0
        body = bytearray(PAGE)
        if page == 0:
            body[:100] = content[:100]
        body[start] = 5
        body[start + 3 : start + 5] = fan.to_bytes(2, "big")
        for number in range(fan):
            at = PAGE - 6 * (number + 1)
            body[at : at + 6] = (child + 1).to_bytes(4, "big") + bytes([0x81, number & 0x7F])
            body[start + 12 + 2 * number : start + 14 + 2 * number] = at.to_bytes(2, "big")
        body[start + 5 : start + 7] = (PAGE - 6 * fan).to_bytes(2, "big")
        body[start + 8 : start + 12] = (child + 1).to_bytes(4, "big")
        content[page * PAGE : (page + 1) * PAGE] = body
    content[28:32] = (len(content) // PAGE).to_bytes(4, "big")


def _leaf_of(first_page: bytearray) -> bytes:
    """A leaf page of sqlite_schema with one row that names an automatic index of a table that is not there."""
    record = _record(None, "x", "x", 0, None)
    body = bytearray(PAGE)
    body[0] = 13
    cell = bytes([len(record), 1]) + record
    body[3:5] = (1).to_bytes(2, "big")
    body[5:7] = (PAGE - len(cell)).to_bytes(2, "big")
    body[8:10] = (PAGE - len(cell)).to_bytes(2, "big")
    body[PAGE - len(cell) :] = cell
    return bytes(body)


def _record(*values: str | int | None) -> bytes:
    types, content = bytearray(), bytearray()
    for value in values:
        if value is None:
            types.append(0)
        elif isinstance(value, int):
            types.append(8)
        else:
            types.append(13 + 2 * len(value))
            content += value.encode()
    return bytes([len(types) + 1]) + bytes(types) + bytes(content)


@pytest.mark.parametrize("opener", [open_source, open_snapshot])
def test_a_schema_without_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: Callable[[Path], apsw.Connection]
) -> None:
    path = patched(endless_schema(tmp_path), schema_dag)
    monkeypatch.setattr(open_module, "SCHEMA_DEADLINE", 0.5)
    with pytest.raises(SourceError):
        opener(path)


def test_a_schema_too_deep_to_read_is_refused(tmp_path: Path) -> None:
    deep = "(" * 80 + "1" + ")" * 80
    source = made(tmp_path, f"CREATE TABLE c(a CHECK ({deep}), b DEFAULT ({deep}));")
    try:
        planned(source)
    except NasmigrateError as error:
        assert error.exit_code in (6, 7)


def test_a_schema_whose_index_has_no_such_column_is_refused(tmp_path: Path) -> None:
    # Found by the damaged files: one letter of a CREATE INDEX is another one.
    source = made(
        tmp_path,
        "CREATE INDEX i ON t(lower(a)) WHERE a IS NOT NULL; PRAGMA writable_schema = ON;",
        "UPDATE sqlite_schema SET sql = replace(sql, 'lower(a)', 'lower(q)') WHERE name = 'i';",
    )
    with pytest.raises(SourceCorrupt, match="no such column"):
        planned(source)


def test_two_thousand_objects_are_read_in_time(tmp_path: Path) -> None:
    source = made(tmp_path, "BEGIN;", *[f"CREATE VIEW v{n} AS SELECT {n};" for n in range(2000)], "COMMIT;")
    assert findings(planned(source, deadline=20))


def test_what_is_refused_leaves_no_partial_snapshot(tmp_path: Path) -> None:
    path, root = large(tmp_path)
    with pytest.raises(SourceCorrupt):
        planned(patched(path, lambda content: content.__setitem__((root - 1) * PAGE, 0xFF)))
    assert not list((tmp_path / ".nasmigrate").rglob("*.partial*"))
