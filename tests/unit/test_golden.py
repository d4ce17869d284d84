"""The package meets the golden vectors of the digest contract, and so does an independent reference."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from golden import reference

from nasmigrate.schema.chunks import Buckets, EncodedBatch, RangeChunk, bucket_bits
from nasmigrate.schema.codecs import REGISTRY, Codec, Encoded, Misfit, RawText, SqliteValue, build
from nasmigrate.schema.codecs.numbers import numeric_send, numeric_text
from nasmigrate.schema.digest import ChunkDigest, fingerprint, table_digest
from nasmigrate.schema.ledger import ChunkRow, OriginalRow
from nasmigrate.schema.plan import PlanColumn, PlanTable

VECTORS: dict[str, Any] = json.loads(reference.VECTORS.read_text(encoding="utf-8"))


def value_of(notation: dict[str, str] | None) -> SqliteValue:
    """The value as the package's reader yields it."""
    if notation is None:
        return None
    ((kind, written),) = notation.items()
    if kind == "integer":
        return int(written)
    raw = bytes.fromhex(written)
    if kind == "real":
        return float(reference.stored(notation)[1])
    if kind == "blob":
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawText(raw)


def codec_of(entry: dict[str, Any]) -> Codec:
    return build(entry["codec"], entry.get("parameters", {}))


def name_of(entry: dict[str, Any]) -> str:
    return " ".join(str(entry[name]) for name in ("codec", "parameters", "value") if name in entry)[:80]


def test_the_file_is_what_the_reference_computes() -> None:
    assert reference.expected(VECTORS) == VECTORS
    assert reference.main([]) == 0, "run `python -m tests.golden.reference --write` and look at what changed"


def test_the_reference_is_independent() -> None:
    for path in Path(reference.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, path.name


@pytest.mark.parametrize("entry", VECTORS["values"], ids=name_of)
def test_values(entry: dict[str, Any]) -> None:
    codec, value = codec_of(entry), value_of(entry["value"])
    if entry["send"] is None:
        for column in ([value], [None, value]):
            with pytest.raises(Misfit):
                codec.encode(column)
        return
    encoded = codec.encode([value])
    raw = encoded.data if encoded.width is not None else encoded.values[0]
    assert raw.hex() == entry["send"]
    assert codec.encode_one(value) == raw
    found = [{"class": one.storage_class, "value": one.value.hex()} for one in encoded.originals]
    assert found == ([] if entry["original"] is None else [entry["original"]])


def test_every_codec_has_vectors() -> None:
    for said in (True, False):
        codecs = {entry["codec"] for entry in VECTORS["values"] if (entry["send"] is not None) == said}
        # `bytea` takes everything.
        assert codecs >= set(REGISTRY) - (set() if said else {"bytea"}), said


@pytest.mark.parametrize("entry", VECTORS["numerics"], ids=lambda entry: entry["decimal"])
def test_numerics_beyond_what_sqlite_stores(entry: dict[str, Any]) -> None:
    assert numeric_send(entry["decimal"]).hex() == entry["send"]
    text = numeric_text(bytes.fromhex(entry["send"]))
    assert text == (entry["decimal"].removeprefix("-") if entry["decimal"] == "-0.00" else entry["decimal"])


# -- chunks --------------------------------------------------------------------------------------------------------


def table_of(entry: dict[str, Any]) -> PlanTable:
    columns = entry["columns"]
    return PlanTable(
        name="t",
        columns=tuple(
            PlanColumn(
                name=column["name"],
                declared_type="",
                codec=column["codec"],
                pg_type=column["type"],
                parameters=column.get("parameters", {}),
            )
            for column in columns
        ),
        key=tuple(columns[index]["name"] for index in entry.get("key", ())),
    )


def batches(entry: dict[str, Any], batch_rows: int) -> list[EncodedBatch]:
    """The rows encoded in batches of `batch_rows`."""
    codecs = [codec_of(column) for column in entry["columns"]]
    rows = [[value_of(cell) for cell in row] for row in entry["rows"]]
    found = []
    for start in range(0, len(rows), batch_rows):
        part = rows[start : start + batch_rows]
        columns: list[Encoded] = [
            codec.encode(values) for codec, values in zip(codecs, zip(*part, strict=True), strict=True)
        ]
        found.append(EncodedBatch(columns=columns, rows=len(part), size=0, last_key=()))
    return found


def written(chunk: ChunkRow, originals: Sequence[OriginalRow]) -> dict[str, Any]:
    """The originals of a chunk in the notation of the file."""
    assert chunk.originals == len(originals)
    return {
        "originals": [
            {
                "key": key.hex(),
                "ordinal": ordinal,
                "column": column,
                "class": str(storage),
                "value": value.hex(),
            }
            for key, ordinal, column, storage, value in sorted(original.content for original in originals)
        ],
        "originals_digest": chunk.originals_digest.hex(),
    }


@pytest.mark.parametrize("entry", VECTORS["chunks"], ids=lambda entry: entry["what"])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_chunks(entry: dict[str, Any], batch_rows: int) -> None:
    making = RangeChunk(table_of(entry), [codec_of(column) for column in entry["columns"]], 0)
    for batch in batches(entry, batch_rows):
        making.add(batch)
    chunk = making.finish(None, None)
    assert chunk.rows == len(entry["rows"])
    assert [digest.hex() for digest in chunk.digests] == entry["digests"]
    expected = {name: entry[name] for name in ("originals", "originals_digest")}
    assert written(chunk, making.originals) == expected


@pytest.mark.parametrize("entry", VECTORS["keyless"], ids=lambda entry: entry["what"])
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_keyless_tables(entry: dict[str, Any], batch_rows: int, tmp_path: Path) -> None:
    with Buckets(table_of(entry), entry["bits"], tmp_path) as buckets:
        for batch in batches(entry, batch_rows):
            buckets.add(batch)
        chunks, originals = buckets.finish()
        by_bucket = {chunk.chunk: buckets.row_digests(chunk.chunk) for chunk in chunks}
    found = [
        {
            "bucket": chunk.chunk,
            "rows": chunk.rows,
            "digest": chunk.digests[0].hex(),
            **written(chunk, [original for original in originals if original.chunk == chunk.chunk]),
        }
        for chunk in chunks
    ]
    assert found == entry["buckets"]
    digests = [digest.hex() for digests in by_bucket.values() for digest in digests]
    assert digests == sorted(entry["row_digests"])


@pytest.mark.parametrize("entry", VECTORS["bits"], ids=lambda entry: str(entry["rows"]))
def test_bits_of_a_bucket(entry: dict[str, Any]) -> None:
    assert bucket_bits(entry["rows"]) == entry["bits"]


def test_tables_and_fingerprint() -> None:
    digests = []
    for table in VECTORS["tables"]:
        if "keyless" in table:
            whole = VECTORS["keyless"][table["keyless"]]
            columns, parts = whole["columns"], [(part["rows"], [part["digest"]]) for part in whole["buckets"]]
        else:
            chunks = [VECTORS["chunks"][number] for number in table["chunks"]]
            columns, parts = chunks[0]["columns"], [(len(chunk["rows"]), chunk["digests"]) for chunk in chunks]
        made = [ChunkDigest(rows=rows, digests=tuple(map(bytes.fromhex, found))) for rows, found in parts]
        digests.append(table_digest(table["name"], [(column["name"], column["type"]) for column in columns], made))
        assert digests[-1].hex() == table["digest"]
    assert fingerprint(digests) == VECTORS["fingerprint"]
