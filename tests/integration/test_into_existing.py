"""Rows into tables that others made: what fits arrives and is proven, what does not is refused by its exact column."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.copies import gates, target

from nasmigrate.core.config import Config, load_config
from nasmigrate.core.context import Context
from nasmigrate.core.errors import RolledBack, StateError, TargetMismatch, TargetNotEmpty
from nasmigrate.core.progress import Silent
from nasmigrate.core.result import Result
from nasmigrate.workflows.copy import copy
from nasmigrate.workflows.into_existing import copy_into_existing
from nasmigrate.workflows.verify import verify

SOURCE = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name varchar(40) NOT NULL, code char(4), active bool NOT NULL, score real,
    price decimal(8, 2), born date, seen datetime, boss_id integer REFERENCES users, uid text, extra json,
    role varchar(10) DEFAULT 'user', level smallint, picture blob
);
CREATE TABLE orders (number varchar(12) PRIMARY KEY NOT NULL, user_id integer NOT NULL REFERENCES users, total bigint);
CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER);
INSERT INTO users VALUES
    (1, 'Ada', 'A001', 1, 1.5, 19.99, '1990-01-02', '2026-01-02 03:04:05', 3, '6f9619ff-8b86-d011-b42d-00c04fc964ff',
     '{"a": 1}', 'admin', 7, x'00ff'),
    (3, 'Bob', 'B002', 0, NULL, 5, NULL, '2026-01-02 03:04:05.250000', 1, NULL, NULL, 'user', -1, NULL);
INSERT INTO orders VALUES ('n-1', 3, 9007199254740993), ('n-2', 1, 0);
INSERT INTO knex_migrations VALUES (1, 'first', 1);
"""
TARGET = """
CREATE TYPE "Role" AS ENUM ('user', 'admin');
CREATE TABLE orders (number varchar(12) PRIMARY KEY, user_id int NOT NULL, total bigint, note text DEFAULT 'none');
CREATE TABLE users (
    id serial PRIMARY KEY, name varchar(40) NOT NULL, code char(4), active boolean NOT NULL, score double precision,
    price numeric(8, 2), born date, seen timestamptz, boss_id int REFERENCES users, uid uuid UNIQUE, extra jsonb,
    role "Role" NOT NULL DEFAULT 'user', level smallint, picture bytea
);
ALTER TABLE orders ADD CONSTRAINT orders_user FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
CREATE TABLE knex_migrations (id serial PRIMARY KEY, name varchar(255), batch int, at timestamptz DEFAULT now());
INSERT INTO knex_migrations (name, batch) VALUES ('first', 1);
"""
RULES = """
[columns."users.seen"]
rule = "naive-as-utc"
"""


def make(tmp_path: Path, dsn: str, *, source: str = SOURCE, existing: str = TARGET, settings: str = RULES) -> Path:
    """The source's file with the settings beside it; the target's tables."""
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        connection.executescript(source)
    (tmp_path / "nasmigrate.toml").write_text(settings)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(existing.encode())
    return tmp_path / "app.db"


def context(base: Path) -> Context:
    config: Config = load_config(base, environ={}).config
    return Context(config=config, base=base, reporter=Silent(), show_values=True)


def run(source: Path, dsn: str) -> Result:
    return copy_into_existing(context(source.parent), source, target(dsn), round_trip=True)


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(query.encode()).fetchall()


def test_every_type_takes_its_rows_and_the_sequences_follow(tmp_path: Path, database: str) -> None:
    result = run(make(tmp_path, database), database)
    assert result.exit_code == 0, [*result.differences, *result.gates]
    assert set(gates(result).values()) <= {"pass", "skipped"}
    assert result.excluded_tables == ("knex_migrations",)
    assert {finding.code for finding in result.findings if finding.table == "knex_migrations"} == {
        "HISTORY_TABLE",
        "TABLE_EXCLUDED",
    }
    assert rows(database, "SELECT name, code, active, price::text, seen::text, boss_id, role::text FROM users") == [
        ("Ada", "A001", True, "19.99", "2026-01-02 03:04:05+00", 3, "admin"),
        ("Bob", "B002", False, "5.00", "2026-01-02 03:04:05.25+00", 1, "user"),
    ]
    assert rows(database, "SELECT number, total, note FROM orders ORDER BY 1") == [
        ("n-1", 9007199254740993, "none"),
        ("n-2", 0, "none"),
    ]
    assert rows(database, "SELECT name FROM knex_migrations") == [("first",)]
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "INSERT INTO users (name, active) VALUES ('Cleo', true) RETURNING id, role::text"
        ).fetchone()
        assert found == (4, "user")
    # The row that the application wrote is seen.
    assert verify(context(tmp_path), tmp_path / "app.db", target(database), round_trip=True).exit_code == 3


def refused(tmp_path: Path, dsn: str, source: str, existing: str, settings: str = "") -> tuple[str, ...]:
    """What a target is refused for; nothing was written to it."""
    path = make(tmp_path, dsn, source=source, existing=existing, settings=settings)
    with pytest.raises(TargetMismatch) as caught:
        run(path, dsn)
    assert int(caught.value.exit_code) == 6
    assert rows(dsn, "SELECT to_regnamespace('nasmigrate')::text") == [(None,)]
    return caught.value.checks


MISMATCHES = [
    (
        "v INT",
        "(3000000000), (1)",
        "v integer",
        "INT_OVER_TARGET: t.v at id=1: integer(10 digits) does not fit integer",
    ),
    ("v INT", "(40000)", "v smallint", "INT_OVER_TARGET: t.v at id=1: integer(5 digits) does not fit smallint"),
    (
        "v VARCHAR(3)",
        "('abc'), ('abcdefg')",
        "v varchar(3)",
        "OVERLENGTH: t.v at id=2: text(7 chars) does not fit character varying(3)",
    ),
    ("v TEXT", "('äöü  ')", "v varchar(3)", "TRAILING_SPACES: t.v at id=1: text(5 chars)"),
    ("v TEXT", "('abc'), ('ab')", "v char(3)", "TRAILING_SPACES: t.v at id=2: text(2 chars) does not fit character(3)"),
    ("v DECIMAL", "(1.25), (1.255)", "v numeric(5,2)", "DECIMAL_OVER_TARGET: t.v at id=2: real(4 digits)"),
    ("v DECIMAL", "(1000)", "v numeric(5,2)", "DECIMAL_OVER_TARGET: t.v at id=1: integer(4 digits)"),
    ("v TEXT", "('x')", "v mood", "ENUM_OVER_TARGET: t.v at id=1: text(1 char) does not fit public.mood"),
    ("v INT", "('x')", "v bigint", "TARGET_TYPE_MISMATCH: t.v: the target's column is bigint"),
    ("v REAL", "(0.1)", "v real", "TARGET_TYPE_MISMATCH: t.v: the target's column is real"),
    ("v TEXT", "('10.0.0.1')", "v inet", "TARGET_TYPE_MISMATCH: t.v: the target's column is inet"),
    ("v BOOL", "(2)", "v boolean", "TARGET_TYPE_MISMATCH: t.v: the target's column is boolean"),
    ("v TEXT", "('2026-01-01 00:00:00.123')", "v timestamp(0)", "TARGET_TYPE_MISMATCH: t.v"),
    ("v DATETIME", "(1767322245678)", "v timestamptz", "rule epoch-ms would make it fit"),
    ("v DATETIME", "('2026-01-01 00:00:00')", "v timestamptz", "rule naive-as-utc would make it fit"),
    ("v TEXT", "('6F9619FF8B86D011B42D00C04FC964FF')", "v uuid", "rule uuid-canonical would make it fit"),
    ("v TEXT", """('{"b":1,"a":2}')""", "v jsonb", "rule json-reformat would make it fit"),
    ("v BOOL", "('yes'), (0)", "v boolean", "rule bool-words would make it fit"),
    ("v INT", "(NULL)", "v int NOT NULL", "TARGET_NOT_NULL: t.v: 1 NULL, which the target's column refuses"),
    ("v INT", "(1)", "w int", "TARGET_COLUMN_MISSING: t.v: the target has no column 'v'"),
    ("v INT", "(1)", "v int, w int NOT NULL", "TARGET_COLUMN_EXTRA: t: the target's column 'w' must have a value"),
    (
        "v INT",
        "(1)",
        "v int GENERATED ALWAYS AS (1) STORED",
        "TARGET_COLUMN_GENERATED: t.v: the target computes 'v' itself",
    ),
    (
        "v INT",
        "(7)",
        "v int REFERENCES t DEFERRABLE",
        "FK_ORPHANS: t: 1 row without the parent, written as it is, that t_v_fkey asks for",
    ),
]


@pytest.mark.parametrize(("column", "values", "existing", "words"), MISMATCHES, ids=[m[2] + m[1] for m in MISMATCHES])
def test_what_does_not_fit_is_refused_by_the_exact_column(
    tmp_path: Path, database: str, column: str, values: str, existing: str, words: str
) -> None:
    checks = refused(
        tmp_path,
        database,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {column}); INSERT INTO t (v) VALUES {values};",
        f"CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id int PRIMARY KEY, {existing});",
    )
    assert len(checks) == 1
    assert words in checks[0]


def test_everything_that_does_not_fit_is_said_at_once_with_the_rules_to_paste(tmp_path: Path, database: str) -> None:
    path = make(
        tmp_path,
        database,
        source="CREATE TABLE a (id INTEGER PRIMARY KEY, d DATETIME, n TEXT); CREATE TABLE b (x INT);"
        " INSERT INTO a VALUES (1, '2026-01-01', 'long'); INSERT INTO b VALUES (1);",
        existing="CREATE TABLE a (id bigint PRIMARY KEY, d timestamptz, n varchar(2)); CREATE VIEW b AS SELECT 1;",
        settings="",
    )
    with pytest.raises(TargetMismatch) as caught:
        run(path, database)
    assert [check.partition(":")[0] for check in caught.value.checks] == [
        "TARGET_TYPE_MISMATCH",
        "TARGET_TABLE_KIND",
        "OVERLENGTH",
    ]
    assert '[columns."a.d"]\nrule = "naive-as-utc"' in (caught.value.hint or "")


def test_a_parent_that_is_written_otherwise_is_none_in_postgres(tmp_path: Path, database: str) -> None:
    checks = refused(
        tmp_path,
        database,
        "CREATE TABLE a (id TEXT COLLATE NOCASE PRIMARY KEY NOT NULL); CREATE TABLE b (a_id TEXT REFERENCES a);"
        "INSERT INTO a VALUES ('x'); INSERT INTO b VALUES ('X');",
        "CREATE TABLE a (id text PRIMARY KEY); CREATE TABLE b (a_id text REFERENCES a);",
    )
    assert [check.partition(",")[0] for check in checks] == ["FK_ORPHANS: b: 1 row without the parent"]


SEEDED = """
CREATE TABLE kind (id int PRIMARY KEY, name text);
CREATE TABLE thing (id int PRIMARY KEY, kind_id int REFERENCES kind ON DELETE CASCADE);
CREATE TABLE other (id int PRIMARY KEY, kind_id int REFERENCES kind ON DELETE CASCADE);
INSERT INTO kind VALUES (1, 'one'), (2, 'two');
"""
SEEDS = "CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO kind VALUES (2, 'zwei'), (1, 'eins');"
THINGS = SEEDS + "CREATE TABLE thing (id INTEGER PRIMARY KEY, kind_id INT); INSERT INTO thing VALUES (1, 2);"
REPLACE = '[existing.seeds]\nkind = "replace"\n'
KEEP = '[existing.seeds]\nkind = "keep-if-equal"\n'


def test_rows_in_the_target_are_refused_unless_the_settings_speak_of_them(tmp_path: Path, database: str) -> None:
    path = make(tmp_path, database, source=THINGS, existing=SEEDED, settings="")
    with pytest.raises(TargetNotEmpty, match=r"kind \(2 rows\)") as caught:
        run(path, database)
    assert '[existing.seeds]\n"kind" = "replace"' in (caught.value.hint or "")
    assert rows(database, "SELECT name FROM kind ORDER BY id") == [("one",), ("two",)]


def test_seeds_are_replaced_and_no_cascade_acts(tmp_path: Path, database: str) -> None:
    """`other` is no table of the source: its row still points to a row that is there."""
    existing = SEEDED + "INSERT INTO other VALUES (5, 1);"
    result = run(make(tmp_path, database, source=THINGS, existing=existing, settings=REPLACE), database)
    assert result.exit_code == 0
    assert rows(database, "SELECT id, name FROM kind ORDER BY id") == [(1, "eins"), (2, "zwei")]
    assert rows(database, "SELECT * FROM other") == [(5, 1)]


def test_a_seed_that_others_need_cannot_vanish(tmp_path: Path, database: str) -> None:
    existing = SEEDED + "INSERT INTO kind VALUES (3, 'three'); INSERT INTO other VALUES (5, 3);"
    path = make(tmp_path, database, source=THINGS, existing=existing, settings=REPLACE)
    with pytest.raises(RolledBack, match="other: rows without the parent in kind") as caught:
        run(path, database)
    assert int(caught.value.exit_code) == 12
    assert len(rows(database, "SELECT * FROM kind")) == 3
    assert rows(database, "SELECT to_regnamespace('nasmigrate')::text") == [(None,)]


def test_equal_seeds_stay_as_they_are(tmp_path: Path, database: str) -> None:
    existing = SEEDED.replace("'one'", "'eins'").replace("'two'", "'zwei'")
    path = make(tmp_path, database, source=THINGS, existing=existing, settings=KEEP)
    before = rows(database, "SELECT xmin::text FROM kind ORDER BY id")
    assert run(path, database).exit_code == 0
    assert rows(database, "SELECT xmin::text FROM kind ORDER BY id") == before


def test_seeds_that_are_not_equal_are_not_kept(tmp_path: Path, database: str) -> None:
    path = make(tmp_path, database, source=THINGS, existing=SEEDED, settings=KEEP)
    with pytest.raises(RolledBack, match="SEED_DIFFERS: kind"):
        run(path, database)
    assert rows(database, "SELECT * FROM thing") == []


def test_what_postgres_refuses_leaves_the_target_as_it_was(tmp_path: Path, database: str) -> None:
    existing = SEEDED.replace("kind_id int REFERENCES kind ON DELETE CASCADE)", "kind_id int CHECK (kind_id < 2))", 1)
    path = make(tmp_path, database, source=THINGS, existing=existing, settings=REPLACE)
    with pytest.raises(RolledBack, match="the target is as it was"):
        run(path, database)
    assert rows(database, "SELECT name FROM kind ORDER BY id") == [("one",), ("two",)]


CYCLE = """
CREATE TABLE a (id int PRIMARY KEY, b_id int);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a);
ALTER TABLE a ADD CONSTRAINT a_b FOREIGN KEY (b_id) REFERENCES b;
CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b_id := NULL; RETURN NEW; END $$;
CREATE TRIGGER loud BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION loud();
"""


@pytest.mark.parametrize("superuser", [True, False])
def test_keys_in_a_circle_and_triggers_do_not_stand_in_the_way(tmp_path: Path, database: str, superuser: bool) -> None:
    source = (
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b_id INT); CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INT);"
        "INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (2, 1);"
    )
    path = make(tmp_path, database, source=source, existing=CYCLE, settings="")
    dsn = database
    with psycopg.connect(database, autocommit=True) as connection:
        name = connection.info.dbname
        role = f"owner_of_{name}"
        connection.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'secret'".encode())
        connection.execute(f'GRANT CREATE ON DATABASE "{name}" TO "{role}"'.encode())
        for table in ("TABLE a", "TABLE b", "FUNCTION loud()"):
            connection.execute(f'ALTER {table} OWNER TO "{role}"'.encode())
        connection.execute(f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"'.encode())
    if not superuser:
        dsn = psycopg.conninfo.make_conninfo(database, user=role, password="secret")
    try:
        assert run(path, dsn).exit_code == 0
        assert rows(database, "SELECT * FROM a") == [(1, 2)]
        with psycopg.connect(database) as connection:
            # The trigger and the keys are on again.
            assert connection.execute("INSERT INTO a VALUES (9, 1) RETURNING b_id").fetchone() == (None,)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute("INSERT INTO b VALUES (9, 99)")
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}"'.encode())
            connection.execute(f'DROP ROLE "{role}"'.encode())


NUMBERED = """
CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE b (id serial PRIMARY KEY, ticket bigserial);
CREATE SEQUENCE shared;
CREATE TABLE c (id int PRIMARY KEY DEFAULT nextval('shared'));
"""


def test_identities_serials_and_shared_sequences_go_on_after_the_highest_number(tmp_path: Path, database: str) -> None:
    source = (
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES (5); DELETE FROM a;"
        "INSERT INTO a VALUES (3);"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, ticket INT NOT NULL); INSERT INTO b VALUES (1, 70);"
        f"CREATE TABLE c (id INTEGER PRIMARY KEY); INSERT INTO c VALUES ({2**30 + 1});"
    )
    result = run(make(tmp_path, database, source=source, existing=NUMBERED, settings=""), database)
    assert result.exit_code == 0
    assert [gate.checked for gate in result.gates if gate.name == "sequences"] == [4]
    assert "INT4_HALF_USED:c.id" in {finding.identity for finding in result.findings}
    assert rows(database, "INSERT INTO a DEFAULT VALUES RETURNING id") == [(6,)]
    assert rows(database, "INSERT INTO b DEFAULT VALUES RETURNING id, ticket") == [(2, 71)]
    assert rows(database, "INSERT INTO c DEFAULT VALUES RETURNING id") == [(2**30 + 2,)]


def test_a_target_that_holds_a_copy_is_refused(tmp_path: Path, database: str) -> None:
    path = make(tmp_path, database)
    assert run(path, database).exit_code == 0
    with pytest.raises(TargetNotEmpty, match="holds a finished copy"):
        run(path, database)
    with pytest.raises(StateError, match="which is never half done"):
        copy(context(tmp_path), path, target(database), resume=True)


def test_renamed_tables_find_their_place(tmp_path: Path, database: str) -> None:
    settings = '[names]\nrule = "fold-names"\ntables = {"Person" = "people"}\n'
    source = """CREATE TABLE "Person" ("personId" INTEGER PRIMARY KEY, "fullName" TEXT);
    INSERT INTO "Person" VALUES (1, 'A');"""
    existing = "CREATE TABLE people (person_id int PRIMARY KEY, full_name varchar(9));"
    assert run(make(tmp_path, database, source=source, existing=existing, settings=settings), database).exit_code == 0
    assert rows(database, "SELECT * FROM people") == [(1, "A")]


def test_what_postgres_computes_itself_is_compared_and_not_written(tmp_path: Path, database: str) -> None:
    source = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, double INT GENERATED ALWAYS AS (a * 2) STORED,"
        " plain INT GENERATED ALWAYS AS (a + 1)); INSERT INTO t (a) VALUES (1), (NULL), (7);"
    )
    existing = (
        "CREATE TABLE t (id int PRIMARY KEY, a int, double int GENERATED ALWAYS AS (a * 2) STORED, plain bigint,"
        " later int GENERATED ALWAYS AS (a * 3) STORED);"
    )
    result = run(make(tmp_path, database, source=source, existing=existing, settings=""), database)
    assert result.exit_code == 0, [*result.differences, *result.gates]
    assert rows(database, "SELECT a, double, plain, later FROM t ORDER BY id") == [
        (1, 2, 2, 3),
        (None, None, None, None),
        (7, 14, 8, 21),
    ]


def test_a_target_that_computes_otherwise_is_seen(tmp_path: Path, database: str) -> None:
    source = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT GENERATED ALWAYS AS (a * 2) STORED);"
        "INSERT INTO t (a) VALUES (1);"
    )
    existing = "CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 3) STORED);"
    result = run(make(tmp_path, database, source=source, existing=existing, settings=""), database)
    assert (result.exit_code, gates(result)["digests"]) == (3, "fail")
    assert [(difference.column, difference.key) for difference in result.differences] == [("b", "id=1")]


def test_tables_without_a_key_are_copied_too(tmp_path: Path, database: str) -> None:
    source = "CREATE TABLE t (v varchar(3), n decimal(5, 1)); INSERT INTO t VALUES ('a', 1.5), ('a', 1.5), (NULL, 2);"
    result = run(
        make(
            tmp_path, database, source=source, existing="CREATE TABLE t (v varchar(3), n numeric(5, 1));", settings=""
        ),
        database,
    )
    assert result.exit_code == 0, [*result.differences, *result.gates]
    assert rows(database, "SELECT v, n::text FROM t ORDER BY 1") == [("a", "1.5"), ("a", "1.5"), (None, "2.0")]
