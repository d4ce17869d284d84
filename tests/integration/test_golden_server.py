"""The golden vectors are what the server's own send functions give, not only what two programs agree on."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from golden import reference
from psycopg import sql
from support.postgres import fresh_database

from nasmigrate.postgres.embedded import EmbeddedServer
from nasmigrate.schema.codecs import REGISTRY, build

VECTORS: dict[str, Any] = json.loads(reference.VECTORS.read_text(encoding="utf-8"))
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with fresh_database(server.dsn) as dsn, psycopg.connect(dsn) as connected:
        connected.execute("CREATE TYPE mood AS ENUM ('good', 'so so', 'größer')")
        connected.commit()
        yield connected


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_the_server_takes_a_send_form_and_gives_it_back(connection: psycopg.Connection, name: str) -> None:
    entries = [entry for entry in VECTORS["values"] if entry["codec"] == name and entry["send"] is not None]
    assert entries
    for entry in entries:
        codec, raw = build(name, entry.get("parameters", {})), bytes.fromhex(entry["send"])
        connection.execute(
            sql.SQL("CREATE TEMP TABLE one (v {}) ON COMMIT DROP").format(sql.SQL(codec.pg_type))  # type: ignore[arg-type]
        )
        with connection.cursor().copy("COPY one FROM STDIN (FORMAT binary)") as copy:
            copy.write(HEADER + struct.pack(">hi", 1, len(raw)) + raw + b"\xff\xff")
        term = sql.SQL("{}(v)").format(sql.Identifier(codec.send)) if codec.send else sql.SQL("v")
        row = connection.execute(sql.SQL("SELECT {} FROM one").format(term)).fetchone()
        connection.rollback()
        assert row is not None
        assert bytes(row[0]).hex() == entry["send"], entry


def test_the_server_writes_the_same_numerics(connection: psycopg.Connection) -> None:
    for entry in VECTORS["numerics"]:
        row = connection.execute("SELECT numeric_send(%s::numeric)", (entry["decimal"],)).fetchone()
        assert row is not None
        assert bytes(row[0]).hex() == entry["send"], entry
