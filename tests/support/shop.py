"""An application with a memory: it writes to the engine that its env file names, and knows what must be there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
from support.night import Night

from nasmigrate.core.envfile import read_env_file

BUSY_TIMEOUT = 4.0
ADDED = "2026-02-01 10:00:00"
Execute = Callable[[str, tuple[Any, ...]], Any]


@dataclass
class Content:
    """Names by product, and (product, tag)."""

    products: dict[int, str] = field(default_factory=dict)
    tags: set[tuple[int, str]] = field(default_factory=set)

    def without(self, product: int) -> None:
        """A product goes, and its tags with it."""
        self.products.pop(product, None)
        self.untagged(product)

    def untagged(self, product: int) -> None:
        """The tags of a product go."""
        self.tags = {tag for tag in self.tags if tag[0] != product}


@dataclass
class Shop:
    """The application of a night; `content` is what was acknowledged to it."""

    night: Night
    content: Content

    def write(self, what: str, product: int, other: int) -> bool:
        """One transaction; whether it was acknowledged. Nobody else writes to these tables."""
        where = read_env_file(self.night.env_file)["DATABASE"]
        try:
            if where.startswith("/"):
                with closing(sqlite3.connect(where, timeout=BUSY_TIMEOUT, isolation_level=None)) as file:
                    file.execute("PRAGMA foreign_keys = ON")
                    file.execute("BEGIN")
                    after = WRITES[what](file.execute, self.content, product, other, sqlite=True)
                    file.execute("COMMIT")
            else:
                with psycopg.connect(where, options=f"-c statement_timeout={BUSY_TIMEOUT:g}s") as server:

                    def execute(statement: str, values: tuple[Any, ...] = ()) -> Any:
                        return server.execute(statement.replace("?", "%s"), values)

                    after = WRITES[what](execute, self.content, product, other, sqlite=False)
        except (sqlite3.Error, psycopg.Error):
            return False
        self.content = after
        return True

    def check(self, engine: str) -> None:
        """What the engine that serves holds is what was acknowledged."""
        there = read(self.night, engine)
        assert there == self.content, difference(there, self.content)


def read(night: Night, engine: str) -> Content:
    """What an engine holds."""
    queries = "SELECT id, name FROM products", "SELECT product, tag FROM tags"
    if engine == "SQLite":
        with closing(sqlite3.connect(night.source, timeout=BUSY_TIMEOUT)) as file:
            products, tags = (file.execute(query).fetchall() for query in queries)
    else:
        with psycopg.connect(night.dsn) as server:
            products, tags = (server.execute(query).fetchall() for query in queries)
    return Content(products=dict(products), tags=set(tags))


def difference(there: Content, wanted: Content) -> str:
    """For a failing test's message."""
    products = set(there.products.items()) ^ set(wanted.products.items())
    return f"products {sorted(products)[:5]}, tags {sorted(there.tags ^ wanted.tags)[:5]} are on one side only"


# -- the transactions ------------------------------------------------------------------------------------------------


def _copy(content: Content) -> Content:
    return Content(products=dict(content.products), tags=set(content.tags))


def _upserted(execute: Execute, after: Content, product: int, name: str) -> None:
    execute(
        "INSERT INTO products VALUES (?, ?, 0.5, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        (product, name, ADDED),
    )
    after.products[product] = name


def upsert(execute: Execute, content: Content, product: int, other: int, *, sqlite: bool) -> Content:
    """INSERT … ON CONFLICT DO UPDATE."""
    after = _copy(content)
    _upserted(execute, after, product, f"upsert {other}")
    return after


def replace(execute: Execute, content: Content, product: int, other: int, *, sqlite: bool) -> Content:
    """INSERT OR REPLACE, which deletes the row in its way, and by a cascade its tags; Postgres has the upsert alone."""
    after = _copy(content)
    if sqlite:
        execute("INSERT OR REPLACE INTO products VALUES (?, ?, 0.5, ?)", (product, f"replace {other}", ADDED))
        after.untagged(product)
        after.products[product] = f"replace {other}"
    else:
        _upserted(execute, after, product, f"replace {other}")
    return after


def remove(execute: Execute, content: Content, product: int, other: int, *, sqlite: bool) -> Content:
    """DELETE with a cascade."""
    after = _copy(content)
    execute("DELETE FROM products WHERE id = ?", (product,))
    after.without(product)
    return after


def exchange(execute: Execute, content: Content, product: int, other: int, *, sqlite: bool) -> Content:
    """A product gets another's tags."""
    after = _copy(content)
    _upserted(execute, after, product, f"exchange {other}")
    for owner, tag in sorted(content.tags):
        if owner == other and (product, tag) not in after.tags:
            execute("INSERT INTO tags VALUES (?, ?)", (product, tag))
            after.tags.add((product, tag))
    return after


def savepoint(execute: Execute, content: Content, product: int, other: int, *, sqlite: bool) -> Content:
    """What was done after a savepoint is taken back, the rest stays."""
    after = _copy(content)
    _upserted(execute, after, product, f"savepoint {other}")
    execute("SAVEPOINT inner_one", ())
    execute("DELETE FROM products WHERE id <> ?", (product,))
    execute("ROLLBACK TO inner_one", ())
    execute("RELEASE inner_one", ())
    return after


WRITES: dict[str, Callable[..., Content]] = {
    "upsert": upsert,
    "replace": replace,
    "remove": remove,
    "exchange": exchange,
    "savepoint": savepoint,
}
