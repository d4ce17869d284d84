"""What a rehearsed cutover and rollback leave: the comparison at home knows what the application wrote meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
from support.processes import nasmigrate

from nasmigrate.schema.plan import Plan
from nasmigrate.workflows.rehearsal_writer import LARGEST, statements


def test_an_original_that_was_written_over_is_no_difference(tmp_path: Path) -> None:
    """A value of another row, in a column of several classes: it comes home as what its own bytes say."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'k'), (2, x'00'), (3, 5);"
        )
    (tmp_path / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n[plan]\naccept = ["MIXED_CLASSES:t.x"]\n')
    done = nasmigrate(tmp_path, "rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "home-again" in done.stdout


def test_synthetic_writes_exchange_values_and_lose_none(tmp_path: Path) -> None:
    """A snapshot between two of them leads to the plan that was rehearsed, however few rows there are."""
    with closing(apsw.Connection(str(tmp_path / "app.db"))) as connection:
        connection.execute(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x, value TEXT);"
            "INSERT INTO t VALUES (1, 'k', 'a'), (2, x'00', NULL), (3, 5, 'b'), (4, 5.5, 'c');"
            'CREATE TABLE "a" (key_0 TEXT, "k b" BLOB, v INT, PRIMARY KEY (key_0, "k b")) WITHOUT ROWID;'
            "INSERT INTO \"a\" VALUES ('x', x'00', 1), ('x', x'01', 2), ('y', x'00', NULL);"
        )
        (tmp_path / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n')
        nasmigrate(tmp_path, "plan")
        plan = Plan.model_validate_json((tmp_path / ".nasmigrate/runs/latest/plan.json").read_bytes())
        columns = [("t", "x"), ("t", "value"), ("a", "v")]
        every = list(statements(plan))
        assert len(every) == len(columns)

        def rows() -> list[object]:
            return [*connection.execute("SELECT * FROM t"), *connection.execute('SELECT * FROM "a"')]

        def values() -> list[object]:
            return [
                connection.execute(f"SELECT typeof({column}), quote({column}) FROM {table} ORDER BY 1, 2").fetchall()
                for table, column in columns
            ]

        was, seen = values(), [rows()]
        for statement in every:
            for places in ((0, 1), (1, 2), (2, 2), (3, 0), (0, 9)):
                connection.execute(statement, places).fetchall()
                assert values() == was
                assert (rows() != seen[-1]) == (connection.changes() == 2)
                seen.append(rows())


def test_synthetic_writes_leave_large_values_alone(tmp_path: Path) -> None:
    """SQLite holds several copies of a value that it writes: memory that would count to the rehearsal."""
    with closing(apsw.Connection(str(tmp_path / "app.db"))) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)")
        connection.executemany(
            "INSERT INTO t VALUES (?, zeroblob(?))", ((n, (5, LARGEST, LARGEST + 1)[n % 3]) for n in range(6))
        )
        (tmp_path / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n')
        nasmigrate(tmp_path, "plan")
        plan = Plan.model_validate_json((tmp_path / ".nasmigrate/runs/latest/plan.json").read_bytes())
        (statement,) = statements(plan)
        connection.execute("UPDATE t SET x = CAST(x'00' || id AS BLOB) WHERE octet_length(x) < 6")
        connection.execute(statement, (0, 1)).fetchall()
        after = [size for (size,) in connection.execute("SELECT octet_length(x) FROM t ORDER BY id")]
    assert after == [LARGEST, 2, LARGEST + 1, 2, LARGEST, LARGEST + 1]
