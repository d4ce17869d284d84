"""What is read from a SQLite schema, and what is refused because it cannot be read faithfully."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nasmigrate.core.errors import SchemaError, SourceCorrupt, SourceEmpty, SourceError
from nasmigrate.schema.model import Check, Column, ForeignKey, IndexTerm, OtherObject, SourceSchema, Table
from nasmigrate.sqlite import inspect as inspect_module
from nasmigrate.sqlite.inspect import count_rows, inspect
from nasmigrate.sqlite.open import open_source

Inspect = Callable[..., SourceSchema]


@pytest.fixture
def inspected(tmp_path: Path) -> Inspect:
    """Make a database from a script and read its schema as the tool does."""

    def run(script: str, *, after: Callable[[Path], None] | None = None) -> SourceSchema:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(script)
        if after is not None:
            after(path)
        with closing(open_source(path)) as connection:
            return inspect(connection)

    return run


def only(schema: SourceSchema) -> Table:
    [table] = schema.tables
    return table


def test_a_database_without_tables_is_empty(inspected: Inspect) -> None:
    with pytest.raises(SourceEmpty, match="no tables"):
        inspected("CREATE VIEW v AS SELECT 1; CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE t")


def test_columns(inspected: Inspect) -> None:
    table = only(
        inspected(
            """CREATE TABLE t(
                plain,
                name VARCHAR(10) NOT NULL DEFAULT 'it''s' COLLATE nocase,
                made TEXT DEFAULT (datetime('now')),
                "odd ""name" DECIMAL(10,2) DEFAULT -1.5 COLLATE "RTRIM",
                twice INT GENERATED ALWAYS AS (plain * 2) STORED,
                shown AS (name || ')')
            )"""
        )
    )
    assert table.columns == (
        Column(name="plain"),
        Column(name="name", declared_type="VARCHAR(10)", not_null=True, default_sql="'it''s'", collation="NOCASE"),
        Column(name="made", declared_type="TEXT", default_sql="datetime('now')"),
        Column(name='odd "name', declared_type="DECIMAL(10,2)", default_sql="-1.5", collation="RTRIM"),
        Column(name="twice", declared_type="INT", generated="stored", generated_sql="plain * 2"),
        Column(name="shown", generated="virtual", generated_sql="name || ')'"),
    )


@pytest.mark.parametrize(
    ("definition", "alias", "key"),
    [
        ("id INTEGER PRIMARY KEY", "id", ("id",)),
        ("id integer primary key autoincrement", "id", ("id",)),
        ("id INTEGER, PRIMARY KEY (id DESC)", "id", ("id",)),
        ("id INTEGER PRIMARY KEY UNIQUE", "id", ("id",)),
        ("id INTEGER PRIMARY KEY DESC", None, ("id",)),
        ("id INT PRIMARY KEY", None, ("id",)),
        ("id BIGINT UNIQUE PRIMARY KEY", None, ("id",)),
        ("id SERIAL PRIMARY KEY", None, ("id",)),
        ("id INTEGER, b, PRIMARY KEY (id, b)", None, ("id", "b")),
        ("a, b, c, PRIMARY KEY (c, a)", None, ("c", "a")),
        ("id INTEGER NOT NULL", None, ()),
    ],
)
def test_which_key_is_the_rowid(
    inspected: Inspect, tmp_path: Path, definition: str, alias: str | None, key: tuple[str, ...]
) -> None:
    table = only(inspected(f"CREATE TABLE t({definition})"))
    assert table.rowid_alias == alias
    assert table.primary_key == key
    # SQLite's own answer: only the alias turns an inserted NULL into the rowid.
    with closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.execute("INSERT INTO t DEFAULT VALUES" if key else "INSERT INTO t VALUES (1)")
        [(is_rowid,)] = db.execute(f"SELECT {key[0] if key else 'NULL'} IS rowid FROM t")
    assert bool(is_rowid) is (alias is not None)


def test_a_table_without_rowid_has_no_alias(inspected: Inspect) -> None:
    table = only(inspected("CREATE TABLE t(id INTEGER CONSTRAINT pk_t PRIMARY KEY, a ANY) WITHOUT ROWID, STRICT"))
    assert (table.without_rowid, table.strict, table.rowid_alias) == (True, True, None)
    assert (table.primary_key, table.primary_key_name) == (("id",), "pk_t")
    assert table.columns[0].not_null


def test_sequences(inspected: Inspect) -> None:
    schema = inspected(
        """
        CREATE TABLE used(id INTEGER PRIMARY KEY AUTOINCREMENT, a);
        INSERT INTO used(id) VALUES (20); DELETE FROM used;
        CREATE TABLE fresh(id INTEGER PRIMARY KEY AUTOINCREMENT);
        CREATE TABLE plain(id INTEGER PRIMARY KEY); INSERT INTO plain VALUES (5);
        CREATE TABLE doubled(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO doubled VALUES (3);
        INSERT INTO sqlite_sequence VALUES ('doubled', 9), ('doubled', 'x'), ('doubled', NULL);
        """
    )
    assert {table.name: (table.autoincrement, table.sequence) for table in schema.tables} == {
        "doubled": (True, 9),
        "fresh": (True, None),
        "plain": (False, None),
        "used": (True, 20),
    }


def test_foreign_keys(inspected: Inspect) -> None:
    schema = inspected(
        """
        CREATE TABLE Parent(Id INTEGER PRIMARY KEY, Code TEXT UNIQUE);
        CREATE TABLE pair(x, y, PRIMARY KEY (y, x));
        CREATE TABLE keyless(a);
        CREATE TABLE child(
            a CONSTRAINT fk_a REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
            b REFERENCES PARENT(code) ON UPDATE SET NULL,
            c, d,
            e REFERENCES nowhere, f REFERENCES nowhere(z), g REFERENCES keyless,
            CONSTRAINT fk_cd FOREIGN KEY (D, C) REFERENCES pair
            FOREIGN KEY (c, d) REFERENCES child(d, c), FOREIGN KEY (c, d) REFERENCES child(d, z),
            FOREIGN KEY (a) REFERENCES Parent(rowid)
        );
        """
    )
    assert schema.table("child").foreign_keys == (
        ForeignKey(
            columns=("a",), parent="Parent", parent_columns=("Id",), on_delete="CASCADE", deferred=True, name="fk_a"
        ),
        ForeignKey(columns=("b",), parent="Parent", parent_columns=("Code",), on_update="SET NULL"),
        ForeignKey(columns=("e",), parent="nowhere", parent_columns=()),
        ForeignKey(columns=("f",), parent="nowhere", parent_columns=()),
        ForeignKey(columns=("g",), parent="keyless", parent_columns=()),
        ForeignKey(columns=("d", "c"), parent="pair", parent_columns=("y", "x"), name="fk_cd"),
        ForeignKey(columns=("c", "d"), parent="child", parent_columns=("d", "c")),
        ForeignKey(columns=("c", "d"), parent="child", parent_columns=()),
        ForeignKey(columns=("a",), parent="Parent", parent_columns=()),
    )


def test_indexes(inspected: Inspect) -> None:
    table = only(
        inspected(
            """
            CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b, gone, UNIQUE (b, a COLLATE rtrim));
            CREATE INDEX plain ON t(a DESC, b COLLATE NOCASE);
            CREATE UNIQUE INDEX live ON t(a) WHERE gone IS NULL -- only the living
            ;
            CREATE INDEX computed ON t(lower(a) DESC, b, substr(b, 1, 2) COLLATE NOCASE);
            CREATE INDEX "by id" ON t(id, b);
            """
        )
    )
    by_name = {index.name: index for index in table.indexes}
    assert list(by_name) == sorted(by_name)
    assert by_name["plain"].terms == (
        IndexTerm(column="a", descending=True, collation="NOCASE"),
        IndexTerm(column="b", collation="NOCASE"),
    )
    live = by_name["live"]
    assert (live.unique, live.origin, live.where_sql) == (True, "c", "gone IS NULL")
    assert by_name["computed"].terms == (
        IndexTerm(expression_sql="lower(a)", descending=True),
        IndexTerm(column="b"),
        IndexTerm(expression_sql="substr(b, 1, 2) COLLATE NOCASE", collation="NOCASE"),
    )
    assert by_name["by id"].terms[0] == IndexTerm(column="id")
    constraint = by_name["sqlite_autoindex_t_1"]
    assert (constraint.unique, constraint.origin, constraint.sql) == (True, "u", None)
    assert constraint.terms == (IndexTerm(column="b"), IndexTerm(column="a", collation="RTRIM"))


def test_checks_keep_their_order_and_names(inspected: Inspect) -> None:
    table = only(
        inspected("CREATE TABLE t(a CHECK (a > 0) CONSTRAINT c1 CHECK ((a) < 9), b, CONSTRAINT c2 CHECK (a <> b))")
    )
    assert table.checks == (Check(sql="a > 0"), Check(sql="(a) < 9", name="c1"), Check(sql="a <> b", name="c2"))


def test_everything_else_is_listed(inspected: Inspect) -> None:
    schema = inspected(
        """
        CREATE TABLE notes(id INTEGER PRIMARY KEY, body);
        CREATE VIEW seen AS SELECT body FROM notes;
        CREATE VIEW broken AS SELECT absent FROM nowhere;
        CREATE TRIGGER kept AFTER INSERT ON notes BEGIN SELECT 1; END;
        CREATE VIRTUAL TABLE found USING fts5(body);
        CREATE VIRTUAL TABLE found_more USING fts5(body);
        ANALYZE;
        """
    )
    assert [table.name for table in schema.tables] == ["notes"]
    named = {(other.kind, other.name, other.table) for other in schema.others}
    shadows = {
        ("shadow table", f"{owner}_{suffix}", owner)
        for owner in ("found", "found_more")
        for suffix in ("data", "idx", "content", "docsize", "config")
    }
    assert named == shadows | {
        ("view", "seen", None),
        ("view", "broken", None),
        ("trigger", "kept", "notes"),
        ("virtual table", "found", None),
        ("virtual table", "found_more", None),
    }
    assert OtherObject(kind="view", name="seen", sql="CREATE VIEW seen AS SELECT body FROM notes") in schema.others


def edit_schema(path: Path, sql: str, *values: object) -> None:
    """Change the stored schema as an application with writable_schema, or damage, would."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(sql, values)
        db.commit()


def test_a_virtual_table_of_an_unknown_module_is_listed(inspected: Inspect) -> None:
    schema = inspected(
        "CREATE TABLE t(a); CREATE VIRTUAL TABLE v USING fts5(a)",
        after=lambda path: edit_schema(
            path, "UPDATE sqlite_schema SET sql = 'CREATE VIRTUAL TABLE v USING spell(a)' WHERE name = 'v'"
        ),
    )
    assert ("virtual table", "v") in {(other.kind, other.name) for other in schema.others}
    assert "t" in {table.name for table in schema.tables}


def test_a_collation_only_the_application_has(inspected: Inspect, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as db:
        db.create_collation("Phone", lambda a, b: (a > b) - (a < b))
        db.execute("CREATE TABLE t(a TEXT COLLATE Phone UNIQUE)")
    with closing(open_source(path)) as connection:
        table = only(inspect(connection))
    assert table.columns[0].collation == "Phone"
    assert table.indexes[0].terms == (IndexTerm(column="a", collation="Phone"),)


def test_facts_of_the_file(inspected: Inspect) -> None:
    schema = inspected(
        """
        PRAGMA encoding = 'UTF-16le'; PRAGMA user_version = 42; PRAGMA application_id = 7;
        CREATE TABLE "é""x"(a); CREATE UNIQUE INDEX i ON "é""x"(a); CREATE TABLE b(id INTEGER PRIMARY KEY);
        """
    )
    assert (schema.encoding, schema.user_version, schema.application_id) == ("UTF-16le", 42, 7)
    assert schema.sql_text == (
        ("index", "i", 'CREATE UNIQUE INDEX i ON "é""x"(a)'),
        ("table", "b", "CREATE TABLE b(id INTEGER PRIMARY KEY)"),
        ("table", 'é"x', 'CREATE TABLE "é""x"(a)'),
    )
    assert [table.name for table in schema.tables] == ["b", 'é"x']


@pytest.mark.parametrize("change", ["ANALYZE", "VACUUM", "INSERT INTO t VALUES (1)"])
def test_what_is_no_drift(inspected: Inspect, tmp_path: Path, change: str) -> None:
    before = inspected("CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (0)")
    with closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.execute(change)
        db.commit()
    with closing(open_source(tmp_path / "app.db")) as connection:
        assert inspect(connection).sql_text == before.sql_text


@pytest.mark.parametrize("change", ["ALTER TABLE t ADD COLUMN b", "DROP INDEX i", "CREATE TABLE sqlite_x(a)"])
def test_what_is_drift(inspected: Inspect, tmp_path: Path, change: str) -> None:
    before = inspected("CREATE TABLE t(a); CREATE INDEX i ON t(a)")
    with closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.execute(change.replace("sqlite_x", "sqlitex"))
    with closing(open_source(tmp_path / "app.db")) as connection:
        assert inspect(connection).sql_text != before.sql_text


def test_names_that_are_not_utf8_are_refused(inspected: Inspect) -> None:
    with pytest.raises(SourceCorrupt, match="not valid UTF-8"):
        inspected(
            "CREATE TABLE t(a, xyz)",
            after=lambda path: edit_schema(
                path,
                "UPDATE sqlite_schema SET sql = CAST(? AS TEXT) WHERE name = 't'",
                b'CREATE TABLE t(a, "\xff\xfe")',
            ),
        )


def test_a_schema_sqlite_cannot_parse_is_refused(inspected: Inspect) -> None:
    with pytest.raises(SourceError, match="malformed"):
        inspected(
            "CREATE TABLE t(a)",
            after=lambda path: edit_schema(path, "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a' WHERE name = 't'"),
        )


@pytest.mark.parametrize(
    ("read_as", "fact"),
    [
        ("CREATE TABLE t(a, c)", "column names"),
        ("CREATE TABLE t(a, b) STRICT", "table options"),
        ("CREATE TABLE t(a, b DEFAULT 1)", "default of column 'b'"),
        ("CREATE TABLE t(a, b NOT NULL)", "NOT NULL of column 'b'"),
        ("CREATE TABLE t(a, b COLLATE NOCASE)", "collation of column 'b'"),
        ("CREATE TABLE t(a, b AS (a))", "column 'b' is generated"),
        ("CREATE TABLE t(a PRIMARY KEY AUTOINCREMENT, b)", "AUTOINCREMENT"),
        ("CREATE TABLE t(a, b REFERENCES t)", "number of its foreign keys"),
    ],
)
def test_a_misread_table_is_refused(
    inspected: Inspect, monkeypatch: pytest.MonkeyPatch, read_as: str, fact: str
) -> None:
    # Were the reader of DDL ever wrong, a constraint would be lost in silence: it must not get past the pragmas.
    misread = inspect_module.parse_create_table(read_as)
    monkeypatch.setattr(inspect_module, "parse_create_table", lambda sql: misread)
    with pytest.raises(SchemaError, match=fact):
        inspected("CREATE TABLE t(a, b)")


def test_rows_are_counted_beside_an_index_by_the_applications_collation(tmp_path: Path) -> None:
    """SQLite counts by the smallest index, and cannot open that one."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as db:
        db.create_collation("LOCALIZED", lambda one, other: (one > other) - (one < other))
        db.executescript(
            "CREATE TABLE x (a INTEGER PRIMARY KEY, b TEXT, c TEXT); CREATE INDEX xb ON x (b COLLATE LOCALIZED);"
            "INSERT INTO x (b, c) VALUES ('a', 'long'), ('b', 'long');"
            "CREATE TABLE y (a TEXT COLLATE LOCALIZED PRIMARY KEY) WITHOUT ROWID; INSERT INTO y VALUES ('a');"
        )
    with closing(open_source(path)) as connection:
        assert (count_rows(connection, "x"), count_rows(connection, "y")) == (2, 1)
