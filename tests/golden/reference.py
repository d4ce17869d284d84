"""The digest, originals and chunk contract, written from docs/digest-contract.md with struct and hashlib only.

Nothing of the package is imported: this is the second opinion that any implementation, in any language, can be held
against. `python tests/golden/reference.py --write` computes the expected bytes of vectors.json anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).with_name("vectors.json")

Json = dict[str, Any]

# -- send forms: what Postgres' binary send functions give ---------------------------------------------------------


def value_of(notation: Json | None) -> object:
    """A value of vectors.json: {"integer": digits}, {"real": hex of its bytes}, {"text": hex}, {"blob": hex}, null."""
    if notation is None:
        return None
    ((kind, written),) = notation.items()
    if kind == "integer":
        return int(written)
    if kind == "real":
        return struct.unpack(">d", bytes.fromhex(written))[0]
    return bytes.fromhex(written).decode() if kind == "text" else bytes.fromhex(written)


def numeric(number: Decimal) -> bytes:
    """numeric_send: int16 count, weight, sign, scale, then base-10000 digits without zeros at either end."""
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    whole = int("".join(map(str, digits))) * 10 ** max(0, exponent)
    whole *= 10 ** (-scale % 4)
    groups: list[int] = []
    while whole:
        whole, group = divmod(whole, 10_000)
        groups.insert(0, group)
    weight = len(groups) - 1 - -(-scale // 4)
    while groups and groups[-1] == 0:
        groups.pop()
    if not groups:
        weight = 0
    negative = 0x4000 if sign and groups else 0
    return struct.pack(f">HhHH{len(groups)}H", len(groups), weight, negative, scale, *groups)


def moment(text: str) -> tuple[int | None, int, int]:
    """(days since 2000-01-01 or None, microseconds of the day, microseconds of the offset)."""
    match = re.fullmatch(
        r"(?:(\d{4}-\d\d-\d\d))?[T ]?(?:(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(Z|[+-]\d\d:\d\d)?", text
    )
    assert match is not None, text
    day, hour, minute, second, fraction, offset = match.groups()
    days = date.fromisoformat(day).toordinal() - date(2000, 1, 1).toordinal() if day else None
    clock = ((int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)) * 1_000_000
    clock += int((fraction or "0").ljust(6, "0"))
    shift = 0
    if offset and offset != "Z":
        shift = (int(offset[1:3]) * 60 + int(offset[4:6])) * 60_000_000 * (-1 if offset[0] == "-" else 1)
    return days, clock, shift


def send(codec: str, value: object) -> bytes:
    """The bytes of a value in the target type."""
    if isinstance(value, int):
        number = value
        if codec == "bigint":
            return struct.pack(">q", number)
        if codec == "moment":
            return struct.pack(">q", number - 946_684_800_000_000)
        if codec == "boolean":
            return struct.pack(">b", number)
        return numeric(Decimal(number)) if codec == "numeric" else str(number).encode()
    if isinstance(value, float):
        if codec == "double":
            return struct.pack(">d", value)
        written = re.sub(r"\.0(?=$|e)", "", repr(value))
        return numeric(Decimal(written)) if codec == "numeric" else repr(value).encode()
    if isinstance(value, bytes):
        return value
    assert isinstance(value, str)
    if codec in ("text", "bytea", "json"):
        return value.encode()
    if codec == "jsonb":
        return b"\x01" + value.encode()
    if codec == "uuid":
        return bytes.fromhex(value.replace("-", ""))
    days, clock, shift = moment(value)
    if codec == "date":
        return struct.pack(">i", days)
    if codec == "time":
        return struct.pack(">q", clock)
    assert days is not None
    return struct.pack(">q", days * 86_400_000_000 + clock - shift)


VARIABLE = {"text", "bytea", "numeric", "json", "jsonb"}

# -- digests ------------------------------------------------------------------------------------------------------


def sha(*parts: bytes) -> bytes:
    """sha256 over all parts."""
    return hashlib.sha256(b"".join(parts)).digest()


def key_bytes(codecs: Sequence[str], key: Sequence[int], row: Sequence[bytes | None]) -> bytes:
    """Send bytes of the key columns, each with its int4 length when the type varies in width."""
    whole = b""
    for index in key:
        raw = row[index]
        assert raw is not None
        whole += (struct.pack(">i", len(raw)) if codecs[index] in VARIABLE else b"") + raw
    return whole


def column_digest(codecs: Sequence[str], key: Sequence[int], rows: Sequence[Sequence[bytes | None]], at: int) -> bytes:
    """sha256(D || L || N || int8(values) || int8(nulls)); L is left out for types of fixed width."""
    values = [row[at] for row in rows if row[at] is not None]
    data = sha(*[value for value in values if value is not None])
    lengths = sha(*[struct.pack(">i", len(value or b"")) for value in values]) if codecs[at] in VARIABLE else b""
    nulls = [key_bytes(codecs, key, row) for row in rows if row[at] is None]
    return sha(data, lengths, sha(*nulls), struct.pack(">qq", len(values), len(nulls)))


def row_digest(row: Sequence[bytes | None]) -> bytes:
    """sha256 of the row as binary COPY writes it."""
    fields = [struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw for raw in row]
    return sha(struct.pack(">h", len(row)), *fields)


def originals_digest(originals: Sequence[tuple[bytes, int, str, str, bytes]]) -> bytes:
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


# -- the file of vectors --------------------------------------------------------------------------------------------


def expected(vectors: Json) -> Json:
    """The vectors with every expectation computed from the inputs."""
    values = [{**entry, "send": send(entry["codec"], value_of(entry["value"])).hex()} for entry in vectors["send"]]
    chunks = []
    for chunk in vectors["chunks"]:
        codecs = [column["codec"] for column in chunk["columns"]]
        rows = [
            [None if cell is None else send(codec, value_of(cell)) for codec, cell in zip(codecs, row, strict=True)]
            for row in chunk["rows"]
        ]
        if chunk["key"]:
            digests = [column_digest(codecs, chunk["key"], rows, at) for at in range(len(codecs))]
        else:
            digests = [sha(*sorted(row_digest(row) for row in rows))]
        chunks.append({**chunk, "digests": [digest.hex() for digest in digests]})
    originals = [
        {
            **entry,
            "digest": originals_digest(
                [
                    (bytes.fromhex(o["key"]), o["ordinal"], o["column"], o["class"], bytes.fromhex(o["value"]))
                    for o in entry["originals"]
                ]
            ).hex(),
        }
        for entry in vectors["originals"]
    ]
    tables = []
    for table in vectors["tables"]:
        parts = [chunks[number] for number in table["chunks"]]
        columns = [(column["name"], column["type"]) for column in parts[0]["columns"]] if parts else []
        digest = table_digest(
            table["name"],
            columns,
            [(len(part["rows"]), [bytes.fromhex(one) for one in part["digests"]]) for part in parts],
        )
        tables.append({**table, "digest": digest.hex()})
    fingerprint = sha(*[bytes.fromhex(table["digest"]) for table in tables]).hex()
    return {"send": values, "chunks": chunks, "originals": originals, "tables": tables, "fingerprint": fingerprint}


def main() -> int:
    """Write the expectations, or say whether they are current."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    text = json.dumps(expected(vectors), ensure_ascii=False, indent=1) + "\n"
    if "--write" in sys.argv:
        VECTORS.write_text(text, encoding="utf-8")
        return 0
    return int(text != VECTORS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
