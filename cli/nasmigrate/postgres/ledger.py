"""The chunk ledger and the originals in the target's schema `nasmigrate`.

A chunk's ledger row is written in the transaction that copies the chunk, so the ledger never claims a row that
is not there, nor misses one that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import psycopg

from nasmigrate.schema.changes import TableChanges
from nasmigrate.schema.codecs import SqliteValue, exact_bytes, from_exact, storage_class
from nasmigrate.schema.ledger import ChunkRow, OriginalRow, in_key_order
from nasmigrate.schema.model import StorageClass


def _key_json(key: Sequence[SqliteValue] | None) -> str | None:
    if key is None:
        return None
    return json.dumps([[str(storage_class(value)), exact_bytes(value).hex()] for value in key])


def _key_from_json(key: list[list[str]] | None) -> tuple[SqliteValue, ...] | None:
    if key is None:
        return None
    return tuple(from_exact(StorageClass(storage), bytes.fromhex(raw)) for storage, raw in key)


def add_chunks(connection: psycopg.Connection, run_id: str, chunks: Iterable[ChunkRow]) -> None:
    """Write ledger rows into the current transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO nasmigrate.chunk VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    run_id,
                    chunk.table,
                    chunk.chunk,
                    chunk.kind,
                    _key_json(chunk.after),
                    _key_json(chunk.last),
                    chunk.rows,
                    chunk.size,
                    list(chunk.digests),
                    chunk.originals,
                    chunk.originals_digest,
                )
                for chunk in chunks
            ],
        )


def replace_chunks(connection: psycopg.Connection, run_id: str, change: TableChanges) -> None:
    """Put the chunks and originals of a change in the place of those it touched, in the current transaction."""
    these = {"run": run_id, "table": change.table, "chunks": [chunk.chunk for chunk in change.before]}
    connection.execute(
        "DELETE FROM nasmigrate.chunk WHERE run_id = %(run)s AND table_name = %(table)s AND chunk = ANY(%(chunks)s)",
        these,
    )
    if change.partial:
        gone = change.originals_gone
        connection.execute(
            "DELETE FROM nasmigrate.originals o"
            " USING unnest(%s::bytea[], %s::int[], %s::text[]) AS g (key, ordinal, name)"
            " WHERE o.table_name = %s AND o.key = g.key AND o.ordinal = g.ordinal AND o.column_name = g.name",
            (
                [row.key for row in gone],
                [row.ordinal for row in gone],
                [row.column for row in gone],
                change.table,
            ),
        )
    else:
        connection.execute(
            "DELETE FROM nasmigrate.originals WHERE table_name = %(table)s AND chunk = ANY(%(chunks)s)", these
        )
    add_chunks(connection, run_id, change.after)
    if change.originals:
        add_originals(connection, change.originals)


def read_chunks(connection: psycopg.Connection, run_id: str) -> dict[str, list[ChunkRow]]:
    """The ledger of a run: table -> chunks in the order of their keys."""
    tables: dict[str, list[ChunkRow]] = {}
    rows = connection.execute(
        "SELECT table_name, chunk, kind, after_key, last_key, rows, bytes, digests, originals, originals_digest"
        " FROM nasmigrate.chunk WHERE run_id = %s ORDER BY table_name, chunk",
        (run_id,),
    )
    for table, chunk, kind, after, last, count, size, digests, originals, originals_digest in rows:
        tables.setdefault(table, []).append(
            ChunkRow(
                table=table,
                chunk=chunk,
                kind=kind,
                after=_key_from_json(after),
                last=_key_from_json(last),
                rows=count,
                size=size,
                digests=tuple(digests),
                originals=originals,
                originals_digest=originals_digest,
            )
        )
    return {table: in_key_order(chunks) for table, chunks in tables.items()}


def add_originals(connection: psycopg.Connection, originals: Iterable[OriginalRow]) -> None:
    """Write originals into the current transaction."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY nasmigrate.originals (table_name, chunk, key, ordinal, column_name, storage_class, value)"
            " FROM STDIN (FORMAT binary)"
        ) as copy,
    ):
        copy.set_types(("text", "int4", "bytea", "int4", "text", "text", "bytea"))
        for row in originals:
            copy.write_row((row.table, row.chunk, row.key, row.ordinal, row.column, row.storage_class, row.value))


def has_originals(connection: psycopg.Connection, table: str) -> bool:
    """Whether any value of a table is kept in its original form."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM nasmigrate.originals WHERE table_name = %s)", (table,)
    ).fetchone()
    return bool(row and row[0])


def read_originals(
    connection: psycopg.Connection, table: str, chunk: int | None = None, keys: Sequence[bytes] | None = None
) -> list[tuple[bytes, int, str, str, bytes]]:
    """Originals of a table, of one of its chunks, or of rows by key bytes: (key, ordinal, column, class, value)."""
    return connection.execute(
        "SELECT key, ordinal, column_name, storage_class, value FROM nasmigrate.originals"
        " WHERE table_name = %(table)s AND (%(chunk)s::int IS NULL OR chunk = %(chunk)s)"
        " AND (%(keys)s::bytea[] IS NULL OR key = ANY(%(keys)s)) ORDER BY key, ordinal, column_name",
        {"table": table, "chunk": chunk, "keys": None if keys is None else list(keys)},
    ).fetchall()
