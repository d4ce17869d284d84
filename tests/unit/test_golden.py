"""The package meets the golden vectors of the digest contract, and so does an independent reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
from golden import reference

from nasmigrate.schema.chunks import EncodedBatch, RangeChunk
from nasmigrate.schema.codecs import REGISTRY, Codec, build
from nasmigrate.schema.copy_format import assemble_rows
from nasmigrate.schema.digest import (
    ChunkDigest,
    bucket_digest,
    fingerprint,
    originals_digest,
    row_digest,
    table_digest,
)
from nasmigrate.schema.plan import PlanColumn, PlanTable

VECTORS: dict[str, Any] = json.loads(reference.VECTORS.read_text(encoding="utf-8"))


def codec_of(entry: dict[str, Any]) -> Codec:
    return build(entry["codec"], entry.get("parameters", {}))


def test_the_file_is_what_the_reference_computes() -> None:
    assert reference.expected(VECTORS) == VECTORS


@pytest.mark.parametrize("entry", VECTORS["send"], ids=lambda entry: f"{entry['codec']} {entry['value']}"[:60])
def test_send_forms(entry: dict[str, Any]) -> None:
    codec, value = codec_of(entry), reference.value_of(entry["value"])
    encoded = codec.encode([value])  # type: ignore[list-item]
    raw = encoded.data if encoded.width is not None else encoded.values[0]
    assert raw.hex() == entry["send"]
    assert codec.encode_one(value) == raw  # type: ignore[arg-type]


def test_every_codec_has_vectors() -> None:
    assert {entry["codec"] for entry in VECTORS["send"]} == set(REGISTRY)


def chunk_digests(chunk: dict[str, Any], *, batch_rows: int) -> list[str]:
    """What the package says of a chunk that comes in batches of `batch_rows`."""
    names = [column["name"] for column in chunk["columns"]]
    codecs = [codec_of(column) for column in chunk["columns"]]
    rows = [[reference.value_of(cell) for cell in row] for row in chunk["rows"]]
    table = PlanTable(
        name="t",
        columns=tuple(
            PlanColumn(name=column["name"], declared_type="", codec=column["codec"], pg_type=column["type"])
            for column in chunk["columns"]
        ),
        key=tuple(names[index] for index in chunk["key"]),
    )
    making = RangeChunk(table, codecs, 0)
    digests: list[bytes] = []
    for start in range(0, len(rows), batch_rows):
        part = rows[start : start + batch_rows]
        columns = [codec.encode(values) for codec, values in zip(codecs, zip(*part, strict=True), strict=True)]  # type: ignore[arg-type]
        digests += map(row_digest, assemble_rows(columns))
        if chunk["key"]:
            making.add(EncodedBatch(columns=columns, rows=len(part), size=0, last_key=()))
    if not chunk["key"]:
        return [bucket_digest(digests).hex()]
    return [digest.hex() for digest in making.finish(None, None).digests]


@pytest.mark.parametrize("chunk", VECTORS["chunks"], ids=lambda chunk: chunk["what"])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_chunks(chunk: dict[str, Any], batch_rows: int) -> None:
    assert chunk_digests(chunk, batch_rows=batch_rows) == chunk["digests"]


@pytest.mark.parametrize("entry", VECTORS["originals"], ids=lambda entry: entry["what"])
def test_originals(entry: dict[str, Any]) -> None:
    originals = [
        (bytes.fromhex(o["key"]), o["ordinal"], o["column"], o["class"], bytes.fromhex(o["value"]))
        for o in entry["originals"]
    ]
    assert originals_digest(originals).hex() == entry["digest"]
    assert originals_digest(reversed(originals)).hex() == entry["digest"]


def test_tables_and_fingerprint() -> None:
    digests = []
    for table in VECTORS["tables"]:
        chunks = [VECTORS["chunks"][number] for number in table["chunks"]]
        columns = [(column["name"], column["type"]) for column in chunks[0]["columns"]] if chunks else []
        made = [
            ChunkDigest(rows=len(chunk["rows"]), digests=tuple(map(bytes.fromhex, chunk["digests"])))
            for chunk in chunks
        ]
        digests.append(table_digest(table["name"], columns, made))
        assert digests[-1].hex() == table["digest"]
    assert fingerprint(digests) == VECTORS["fingerprint"]
