"""What a rehearsed cutover and rollback leave: the comparison at home knows what the application wrote meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
from support.processes import nasmigrate

from nasmigrate.schema.model import SourceSchema
from nasmigrate.schema.plan import Plan
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.workflows.rehearsal_writer import LARGEST, statements


def rehearsed(folder: Path, script: str) -> str:
    """What a rehearsal of the file says that the script makes, once every finding is accepted; it passes."""
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.executescript(script)
    (folder / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n')
    nasmigrate(folder, "plan", "--write-accepts")
    done = nasmigrate(folder, "rehearse")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0, said
    return said


def planned(folder: Path) -> tuple[Plan, SourceSchema]:
    """The plan of the file, and its schema."""
    (folder / "nasmigrate.toml").write_text('[source]\npath = "app.db"\n')
    nasmigrate(folder, "plan")
    plan = Plan.model_validate_json((folder / ".nasmigrate/runs/latest/plan.json").read_bytes())
    with closing(apsw.Connection(str(folder / "app.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return plan, inspect(connection)


def test_synthetic_writes_keep_to_what_was_left_out(tmp_path: Path) -> None:
    """A UNIQUE or a CHECK that Postgres does not have still holds in SQLite, where the rows come home to."""
    said = rehearsed(
        tmp_path,
        """
        CREATE TABLE d (id INTEGER PRIMARY KEY, data TEXT, note TEXT);
        CREATE UNIQUE INDEX d_ext ON d (json_extract(data, '$.id'));
        INSERT INTO d VALUES (1, '{"id": 1}', 'a'), (2, '{"id": 2}', 'b'), (3, '{"id": 3}', 'c');
        CREATE TABLE e (id INTEGER PRIMARY KEY, s TEXT, e TEXT, CHECK (julianday(e) >= julianday(s)));
        INSERT INTO e VALUES (1, '2024-01-01', '2024-01-02'), (2, '2025-01-01', '2025-01-02');
        CREATE TABLE k12 (id INTEGER PRIMARY KEY, v UNIQUE);
        INSERT INTO k12 VALUES (1, 5), (2, '5'), (3, x'35');
        CREATE TABLE gen (id INTEGER PRIMARY KEY, a INT, b INT AS (a * 2) STORED UNIQUE);
        INSERT INTO gen VALUES (1, 1), (2, 2), (3, NULL);
        """,
    )
    assert "under writes to 4 of 4 tables" in said


def test_the_gate_names_tables_without_a_write(tmp_path: Path) -> None:
    """An empty table takes no UPDATE, and a trigger would write what nobody foresees."""
    said = rehearsed(
        tmp_path,
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, n INT CHECK (n > 0), s TEXT CHECK (s <> ''));
        INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b');
        CREATE TABLE log (id INTEGER PRIMARY KEY, s TEXT);
        CREATE TABLE counted (n INTEGER PRIMARY KEY);
        INSERT INTO counted VALUES (1);
        CREATE TRIGGER counts AFTER UPDATE ON counted BEGIN INSERT INTO log (s) VALUES ('x'); END;
        """,
    )
    assert "under writes to 1 of 3 tables, none to counted, log" in said
    assert "no row was changed on Postgres, so none had to come home" in said
    assert "measured on a copy under synthetic writes" in said


def test_a_cutover_without_writes_says_so(tmp_path: Path) -> None:
    said = rehearsed(
        tmp_path,
        """
        CREATE TABLE t (n INTEGER PRIMARY KEY);
        INSERT INTO t VALUES (1);
        CREATE TRIGGER more AFTER UPDATE ON T BEGIN INSERT INTO t VALUES (NULL); END;
        """,
    )
    assert "was cut over; nothing was written to it meanwhile" in said
    assert "measured on a copy that nothing wrote to" in said


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
        plan, schema = planned(tmp_path)
        columns = [("t", "x"), ("t", "value"), ("a", "v")]
        every = [statement for _, statement in statements(plan, schema)]
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
        ((_, statement),) = statements(*planned(tmp_path))
        connection.execute("UPDATE t SET x = CAST(x'00' || id AS BLOB) WHERE octet_length(x) < 6")
        connection.execute(statement, (0, 1)).fetchall()
        after = [size for (size,) in connection.execute("SELECT octet_length(x) FROM t ORDER BY id")]
    assert after == [LARGEST, 2, LARGEST + 1, 2, LARGEST, LARGEST + 1]
