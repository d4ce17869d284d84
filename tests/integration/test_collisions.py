"""Unique keys as mapping rules leave them: what would be a duplicate in Postgres is known before the first write."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from support.pipeline import Pipeline, failed_gates

from nasmigrate.core.config_model import ORPHAN_RULES, ColumnSection
from nasmigrate.core.errors import RuleRefused
from nasmigrate.schema.evidence import Collisions
from nasmigrate.schema.quarantine import kept_rows
from nasmigrate.sqlite.collisions import find_collisions
from nasmigrate.sqlite.inspect import inspect
from nasmigrate.sqlite.open import open_snapshot

UPPER, LOWER = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
INDEX = "sqlite_autoindex_t_1"


def collisions(path: Path, script: str, rules: Mapping[str, tuple[str, ...]]) -> dict[str, Collisions]:
    """The collisions of the file that a script makes, by the name of the index."""
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("known", 1, lambda value: value, deterministic=True)
        connection.executescript(script)
    with closing(open_snapshot(path)) as connection:
        schema = inspect(connection)
    values = {name: names for name, names in rules.items() if not set(names) & set(ORPHAN_RULES)}
    orphans = {name: names[0] for name, names in rules.items() if set(names) & set(ORPHAN_RULES)}
    found = find_collisions(path, schema, values, kept_rows(schema, orphans))
    return {index: one for (_, index), one in found.items()}


@pytest.mark.parametrize(
    ("declared", "first", "second", "rule"),
    [
        ("UUID", f"'{UPPER}'", f"'{LOWER}'", "uuid-canonical"),
        ("DATETIME", "'2024-01-01 00:00:00'", "'2024-01-01T00:00:00'", "naive-as-utc"),
        ("BOOLEAN", "'true'", "1", "bool-words"),
        ("INTEGER", "110", "110.00000000000001", "money-cents-snap"),
        ("TEXT", "'a' || char(0)", "'a\u2400'", "nul-in-text=replace"),
        ("TEXT", "x'61'", "'a'", "blob-as-text"),
    ],
)
def test_two_values_that_a_rule_makes_one(tmp_path: Path, declared: str, first: str, second: str, rule: str) -> None:
    script = f"""
    CREATE TABLE t(id INTEGER PRIMARY KEY, v {declared} UNIQUE);
    INSERT INTO t(v) VALUES ({first}), ({second}), (NULL), (NULL);
    """
    expected = {INDEX: Collisions(count=2, keys=("id=1", "id=2"))}
    assert collisions(tmp_path / "a.db", script, {"t.v": (rule,)}) == expected


def test_the_other_columns_of_a_key_count(tmp_path: Path) -> None:
    """Text is compared as the index does; a NULL equals nothing."""
    script = f"""
    CREATE TABLE t(a TEXT COLLATE NOCASE, n NUMERIC, u UUID, UNIQUE (a, n, u));
    INSERT INTO t VALUES ('x', 1, '{UPPER}'), ('y', 1, '{LOWER}'), (NULL, 1, '{UPPER}'), (NULL, 1, '{LOWER}');
    """
    rules = {"t.u": ("uuid-canonical",)}
    assert collisions(tmp_path / "a.db", script, rules) == {}
    more = f"{script} INSERT INTO t VALUES ('X', 1.0, '{LOWER}');"
    assert collisions(tmp_path / "b.db", more, rules)[INDEX].count == 2


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_text_of_any_bytes_is_compared(tmp_path: Path, encoding: str) -> None:
    script = f"""
    PRAGMA encoding = '{encoding}';
    CREATE TABLE t(id INTEGER PRIMARY KEY, b TEXT UNIQUE, u UUID, UNIQUE (b, u));
    INSERT INTO t(b, u) VALUES (CAST(x'ff00d8' AS TEXT), '{UPPER}'), (CAST(x'fe00d8' AS TEXT), '{LOWER}');
    """
    rules = {"t.b": ("invalid-utf8=bytea",), "t.u": ("uuid-canonical",)}
    assert collisions(tmp_path / "a.db", script, rules) == {}


def test_rows_outside_a_partial_index_and_rows_set_aside_do_not_collide(tmp_path: Path) -> None:
    script = f"""
    CREATE TABLE p(id INTEGER PRIMARY KEY);
    CREATE TABLE t(id INTEGER PRIMARY KEY, u UUID, live INT, p INT REFERENCES p);
    CREATE UNIQUE INDEX partial ON t(u) WHERE live = 1 -- only those
    ;
    CREATE UNIQUE INDEX opaque ON t(u) WHERE known(live);
    INSERT INTO p VALUES (1);
    INSERT INTO t(u, live, p) VALUES ('{UPPER}', 1, 1), ('{LOWER}', 0, 1), ('{LOWER[:-1]}2', 1, 9);
    """
    rules: dict[str, tuple[str, ...]] = {"t.u": ("uuid-canonical",), "t.p": ("orphans=quarantine",)}
    assert collisions(tmp_path / "a.db", script, rules) == {}
    aside = f"{script} INSERT INTO t(u, live, p) VALUES ('{UPPER[:-1]}2', 1, 1);"
    assert collisions(tmp_path / "b.db", aside, rules) == {}
    inside = f"{script} INSERT INTO t(u, live, p) VALUES ('{{{LOWER}}}', 1, 1);"
    assert collisions(tmp_path / "c.db", inside, rules) == {"partial": Collisions(count=2, keys=("id=1", "id=4"))}


def test_the_key_may_be_left_out_instead(database: str, tmp_path: Path) -> None:
    """The refusal is of the rule beside the key: without the key, the column takes the rule."""
    source = tmp_path / "source.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE t(a BOOLEAN, b INT, PRIMARY KEY (a, b)); INSERT INTO t VALUES ('true', 1), (1, 1), (0, 2);"
            f"CREATE TABLE u(id INTEGER PRIMARY KEY, v UUID UNIQUE); INSERT INTO u(v) VALUES ('{UPPER}'), ('{LOWER}');"
        )
    columns = {"t.a": ColumnSection(rule=("bool-words",)), "u.v": ColumnSection(rule=("uuid-canonical",))}
    pipeline = Pipeline(conninfo=database, base=tmp_path)
    with pytest.raises(RuleRefused) as caught:
        pipeline.copy(source, columns=columns)
    message = "rule bool-words is refused for t.a: 2 rows would be equal in the unique key (a, b) of t"
    assert [message in check for check in caught.value.checks] == [True, False]
    left_out = ("INDEX_NOT_TRANSLATED:sqlite_autoindex_u_1",)
    result, plan = pipeline.copy(source, columns={"u.v": columns["u.v"]}, accept=left_out)
    assert failed_gates(result) == []
    assert plan.table("u").column("v").codec == "uuid"
