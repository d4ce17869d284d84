"""The rules over the application's SQL: what Postgres refuses or answers otherwise is found, what it takes is not."""

from __future__ import annotations

import pytest

from nasmigrate.schema.dialect import Names, check
from nasmigrate.schema.plan import Plan, PlanColumn, PlanTable

NAMES = Names.of(
    Plan(
        encoding="UTF-8",
        tables=(
            PlanTable(
                name="users",
                key=("id",),
                primary_key=("id",),
                columns=(
                    PlanColumn(name="id", declared_type="INTEGER", codec="int8", pg_type="bigint", nullable=False),
                    PlanColumn(name="isActive", declared_type="BOOLEAN", codec="bool", pg_type="boolean"),
                    PlanColumn(name="role", declared_type="TEXT", codec="text", pg_type="text", nullable=False),
                    PlanColumn(name="ctid", target="ctid_", declared_type="TEXT", codec="text", pg_type="text"),
                    PlanColumn(name="last_seen", declared_type="TEXT", codec="text", pg_type="text"),
                ),
            ),
        ),
    )
)


def found(sql: str, names: Names = NAMES) -> list[tuple[str, str]]:
    """(rule, what stands there) of every hit; the offset of each must be where that stands."""
    hits, _ = check(sql, names)
    for hit in hits:
        head = hit.found.removesuffix("()").removeprefix("ORDER BY ").split()[0].lower()
        at = sql[hit.offset :].lower()
        assert at.startswith(head) or head in " ".join(sql.lower().split()), hit
    return [(hit.rule, hit.found) for hit in hits]


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        ('SELECT id FROM users WHERE "isActive" = 1', {"boolean-as-number"}),
        ('UPDATE users SET "isActive" = 0', {"boolean-as-number"}),
        ("SELECT id FROM users WHERE role LIKE 'a%'", {"like-case"}),
        ("SELECT id FROM users WHERE role GLOB 'a*'", {"glob"}),
        ("SELECT id FROM users ORDER BY last_seen", {"nulls-order"}),
        ("SELECT id FROM users ORDER BY role, last_seen DESC LIMIT 5", {"nulls-order"}),
        ("SELECT role, last_seen, max(id) FROM users GROUP BY role", {"bare-column"}),
        ("SELECT role, count(*) FROM users", {"bare-column"}),
        ("SELECT 7/2", {"division"}),
        ("SELECT '10' + 5", {"text-as-number"}),
        ("INSERT OR REPLACE INTO users (id) VALUES (1)", {"insert-or"}),
        ("REPLACE INTO users (id) VALUES (1)", {"insert-or"}),
        ("INSERT OR IGNORE INTO users (id) VALUES (1)", {"insert-or"}),
        ("SELECT datetime('now')", {"moment-function"}),
        ("SELECT date(last_seen, '-7 days') FROM users", {"moment-function"}),
        ("SELECT strftime('%Y', last_seen) FROM users", {"moment-function"}),
        ("SELECT rowid FROM users", {"rowid"}),
        ("SELECT last_insert_rowid()", {"last-insert-id"}),
        ("SELECT ifnull(role, '') FROM users", {"function"}),
        ("SELECT max(1, 2)", {"function"}),
        ("SELECT json_extract(role, '$.a') FROM users", {"json-function"}),
        ("SELECT id FROM users LIMIT 5, 10", {"limit-comma"}),
        ("SELECT id FROM users WHERE id = ?", {"placeholder"}),
        ("SELECT id FROM users WHERE id = @id", {"placeholder"}),
        ("SELECT id FROM users WHERE id = :id", {"placeholder"}),
        ("SELECT id FROM users WHERE isActive", {"folded-name"}),
        ("SELECT ctid FROM users", {"renamed"}),
        ('SELECT "ISACTIVE" FROM users', {"folded-name"}),
        ('SELECT id FROM users WHERE role = "admin"', {"string-in-double-quotes"}),
        ("SELECT [id] FROM `users`", {"quoted-name"}),
        ("SELECT id FROM users WHERE role IS 'a'", {"is-value"}),
        ("SELECT id FROM users WHERE role IS NOT 'a'", {"is-value"}),
        ("SELECT id FROM users WHERE id == 1", {"equality"}),
        ("SELECT name FROM sqlite_master", {"catalogue"}),
        ("PRAGMA foreign_keys = ON", {"statement"}),
        ("BEGIN IMMEDIATE", {"statement"}),
        ("SELECT id FROM users WHERE role = 'a' COLLATE NOCASE", {"collation"}),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", {"statement"}),
    ],
)
def test_what_postgres_refuses_or_answers_otherwise_is_found(sql: str, rules: set[str]) -> None:
    assert {rule for rule, _ in found(sql)} == rules


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT id, "isActive" FROM users WHERE id = $1 AND "isActive" ORDER BY id LIMIT 5 OFFSET 10',
        'SELECT id FROM users WHERE "isActive" = true',
        "SELECT id FROM users ORDER BY last_seen NULLS FIRST",
        "SELECT id FROM users ORDER BY last_seen DESC NULLS LAST",
        "SELECT id FROM users ORDER BY role",
        "SELECT role, count(*) FROM users GROUP BY role",
        "SELECT role AS r, count(*) FROM users GROUP BY r",
        "SELECT id, role, count(*) FROM users GROUP BY id",
        "SELECT role, count(*) FROM users GROUP BY 1",
        "SELECT role, count(*) OVER () FROM users",
        "SELECT role, (SELECT count(*) FROM users) FROM users",
        "SELECT max(id) FROM users",
        "SELECT id FROM users WHERE role IS NULL OR role IS NOT NULL OR role IS DISTINCT FROM 'a'",
        "SELECT 'datetime(', 'LIKE ? == rowid' FROM users",
        "INSERT INTO users (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET role = excluded.role RETURNING id",
        "SELECT id FROM users WHERE role = 'it''s'",
        "SELECT id -- LIKE ? is not meant here\nFROM users",
        "SELECT date(last_seen) FROM users",
        'SELECT u."like" FROM users u',
    ],
)
def test_what_postgres_takes_is_not_found(sql: str) -> None:
    assert found(sql) == []


def test_without_a_plan_nothing_is_said_about_types() -> None:
    assert found("SELECT id FROM users WHERE isActive = 1 ORDER BY last_seen", Names()) == []


def test_a_text_that_is_no_sql_is_not_read_whole() -> None:
    assert check("SELECT FROM WHERE 'open", Names()) == ([], False)


def test_a_clause_that_the_application_fills_in_does_not_hide_the_rest() -> None:
    hits, whole = check("SELECT role, max(id) FROM users WHERE id = 1 _______ ORDER BY id", NAMES)
    assert whole
    assert [hit.rule for hit in hits] == ["bare-column"]
