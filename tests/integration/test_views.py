"""Views give in Postgres the rows that they give in SQLite, or they are not carried; one that does not is seen."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.config import Config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.schema.plan import Plan
from nasmigrate.verify.views import compare_views
from nasmigrate.workflows.plan import plan

TABLES = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT COLLATE NOCASE, made DATETIME, active BOOLEAN, score REAL,
    "odd ""name" TEXT, token UUID
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER REFERENCES users, cents INTEGER, paid BOOLEAN DEFAULT 0,
    on_day DATE, picture BLOB, meta JSON
);
CREATE TABLE tags (label TEXT, user_id INTEGER);
"""

CARRIED = (
    "SELECT * FROM users",
    "SELECT u.*, o.id AS order_id FROM users u, orders o WHERE u.id = o.user_id",
    "SELECT o.id, cents / 100.0 AS amount, cents / 7 AS part, cents % 7 AS rest FROM orders AS o",
    "SELECT name, o.cents FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.paid ORDER BY name DESC, o.cents",
    "SELECT name FROM users u LEFT OUTER JOIN orders o ON o.user_id = u.id WHERE o.id IS NULL",
    "SELECT count(*), count(cents), count(DISTINCT user_id), sum(cents), avg(cents), min(cents) m FROM orders",
    "SELECT user_id, count(*) AS n, coalesce(sum(cents), 0) total FROM orders GROUP BY user_id HAVING n > 1",
    "SELECT u.name, u.made, sum(o.cents) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.id",
    "SELECT paid, max(on_day) AS last, min(on_day) first FROM orders GROUP BY 1 ORDER BY last DESC",
    "SELECT substr(name, 1, 1) AS letter, count(*) FROM users GROUP BY letter ORDER BY 2 DESC, letter",
    "SELECT sum(CASE WHEN paid THEN cents ELSE 0 END) AS paid, sum(paid) AS n FROM orders",
    "SELECT count(*) FILTER (WHERE paid) AS n, sum(cents) FILTER (WHERE cents > 10) AS s FROM orders",
    "SELECT DISTINCT user_id, paid FROM orders ORDER BY user_id",
    "SELECT name, (SELECT count(*) FROM orders o WHERE o.user_id = users.id) AS n FROM users",
    "SELECT name, (SELECT max(on_day) FROM orders WHERE user_id = users.id) AS last FROM users",
    "SELECT name FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.cents > 50)",
    "SELECT name FROM users WHERE NOT EXISTS (SELECT * FROM orders WHERE user_id = users.id)",
    "SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE paid)",
    "SELECT id FROM users WHERE id NOT IN (SELECT user_id FROM orders)",
    "SELECT s.letter || '-' || s.n AS k FROM (SELECT substr(name, 1, 1) AS letter, id AS n FROM users) AS s",
    "WITH big AS (SELECT user_id AS u, cents FROM orders WHERE cents > 30) SELECT u, count(*) FROM big GROUP BY u",
    "SELECT id, name FROM users UNION ALL SELECT user_id, label FROM tags",
    "SELECT name FROM users UNION SELECT label FROM tags",
    "WITH x AS (SELECT id FROM users) SELECT id FROM x UNION ALL SELECT cents FROM orders",
    "SELECT email FROM users WHERE email = 'ANNA@x' ORDER BY email",
    "SELECT name FROM users WHERE name LIKE '%a_' OR \"odd \"\"name\" > 'm' ORDER BY name COLLATE NOCASE",
    "SELECT made, token, meta, picture FROM users JOIN orders ON orders.user_id = users.id",
    "SELECT made FROM users WHERE made >= '2024-01-15 00:00:00' ORDER BY made DESC",
    "SELECT score * 2 AS twice, score / 3 AS third, -score m, 1 AS one, NULL AS nix, 'x' AS x, x'00' AS b FROM users",
    "SELECT active, NOT active AS inactive, active AND score > 1 AS both, name = \"Anna\" AS is_anna FROM users",
    "SELECT iif(active, name, 'nobody') AS who, ifnull(score, 0.5) AS s FROM users",
    "SELECT a.id, b.id AS other FROM users a CROSS JOIN users b WHERE a.id < b.id",
    "SELECT * FROM view_1",
    "SELECT user_id, n FROM view_7 WHERE total > 10",
    "SELECT 1 AS one, 'two' AS two",
)  # fmt: skip
"""Views 1, 2, … of the file; some read earlier ones."""

REFUSED = {
    "SELECT user_id, cents FROM orders GROUP BY user_id": "neither grouped nor aggregated",
    "SELECT id, max(cents) FROM orders": "neither grouped nor aggregated",
    "SELECT * FROM orders LIMIT 2": "LIMIT",
    "SELECT sum(score) FROM users": "order of the rows",
    "SELECT group_concat(name) FROM users": "group_concat()",
    "SELECT DISTINCT email FROM users": "DISTINCT",
    "SELECT email, count(*) FROM users GROUP BY email": "GROUP BY",
    "SELECT max(email) FROM users": "max()",
    "SELECT rowid FROM users": "not a column",
    "SELECT strftime('%Y', made) FROM users": "strftime()",
    "SELECT name, (SELECT cents FROM orders WHERE user_id = users.id) AS c FROM users": "other than one row",
    "SELECT name FROM users NATURAL JOIN tags": "METHOD",
    "SELECT name FROM users JOIN tags USING (id)": "USING",
    "SELECT name = 5 AS n FROM users": "compares",
    "SELECT id FROM users UNION ALL SELECT name FROM users": "UNION",
    "SELECT id FROM users EXCEPT SELECT user_id FROM orders": "EXCEPT",
    "SELECT row_number() OVER () FROM users": "row_number()",
    "SELECT round(score, 1) FROM users": "round()",
    "SELECT * FROM sqlite_schema": "no table or view",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c": "c()",
    "SELECT nosuch FROM users": "no such column: nosuch",
    "SELECT id FROM gone": "no such table",
}


def make_source(path: Path, views: dict[str, str]) -> None:
    chance = random.Random(41)
    names = ["Anna", "anna", "Bert", "Éva", "éva", "Zoe", "ärger", ""]
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        for number in range(40):
            name = chance.choice(names)
            day = f"2024-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}"
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    name,
                    chance.choice([None, f"{name}@x"]),
                    chance.choice([None, f"{day} 00:00:0{number % 10}"]),
                    chance.choice([None, 0, 1]),
                    chance.choice([None, 0.1, 2.5, -1.25, 1e300]),
                    chance.choice(names),
                    f"a0eebc99-9c0b-4ef8-bb6d-{number:012d}",
                ),
            )
            for _ in range(chance.randint(0, 4)):
                connection.execute(
                    "INSERT INTO orders (user_id, cents, paid, on_day, picture, meta) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        chance.choice([None, number, number, number]),
                        chance.choice([None, 0, 7, 100, -3]),
                        chance.choice([0, 1]),
                        chance.choice([None, day]),
                        chance.choice([None, b"\x00\xff"]),
                        chance.choice([None, '{"a": 1}']),
                    ),
                )
            connection.execute("INSERT INTO tags VALUES (?, ?)", (chance.choice(names), chance.randint(0, 60)))
        for name, query in views.items():
            connection.execute(f"CREATE VIEW {name} AS {query}")
        connection.commit()


@pytest.fixture
def pipeline(database: str, tmp_path: Path) -> Pipeline:
    return Pipeline(conninfo=database, base=tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "source.db"
    make_source(path, {f"view_{number}": query for number, query in enumerate(CARRIED, start=1)})
    yield path


def test_views_give_the_same_rows(source: Path, pipeline: Pipeline) -> None:
    result, made = pipeline.copy(source)
    assert [f"{finding.object}: {finding.message}" for finding in made.findings if "VIEW" in finding.code] == []
    assert {view.name for view in made.views} == {f"view_{number}" for number in range(1, len(CARRIED) + 1)}
    assert failed_gates(result, ("objects", "views", "counts", "digests", "round-trip")) == []
    (gate,) = (gate for gate in result.gates if gate.name == "views")
    assert gate.checked == len(CARRIED)
    with psycopg.connect(pipeline.conninfo) as connection:
        for view in made.views:
            rows = connection.execute(f'SELECT count(*) FROM "{view.name}"'.encode()).fetchone()
            with closing(sqlite3.connect(source)) as file:
                assert rows == file.execute(f"SELECT count(*) FROM {view.name}").fetchone()


@pytest.mark.parametrize(
    "other",
    [
        "SELECT id, name FROM users WHERE id <> 3",
        "SELECT id, CASE id WHEN 3 THEN 'other' ELSE name END COLLATE \"C\" AS name FROM users",
        "SELECT id, name FROM users UNION ALL SELECT id, name FROM users WHERE id = 3",
        "SELECT id / (id - 3) AS id, name FROM users",
    ],
)
def test_a_view_that_gives_other_rows_is_seen(tmp_path: Path, pipeline: Pipeline, other: str) -> None:
    path = tmp_path / "source.db"
    make_source(path, {"people": "SELECT id, name FROM users"})
    result, made = pipeline.copy(path)
    assert failed_gates(result, ("objects", "views")) == []
    with psycopg.connect(pipeline.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE OR REPLACE VIEW people AS {other}".encode())
        outcome = compare_views(path, connection, made, tmp_path)
    assert outcome.gate.status == "fail"
    assert "VIEW_NOT_TRANSLATED:people" in outcome.gate.detail
    assert [difference.object for difference in outcome.differences] == ["view people"]
    verified = pipeline.verify(path)
    assert {gate.name for gate in verified.gates if gate.status == "fail"} >= {"objects", "views"}
    assert verified.exit_code == 3


def planned(path: Path) -> Plan:
    """The plan of a file, without a target."""
    result = plan(Context(config=Config(), base=path.parent, reporter=Silent()), path)
    assert result.run_directory is not None
    return Plan.model_validate_json((Path(result.run_directory) / "plan.json").read_text())


def test_a_view_that_takes_too_long_is_inconclusive(tmp_path: Path, database: str) -> None:
    path = tmp_path / "source.db"
    five = ", ".join(f"users u{number}" for number in range(5))
    make_source(path, {"slow": f"SELECT count(*) AS n FROM {five}"})
    with psycopg.connect(database) as connection:
        outcome = compare_views(path, connection, planned(path), tmp_path, seconds=1)
    assert outcome.gate.status == "inconclusive"
    assert "slow" in outcome.gate.detail


@pytest.mark.parametrize("query", REFUSED)
def test_what_may_give_other_rows_is_not_carried(tmp_path: Path, query: str) -> None:
    path = tmp_path / "source.db"
    make_source(path, {"v": query})
    made = planned(path)
    assert made.views == ()
    assert made.not_carried == ("view v",)
    (finding,) = (finding for finding in made.findings if finding.object == "v")
    assert finding.code in ("VIEW_NOT_TRANSLATED", "VIEW_BROKEN")
    assert REFUSED[query] in finding.message
