"""The digest, originals and chunk contract as a second opinion that any implementation can be held against.

Written from docs/digest-contract.md; nothing of the package is imported. `python -m tests.golden.reference --write`
computes the expected bytes of vectors.json anew; without `--write` the exit code says whether they are current.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from .inverse import original
from .values import Refused, numeric, send, stored

VECTORS = Path(__file__).with_name("vectors.json")
VARIABLE = {"text", "bytea", "numeric", "json", "jsonb"}

Json = dict[str, Any]
Row = Sequence[bytes | None]
Original = tuple[bytes, int, str, str, bytes]
"""Key bytes or row digest, ordinal, column, storage class, value."""


def sha(*parts: bytes) -> bytes:
    """sha256 over all parts."""
    return hashlib.sha256(b"".join(parts)).digest()


# -- digests -------------------------------------------------------------------------------------------------------


def key_bytes(codecs: Sequence[str], key: Sequence[int], row: Row) -> bytes:
    """Send bytes of the key columns, each with its int4 length when the type varies in width."""
    whole = b""
    for index in key:
        raw = row[index]
        assert raw is not None
        whole += (struct.pack(">i", len(raw)) if codecs[index] in VARIABLE else b"") + raw
    return whole


def column_digest(codecs: Sequence[str], key: Sequence[int], rows: Sequence[Row], at: int) -> bytes:
    """sha256(D || L || N || int8(values) || int8(nulls)); L is left out for types of fixed width."""
    values = [raw for row in rows if (raw := row[at]) is not None]
    lengths = sha(*[struct.pack(">i", len(value)) for value in values]) if codecs[at] in VARIABLE else b""
    nulls = [key_bytes(codecs, key, row) for row in rows if row[at] is None]
    return sha(sha(*values), lengths, sha(*nulls), struct.pack(">qq", len(values), len(nulls)))


def row_digest(row: Row) -> bytes:
    """sha256 of the row as binary COPY writes it."""
    fields = [struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw for raw in row]
    return sha(struct.pack(">h", len(row)), *fields)


def bucket_bits(rows: int) -> int:
    """The fewest bits, ten at most, with which a bucket holds 50,000 rows or fewer on the average."""
    return next((bits for bits in range(10) if rows // 2**bits <= 50_000), 10)


def bucket(digest: bytes, bits: int) -> int:
    """The number that the first bits of a row digest give."""
    return int.from_bytes(digest, "big") >> (256 - bits)


def originals_digest(originals: Sequence[Original]) -> bytes:
    """Sorted; for each: key, column, class and bytes, each after its int8 length, then the ordinal as int8."""
    whole = b""
    for key, ordinal, column, storage, value in sorted(originals):
        for part in (key, column.encode(), storage.encode(), value):
            whole += struct.pack(">q", len(part)) + part
        whole += struct.pack(">q", ordinal)
    return sha(whole)


def table_digest(name: str, columns: Sequence[tuple[str, str]], chunks: Sequence[tuple[int, Sequence[bytes]]]) -> bytes:
    """Name, column names and types, each after its int8 length, then per chunk its rows and its digests."""
    whole = b""
    for text in (name, *(part for column in columns for part in column)):
        whole += struct.pack(">q", len(text.encode())) + text.encode()
    for rows, digests in chunks:
        whole += struct.pack(">q", rows) + b"".join(digests)
    return sha(whole)


# -- the file of vectors -------------------------------------------------------------------------------------------


def value_vector(entry: Json) -> Json:
    """`send` is null where the codec refuses the value; `original` is null where none is needed."""
    parameters, value = entry.get("parameters", {}), stored(entry["value"])
    inputs = {name: entry[name] for name in ("codec", "parameters", "value") if name in entry}
    try:
        raw = send(entry["codec"], parameters, value)
    except Refused:
        return {**inputs, "send": None}
    kept = original(entry["codec"], parameters, value, raw)
    return {
        **inputs,
        "send": raw.hex(),
        "original": None if kept is None else {"class": kept[0], "value": kept[1].hex()},
    }


def encoded(columns: Sequence[Json], rows: Sequence[Sequence[Json | None]]) -> tuple[list[Row], list[Original]]:
    """Send forms, and the originals with the number of their row where the key will be."""
    found: list[Row] = []
    originals: list[Original] = []
    for number, cells in enumerate(rows):
        row: list[bytes | None] = []
        for column, cell in zip(columns, cells, strict=True):
            if cell is None:
                row.append(None)
                continue
            raw = send(column["codec"], column.get("parameters", {}), stored(cell))
            kept = original(column["codec"], column.get("parameters", {}), stored(cell), raw)
            if kept is not None:
                originals.append((b"", number, column["name"], *kept))
            row.append(raw)
        found.append(row)
    return found, originals


def originals_vector(originals: Sequence[Original]) -> Json:
    """The originals of a chunk, sorted, and their digest."""
    listed = [
        {"key": key.hex(), "ordinal": ordinal, "column": column, "class": storage, "value": value.hex()}
        for key, ordinal, column, storage, value in sorted(originals)
    ]
    return {"originals": listed, "originals_digest": originals_digest(originals).hex()}


def chunk_vector(chunk: Json) -> Json:
    """A chunk of a table with a key."""
    inputs = {name: chunk[name] for name in ("what", "columns", "key", "rows")}
    codecs = [column["codec"] for column in chunk["columns"]]
    rows, kept = encoded(chunk["columns"], chunk["rows"])
    digests = [column_digest(codecs, chunk["key"], rows, at) for at in range(len(codecs))]
    originals = [
        (key_bytes(codecs, chunk["key"], rows[number]), 0, column, storage, value)
        for _, number, column, storage, value in kept
    ]
    return {**inputs, "digests": [digest.hex() for digest in digests], **originals_vector(originals)}


def keyless_vector(table: Json) -> Json:
    """All chunks of a table without a key."""
    inputs = {name: table[name] for name in ("what", "columns", "bits", "rows")}
    rows, kept = encoded(table["columns"], table["rows"])
    digests = [row_digest(row) for row in rows]
    ordinals: dict[int, int] = {}
    for number in sorted({number for _, number, *_ in kept}):
        ordinals[number] = sum(digests[before] == digests[number] for before in ordinals)
    chunks = []
    for name in sorted({bucket(digest, table["bits"]) for digest in digests}) or [0]:
        mine = sorted(digest for digest in digests if bucket(digest, table["bits"]) == name)
        originals = [
            (digests[number], ordinals[number], column, storage, value)
            for _, number, column, storage, value in kept
            if bucket(digests[number], table["bits"]) == name
        ]
        chunks.append(
            {"bucket": name, "rows": len(mine), "digest": sha(*mine).hex(), **originals_vector(originals)},
        )
    return {**inputs, "row_digests": [digest.hex() for digest in digests], "buckets": chunks}


def table_vector(table: Json, chunks: Sequence[Json], keyless: Sequence[Json]) -> Json:
    """A table of the chunks whose numbers it lists, or of one entry of `keyless`."""
    inputs = {name: table[name] for name in ("name", "chunks", "keyless") if name in table}
    if "keyless" in table:
        whole = keyless[table["keyless"]]
        columns = whole["columns"]
        parts = [(part["rows"], [bytes.fromhex(part["digest"])]) for part in whole["buckets"]]
    else:
        columns = chunks[table["chunks"][0]]["columns"]
        parts = [
            (len(chunks[number]["rows"]), [bytes.fromhex(digest) for digest in chunks[number]["digests"]])
            for number in table["chunks"]
        ]
    digest = table_digest(table["name"], [(column["name"], column["type"]) for column in columns], parts)
    return {**inputs, "digest": digest.hex()}


def expected(vectors: Json) -> Json:
    """The vectors with every expectation computed from the inputs."""
    chunks = [chunk_vector(chunk) for chunk in vectors["chunks"]]
    keyless = [keyless_vector(table) for table in vectors["keyless"]]
    tables = [table_vector(table, chunks, keyless) for table in vectors["tables"]]
    return {
        "values": [value_vector(entry) for entry in vectors["values"]],
        "numerics": [
            {"decimal": entry["decimal"], "send": numeric(Decimal(entry["decimal"])).hex()}
            for entry in vectors["numerics"]
        ],
        "chunks": chunks,
        "bits": [{"rows": entry["rows"], "bits": bucket_bits(entry["rows"])} for entry in vectors["bits"]],
        "keyless": keyless,
        "tables": tables,
        "fingerprint": sha(*[bytes.fromhex(table["digest"]) for table in tables]).hex(),
    }


def main(words: Sequence[str]) -> int:
    """Write the expectations, or say by the exit code whether they are current."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    text = json.dumps(expected(vectors), ensure_ascii=False, indent=1) + "\n"
    if "--write" in words:
        VECTORS.write_text(text, encoding="utf-8")
        return 0
    return int(text != VECTORS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
