"""The catalogue against the plan: each kind of object that is gone, changed or not planned is seen."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from support.plans import column, ordinary_plan

from nasmigrate.core.result import Difference
from nasmigrate.postgres.catalogue import catalogue_facts, compare_catalogue, compare_facts, user_objects
from nasmigrate.postgres.migrate import upgrade
from nasmigrate.schema.plan import Plan, PlanTable
from nasmigrate.schema.revisions import write_revisions

OTHER_SETTINGS = (
    "-c search_path=pg_catalog -c quote_all_identifiers=on -c datestyle=german -c bytea_output=escape"
    " -c timezone=Asia/Kolkata -c extra_float_digits=-3"
)
TABLES = ["users", "Orders", "alembic_version"]


@pytest.fixture
def loaded(database: str, tmp_path: Path) -> str:
    """A database that holds the ordinary plan."""
    write_revisions(ordinary_plan(), tmp_path)
    upgrade(database, tmp_path, "head")
    return database


def compare(database: str, plan: Plan | None = None, *, constraints: bool = True) -> list[Difference]:
    with psycopg.connect(database) as connection:
        return compare_catalogue(connection, plan or ordinary_plan(), constraints=constraints)[0]


def execute(database: str, statement: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(statement.encode())


CHANGES = [
    ("DROP TABLE users CASCADE", "table"),
    ("CREATE TABLE stray (a int)", "table"),
    ("CREATE VIEW stray AS SELECT 1", "table"),
    ("CREATE SEQUENCE stray", "table"),
    ("ALTER TABLE alembic_version SET UNLOGGED", "table"),
    ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", "table"),
    ("ALTER TABLE users ADD extra text", "columns"),
    ("ALTER TABLE users DROP born", "column born"),
    ("ALTER TABLE users DROP born, ADD born date", "columns"),
    ("ALTER TABLE users RENAME born TO birthday", "column birthday"),
    ("ALTER TABLE users ALTER seen TYPE timestamp(6)", "column seen"),
    ("ALTER TABLE users ALTER made TYPE timestamp(6)", "column made"),
    ('ALTER TABLE users ALTER name TYPE text COLLATE "default"', "column name"),
    ("ALTER TABLE users ALTER email DROP NOT NULL", "column email"),
    ("ALTER TABLE users ALTER name SET NOT NULL", "column name"),
    ("ALTER TABLE users ALTER name DROP DEFAULT", "column name"),
    ("ALTER TABLE users ALTER born SET DEFAULT now()", "column born"),
    ("ALTER TABLE users ALTER label DROP EXPRESSION", "column label"),
    ('ALTER TABLE users DROP label, ADD label text COLLATE "C"', "column label"),
    ("ALTER TABLE users ALTER id DROP IDENTITY", "column id"),
    ("ALTER TABLE users ALTER id SET GENERATED ALWAYS", "column id"),
    ('ALTER TABLE "Orders" DROP CONSTRAINT "Orders_pkey" CASCADE', "primary key Orders_pkey"),
    (
        'ALTER TABLE "Orders" DROP CONSTRAINT "Orders_pkey" CASCADE;'
        ' ALTER TABLE "Orders" ADD CONSTRAINT "Orders_pkey" PRIMARY KEY (user_id, number)',
        "primary key Orders_pkey",
    ),
    ("ALTER TABLE users DROP CONSTRAINT users_email", "index users_email"),
    (
        "ALTER TABLE users DROP CONSTRAINT users_email; CREATE UNIQUE INDEX users_email ON users (email)",
        "index users_email",
    ),
    (
        "ALTER TABLE users DROP CONSTRAINT users_email, ADD CONSTRAINT users_email UNIQUE (email) DEFERRABLE",
        "index users_email",
    ),
    ("DROP INDEX users_seen; CREATE INDEX users_seen ON users (seen DESC, name)", "index users_seen"),
    (
        "DROP INDEX users_seen; CREATE INDEX users_seen ON users (seen, name) WHERE active",
        "index users_seen",
    ),
    (
        "DROP INDEX users_seen; CREATE INDEX users_seen ON users (name, seen DESC) WHERE active",
        "index users_seen",
    ),
    (
        "DROP INDEX users_seen; CREATE INDEX users_seen ON users (seen DESC NULLS LAST, name) WHERE active",
        "index users_seen",
    ),
    ("DROP INDEX users_sum; CREATE INDEX users_sum ON users (score, id)", "index users_sum"),
    ("DROP INDEX users_sum; CREATE INDEX users_sum ON users ((score + 1)) INCLUDE (id)", "index users_sum"),
    ("DROP INDEX users_lower; CREATE INDEX users_lower ON users (lower(email) DESC)", "index users_lower"),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_sum'::regclass", "index users_sum"),
    ("UPDATE pg_index SET indisready = false WHERE indexrelid = 'users_sum'::regclass", "index users_sum"),
    ("CREATE INDEX stray ON users USING hash (name)", "index stray"),
    ('ALTER TABLE "Orders" DROP CONSTRAINT orders_user', "foreign key orders_user"),
    ('ALTER TABLE "Orders" ALTER CONSTRAINT orders_user DEFERRABLE', "foreign key orders_user"),
    (
        'ALTER TABLE "Orders" ALTER CONSTRAINT orders_replaces INITIALLY IMMEDIATE',
        "foreign key orders_replaces",
    ),
    ('ALTER TABLE "Orders" DISABLE TRIGGER ALL', "foreign key orders_user"),
    *(
        (
            f'ALTER TABLE "Orders" DROP CONSTRAINT orders_user, ADD CONSTRAINT orders_user FOREIGN KEY ({child})'
            f" REFERENCES users (id) {actions}",
            "foreign key orders_user",
        )
        for child, actions in (
            ("user_id", "ON UPDATE CASCADE ON DELETE CASCADE"),
            ("user_id", "ON DELETE RESTRICT"),
            ("user_id", "ON UPDATE CASCADE ON DELETE RESTRICT NOT VALID"),
            ("user_id", "MATCH FULL ON UPDATE CASCADE ON DELETE RESTRICT"),
            ("number", "ON UPDATE CASCADE ON DELETE RESTRICT"),
        )
    ),
    ("ALTER TABLE users DROP CONSTRAINT users_score", "check users_score"),
    ("ALTER TABLE users RENAME CONSTRAINT users_score TO other", "check other"),
    (
        "ALTER TABLE users DROP CONSTRAINT users_score, ADD CONSTRAINT users_score CHECK (score < 9) NOT VALID",
        "check users_score",
    ),
    ("ALTER TABLE users ADD CONSTRAINT stray EXCLUDE (id WITH =)", "constraint stray"),
    (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER stray BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
        "trigger stray",
    ),
    ("CREATE RULE stray AS ON DELETE TO users DO INSTEAD NOTHING", "trigger rule stray"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES, ids=[change for change, _ in CHANGES])
def test_every_change_is_named_by_plan_and_by_facts(loaded: str, change: str, named: str) -> None:
    assert compare(loaded) == []
    with psycopg.connect(loaded) as connection:
        recorded = catalogue_facts(connection, TABLES)
    execute(loaded, change)
    found = compare(loaded)
    assert named in {difference.object for difference in found}
    assert {difference.kind for difference in found} == {"object"}
    assert {difference.found_by for difference in found} == {"catalogue"}
    assert all((difference.source or "").startswith("planned ") for difference in found)
    assert all((difference.target or "").startswith("found ") for difference in found)
    # Facts are of the named tables only; a table that nobody planned is for the comparison with the plan.
    if "stray AS SELECT" not in change and change not in ("CREATE TABLE stray (a int)", "CREATE SEQUENCE stray"):
        with psycopg.connect(loaded) as connection:
            assert compare_facts(recorded, catalogue_facts(connection, TABLES))


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (
            "ALTER TABLE users DROP CONSTRAINT users_score, ADD CONSTRAINT users_score CHECK (score < 99)",
            'constraint "users"."users_score"',
        ),
        ("ALTER TABLE users ALTER name SET DEFAULT 'other'", 'column "users"."name"'),
        (
            'ALTER TABLE users DROP label, ADD label text COLLATE "C" GENERATED ALWAYS AS (email) STORED',
            'column "users"."label"',
        ),
        (
            "DROP INDEX users_sum; CREATE INDEX users_sum ON users ((score + 2), id)",
            'index "users"."users_sum"',
        ),
        (
            "DROP INDEX users_seen; CREATE INDEX users_seen ON users (seen DESC, name) WHERE name <> 'b'",
            'index "users"."users_seen"',
        ),
    ],
)
def test_the_text_of_an_expression_is_compared_with_what_was_recorded(loaded: str, change: str, fact: str) -> None:
    with psycopg.connect(loaded) as connection:
        recorded = catalogue_facts(connection, TABLES)
    execute(loaded, change)
    assert compare(loaded) == []
    with psycopg.connect(loaded) as connection:
        (difference,) = compare_facts(recorded, catalogue_facts(connection, TABLES))
    assert difference.object == fact
    assert difference.table == "users"


def test_facts_do_not_depend_on_the_session(loaded: str) -> None:
    with psycopg.connect(loaded) as connection:
        connection.execute("ALTER TABLE users ALTER born SET DEFAULT '2026-02-01'")
        connection.execute("ALTER TABLE users ALTER made SET DEFAULT '2026-02-01 00:00+00'")
        connection.execute("ALTER TABLE users ALTER score SET DEFAULT 0.1::float8")
        connection.commit()
        usual = catalogue_facts(connection, TABLES)
    with psycopg.connect(loaded, options=OTHER_SETTINGS) as connection:
        assert catalogue_facts(connection, TABLES) == usual
    assert list(usual) == sorted(usual)
    assert usual['table "Orders"'] == 'table ("user_id", "number", "replaces_user", "replaces_number")'
    assert "REFERENCES public.users(id)" in usual['constraint "Orders"."orders_user"']


def test_reading_leaves_the_callers_search_path_and_transaction_as_they_were(loaded: str) -> None:
    with psycopg.connect(loaded) as connection:
        connection.execute("SET LOCAL search_path = nasmigrate, public")
        compare_catalogue(connection, ordinary_plan())
        assert connection.execute("SHOW search_path").fetchone() == ("nasmigrate, public",)
        connection.rollback()
    with psycopg.connect(loaded, autocommit=True) as connection:
        before = connection.execute("SHOW search_path").fetchone()
        compare_catalogue(connection, ordinary_plan())
        assert connection.execute("SHOW search_path").fetchone() == before
    with psycopg.connect(loaded) as connection:
        connection.read_only = True
        assert compare_catalogue(connection, ordinary_plan())[0] == []


def test_names_that_look_alike_once_joined_are_two_facts(database: str) -> None:
    execute(database, 'CREATE TABLE "a.b" (c int); CREATE TABLE a ("b.c" int); CREATE TABLE "a""" (b int)')
    with psycopg.connect(database) as connection:
        facts = catalogue_facts(connection, ["a.b", "a", 'a"'])
    assert set(facts) == {
        'table "a.b"',
        'column "a.b"."c"',
        'table "a"',
        'column "a"."b.c"',
        'table "a"""',
        'column "a"""."b"',
    }
    assert {difference.table for difference in compare_facts(facts, {})} == {"a.b", "a", 'a"'}


def test_nothing_planned_and_nothing_found_is_nothing_checked(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert compare_catalogue(connection, Plan(encoding="UTF-8", tables=())) == ([], 0)


def test_without_constraints_only_tables_and_columns_are_asked_for(loaded: str) -> None:
    plan = Plan(encoding="UTF-8", tables=(PlanTable(name="t", columns=(column("c"),)), *ordinary_plan().tables))
    assert [(d.table, d.object, d.target) for d in compare(loaded, plan, constraints=False)] == [
        ("t", "table", "found nothing")
    ]
    execute(loaded, "DROP INDEX users_sum")
    assert compare(loaded, constraints=False) == []


def test_an_empty_database_is_empty(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert user_objects(connection) == []


def test_our_own_schema_and_extensions_do_not_count(database: str) -> None:
    execute(
        database, "CREATE SCHEMA nasmigrate; CREATE TABLE nasmigrate.run (id bigint GENERATED BY DEFAULT AS IDENTITY)"
    )
    execute(database, "CREATE TEMP TABLE t (a int)")
    with psycopg.connect(database) as connection:
        assert user_objects(connection) == []


def test_everything_else_counts(database: str) -> None:
    execute(
        database,
        """
        CREATE SCHEMA other;
        CREATE TABLE other.plain (id bigint GENERATED BY DEFAULT AS IDENTITY);
        CREATE TABLE public.parts (a int) PARTITION BY RANGE (a);
        CREATE VIEW seen AS SELECT 1 AS one;
        CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
        CREATE SEQUENCE counter;
        CREATE TYPE mood AS ENUM ('good');
        CREATE TYPE pair AS (a int, b int);
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
        CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1';
        """,
    )
    with psycopg.connect(database) as connection:
        assert user_objects(connection) == [
            "function public.nothing",
            "function public.one",
            "materialized view public.kept",
            "sequence public.counter",
            "table other.plain",
            "table public.parts",
            "type public.mood",
            "type public.pair",
            "type public.short",
            "type public.span",
            "view public.seen",
        ]
