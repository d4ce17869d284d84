"""Whatever a name holds, quoted it is one identifier, and the engine reads the same name from it."""

from __future__ import annotations

from contextlib import closing

import apsw
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from nasmigrate.core.errors import SchemaError
from nasmigrate.schema.expressions.facts import quote_name
from nasmigrate.schema.names import MAX_BYTES, fit, folded
from nasmigrate.sqlite.quoting import quote_ident

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40) | st.text("\"'\\; -a", max_size=9)


@given(name=NAMES.filter(lambda name: 0 < len(name.encode()) <= MAX_BYTES))
def test_a_quoted_name_is_one_identifier_of_postgres(connection: psycopg.Connection, name: str) -> None:
    for quoted in (quote_name(name), sql.Identifier(name).as_string(connection)):
        cursor = connection.execute(f"SELECT 1 AS {quoted}, 2 AS {quoted}".encode())
        assert [column.name for column in cursor.description or ()] == [name, name]
        assert connection.execute("SELECT parse_ident(%s)", (quoted,)).fetchone() == ([name],)


@given(name=NAMES)
def test_a_quoted_name_is_one_identifier_of_sqlite(name: str) -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({quote_ident(name)} INTEGER)")
        assert connection.execute("SELECT name FROM pragma_table_xinfo('t')").fetchall() == [(name,)]


@given(name=NAMES)
def test_a_name_that_was_made_short_is_one_for_postgres(connection: psycopg.Connection, name: str) -> None:
    short = fit(name)
    assert len(short.encode()) <= MAX_BYTES
    assert short == name or len(name.encode()) > MAX_BYTES
    if short:
        cursor = connection.execute(sql.SQL("SELECT 1 AS {}").format(sql.Identifier(short)))
        assert [column.name for column in cursor.description or ()] == [short]


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("createdAt", "created_at"),
        ("HTTPServer", "http_server"),
        ("User", "user"),
        ("user2FACode", "user2_fa_code"),
        ("Unit Price", "unit_price"),
        ("_AToB", "_a_to_b"),
        ("ÉtatCivil", "état_civil"),
        ("already_snake", "already_snake"),
        ("🙂", "🙂"),
    ],
)
def test_snake_case(name: str, snake: str) -> None:
    assert folded(name) == snake
    assert folded(snake) == snake


def test_a_name_with_a_nul_is_no_identifier() -> None:
    with pytest.raises(SchemaError, match="NUL"):
        quote_ident("a\x00b")
