"""Any single change of any value, row or original is found by `verify` without the round trip, and named."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from psycopg import sql
from support.copies import context, copied, target
from support.postgres import fresh_database

from nasmigrate.core.result import Result
from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.workflows.verify import verify

ROWS = 60
SOURCE = """
CREATE TABLE keyed (
    id INTEGER PRIMARY KEY, n INTEGER, flag BOOLEAN, price REAL, amount DECIMAL(10,2), note TEXT,
    made DATETIME, day DATE, at TIME, pic BLOB, loose
);
CREATE TABLE pairs (a TEXT NOT NULL, b INTEGER NOT NULL, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE keyless (line TEXT, n INTEGER);
"""
KEYED = ["id", "n", "flag", "price", "amount", "note", "made", "day", "at", "pic", "loose"]


def make_source(path: Path) -> None:
    """Every type, NULLs in all columns that may hold them, classes mixed in `pic` and `loose`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SOURCE)
        for row in range(1, ROWS + 1):
            values: list[object] = [
                row,
                row * 7919 - 40_000,
                row % 2,
                row / 7,
                row * 1.25,
                f"note {row} é",
                f"2024-01-{row % 28 + 1:02d}T10:11:12.{row:03d}Z",
                f"2023-{row % 12 + 1:02d}-05",
                f"10:{row % 60:02d}:30",
                "text" if row % 9 == 0 else bytes([row, 0, 255]),
                [row, f"{row}", row / 3, bytes([row])][row % 4],
            ]
            for place in range(1, len(values)):
                if (row + place) % 11 == 0:
                    values[place] = None
            connection.execute(f"INSERT INTO keyed VALUES ({', '.join('?' * len(values))})", values)
            connection.execute("INSERT INTO pairs VALUES (?, ?, ?)", (f"k{row % 5}", row, f"v{row}"))
            connection.execute("INSERT INTO keyless VALUES (?, ?)", (f"line {row % 20}", row % 3))
        connection.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A finished copy, and a session that holds its rows as they were."""

    base: Path
    source: Path
    dsn: str
    keeper: psycopg.Connection
    types: dict[str, str]
    accept: tuple[str, ...]

    def verify(self) -> Result:
        """By counts, digests and originals."""
        return verify(context(self.base, accept=self.accept), self.source, target(self.dsn))

    def restore(self) -> None:
        """Put every row back."""
        for table in ("keyed", "pairs", "keyless", "originals"):
            where = sql.Identifier("nasmigrate" if table == "originals" else "public", table)
            self.keeper.execute(sql.SQL("TRUNCATE {}").format(where))
            self.keeper.execute(
                sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}").format(
                    where, sql.Identifier(f"saved_{table}")
                )
            )
        self.keeper.commit()


@pytest.fixture(scope="module")
def finished(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    folder = tmp_path_factory.mktemp("random-mutations")
    make_source(folder / "app.db")
    with fresh_database(server.dsn) as dsn, psycopg.connect(dsn) as keeper:
        result = copied(folder / "base", folder / "app.db", dsn, chunk_rows=7)
        assert {gate.name for gate in result.gates if gate.status == "fail"} <= {"decisions"}
        for table in ("keyed", "pairs", "keyless", "originals"):
            where = sql.Identifier("nasmigrate" if table == "originals" else "public", table)
            keeper.execute(
                sql.SQL("CREATE TEMP TABLE {} AS SELECT * FROM {}").format(sql.Identifier(f"saved_{table}"), where)
            )
        keeper.commit()
        types = dict(
            keeper.execute(
                "SELECT attname::text, atttypid::regtype::text FROM pg_attribute"
                " WHERE attrelid = 'public.keyed'::regclass AND attnum > 0"
            ).fetchall()
        )
        keeper.commit()
        accept = tuple(finding.identity for finding in result.findings if finding.severity != "note")
        yield Copied(base=folder / "base", source=folder / "app.db", dsn=dsn, keeper=keeper, types=types, accept=accept)


def other_value(draw: st.DrawFn, pg_type: str, value: object) -> object:
    """A value of the type that differs as little as it can, or NULL for a value and a value for NULL."""
    small: dict[str, object] = {
        "bigint": 5,
        "boolean": True,
        "double precision": 0.0,
        "numeric": 0,
        "text": "",
        "bytea": b"",
        "date": "2000-01-01",
        "time without time zone": "00:00:00",
        "timestamp with time zone": "2000-01-01 00:00:00+00",
    }
    if value is None:
        return small[pg_type]
    if draw(st.integers(0, 3)) == 0:
        return None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ (1 << draw(st.integers(0, 40)))
    if isinstance(value, float):
        return math.nextafter(value, draw(st.sampled_from([-math.inf, math.inf])))
    if isinstance(value, str):
        return draw(st.sampled_from([value + " ", value[:-1], value.swapcase(), value + "́"]))
    if isinstance(value, bytes):
        return draw(st.sampled_from([value + b"\x00", value[:-1], bytes([(value or b"\x00")[0] ^ 1]) + value[1:]]))
    return {"date": "1 day", "numeric": "0.01"}.get(pg_type, "1 second")


@settings(max_examples=140)
@given(data=st.data())
def test_a_single_change_is_found_and_named(finished: Copied, data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from(
            ["value", "value", "value", "value", "row lost", "row doubled", "exchange", "composite", "original"]
        )
    )
    row = data.draw(st.integers(1, ROWS))
    expected: tuple[str, str | None, str | None]
    with psycopg.connect(finished.dsn) as connection:
        if kind == "value":
            column = data.draw(st.sampled_from(KEYED[1:]))
            name = sql.Identifier(column)
            found = connection.execute(sql.SQL("SELECT {} FROM keyed WHERE id = %s").format(name), (row,)).fetchone()
            assert found is not None
            pg_type = finished.types[column]
            change = data.draw(st.composite(other_value)(pg_type, found[0]))
            moved = isinstance(change, str) and pg_type.startswith(("date", "time")) and found[0] is not None
            term = sql.SQL("({} + %s::interval)" if moved else "%s::{}").format(
                name if moved else sql.SQL(pg_type)  # type: ignore[arg-type]
            )
            if pg_type == "numeric" and isinstance(change, str):
                change = found[0] + 1
            connection.execute(
                sql.SQL("UPDATE keyed SET {} = ({})::{} WHERE id = %s").format(
                    name,
                    term,
                    sql.SQL(pg_type),  # type: ignore[arg-type]
                ),
                (change, row),
            )
            expected = ("keyed", f"id={row}", column)
            event(f"a {pg_type} became {'NULL' if change is None else 'another'}")
        elif kind == "row lost":
            connection.execute("DELETE FROM keyed WHERE id = %s", (row,))
            expected = ("keyed", f"id={row}", None)
        elif kind == "row doubled":
            connection.execute("INSERT INTO keyless SELECT * FROM keyless LIMIT 1 OFFSET %s", (row - 1,))
            expected = ("keyless", None, None)
        elif kind == "exchange":
            one, two = row, row % ROWS + 1
            connection.execute(
                "UPDATE keyed SET n = (SELECT coalesce(o.n, -1) FROM keyed o WHERE o.id = %s + %s - keyed.id)"
                " WHERE id IN (%s, %s)",
                (one, two, one, two),
            )
            expected = ("keyed", None, "n")
        elif kind == "composite":
            connection.execute("UPDATE pairs SET v = v || '!' WHERE b = %s", (row,))
            expected = ("pairs", f"b={row}", "v")
        else:
            changed = connection.execute(
                "UPDATE nasmigrate.originals SET value = value || '\\x00'::bytea WHERE (key, column_name) ="
                " (SELECT key, column_name FROM nasmigrate.originals ORDER BY key, column_name LIMIT 1 OFFSET %s)"
                " RETURNING table_name, column_name",
                (row % 8,),
            ).fetchone()
            assert changed is not None
            expected = (str(changed[0]), None, str(changed[1]))
        event(kind)
    try:
        result = finished.verify()
        assert result.exit_code == 3, expected
        table, key, column = expected
        assert {difference.table for difference in result.differences} == {table}
        assert any(
            (key is None or key in (difference.key or "")) and (column is None or difference.column == column)
            for difference in result.differences
        ), (expected, result.differences)
    finally:
        finished.restore()


def test_the_rows_put_back_are_equal_again(finished: Copied) -> None:
    finished.restore()
    assert finished.verify().exit_code == 0
