"""Rows of a target table in their send form, by binary COPY, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

import psycopg
from psycopg import sql

from nasmigrate.schema.copy_format import HEADER, TRAILER, parse
from nasmigrate.schema.plan import PlanTable

SCHEMA = "public"

Parameters = Sequence[object] | Mapping[str, object]


def copy_statement(
    connection: psycopg.Connection,
    table: PlanTable,
    *,
    where: sql.SQL | sql.Composed | None = None,
    parameters: Parameters = (),
) -> bytes:
    """The COPY statement, with `parameters` written into it as literals.

    COPY is a utility statement: the server takes no parameters for it, so psycopg quotes them on the client. Only
    `where` goes through that, or a `%` in a name of the table would be read as a placeholder.
    """
    columns = sql.SQL(", ").join(sql.Identifier(column.target) for column in table.columns)
    # ONLY, as counts and digests read: a table that inherits from this one holds rows of its own.
    query: sql.Composable = sql.SQL("SELECT {} FROM ONLY {} s").format(columns, sql.Identifier(SCHEMA, table.target))
    parts = [query.as_bytes(connection)]
    if where is not None:
        parts.append(b" WHERE ")
        if parameters:
            merged = psycopg.ClientCursor(connection).mogrify(where, parameters)
            parts.append(merged.encode(connection.info.encoding))
        else:
            parts.append(where.as_bytes(connection))
    if table.key:
        # Key order makes the reader's inserts appends, and the differences it names come in a stable order.
        key = sql.SQL(", ").join(map(sql.Identifier, table.targets(table.key)))
        parts.append(sql.SQL(" ORDER BY {}").format(key).as_bytes(connection))
    return b"COPY (" + b"".join(parts) + b") TO STDOUT (FORMAT BINARY)"


def read_rows(
    connection: psycopg.Connection,
    table: PlanTable,
    *,
    where: sql.SQL | sql.Composed | None = None,
    parameters: Parameters = (),
) -> Generator[list[bytes | None], None, None]:
    """Each row as the send bytes of its columns in plan order, None for NULL; in key order where there is a key.

    What is seen is what the connection's transaction sees; nothing here begins or ends one.

    Args:
        connection: not in pipeline mode; busy until the iterator is exhausted or closed.
        table: whose columns and key to read.
        where: condition with `%s` or `%(name)s` placeholders if there are parameters.
        parameters: values of the placeholders; psycopg quotes them.

    Raises:
        psycopg.Error: the server refused or the connection broke.
        ValueError: the stream ended early.
    """
    statement = copy_statement(connection, table, where=where, parameters=parameters)
    with closing(_blocks(connection, statement)) as blocks:
        yield from parse(blocks)
        # The parser stops at the trailer; the server's "done" comes after it and must be taken, or the
        # connection stays busy.
        for _ in blocks:
            pass


def read_raw_rows(
    connection: psycopg.Connection, table: PlanTable, *, where: sql.SQL | sql.Composed | None = None
) -> Generator[bytes, None, None]:
    """The rows as binary COPY writes them, not taken apart.

    The server sends one message per row (CopySendEndOfRow in copyto.c), which is a fact about its implementation and
    no promise: a piece that is not exactly one row is for the caller to see.
    """
    statement = copy_statement(connection, table, where=where)
    with closing(_blocks(connection, statement)) as blocks:
        for number, block in enumerate(blocks):
            raw = block.removeprefix(HEADER) if number == 0 else block
            if raw not in (b"", TRAILER):
                yield raw


def _blocks(connection: psycopg.Connection, statement: bytes) -> Generator[bytes, None, None]:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield from map(bytes, copy)
