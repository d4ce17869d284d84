"""The way back of the digest contract: what a send form is decoded to, and so which values need an original.

Written from docs/digest-contract.md. Nothing of the package is imported.
"""

from __future__ import annotations

import re
import struct
from decimal import Decimal

from . import values
from .values import Parameters, Stored

_INTEGER = re.compile(rb"-?(0|[1-9][0-9]*)")
_REAL = re.compile(rb"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?|-?inf")


def _is_int8(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _double(raw: bytes, parameters: Parameters) -> Stored:
    number = struct.unpack(">d", raw)[0]
    if parameters.get("integers") and number.is_integer() and abs(number) <= 2**53:
        return "integer", int(number)
    return "real", number


def _numeric(raw: bytes, parameters: Parameters) -> Stored:
    count, weight, sign, scale = struct.unpack_from(">HhHH", raw)
    whole = 0
    for group in struct.unpack_from(f">{count}H", raw, 8):
        whole = whole * 10_000 + group
    number = Decimal(f"{'-' if sign else ''}{whole}e{4 * (weight - count + 1)}")
    return ("integer", int(number)) if scale == 0 and _is_int8(int(number)) else ("real", float(number))


def _decimal(raw: bytes, parameters: Parameters) -> Stored:
    count, weight, sign, _ = struct.unpack_from(">HhHH", raw)
    whole = 0
    for group in struct.unpack_from(f">{count}H", raw, 8):
        whole = whole * 10_000 + group
    number = Decimal(f"{'-' if sign else ''}{whole}e{4 * (weight - count + 1)}")
    if not parameters.get("real") and number == int(number) and _is_int8(int(number)):
        return "integer", int(number)
    return "real", float(number)


def _text(raw: bytes, parameters: Parameters) -> Stored:
    if parameters.get("numbers"):
        if _INTEGER.fullmatch(raw) and _is_int8(int(raw)):
            return "integer", int(raw)
        if _REAL.fullmatch(raw):
            return "real", float(raw)
    return "text", raw


def _temporal(codec: str, raw: bytes, parameters: Parameters) -> Stored:
    number = int.from_bytes(raw, "big", signed=True)
    days, clock = (number, 0) if codec == "date" else divmod(number, values.DAY)
    if codec.startswith("timestamp"):
        days, clock = divmod(number + values.offset_microseconds(parameters["shape"]), values.DAY)
    return "text", values.written(parameters["shape"], days, clock).encode()


def decoded(codec: str, parameters: Parameters, raw: bytes) -> Stored:
    """The stored value that a send form stands for, unless an original says otherwise."""
    match codec:
        case "bigint" | "integer" | "smallint" | "boolean":
            return "integer", int.from_bytes(raw, "big", signed=True)
        case "double":
            return _double(raw, parameters)
        case "numeric":
            return _numeric(raw, parameters)
        case "decimal":
            return _decimal(raw, parameters)
        case "char" | "enum":
            return "text", raw
        case "text" | "json" | "varchar":
            return _text(raw, parameters)
        case "jsonb":
            return _text(raw[1:], parameters)
        case "bytea":
            return parameters.get("native_class", "blob"), raw
        case "uuid":
            text = raw.hex()
            return "text", "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()
        case _:
            return _temporal(codec, raw, parameters)


def original(codec: str, parameters: Parameters, value: Stored, raw: bytes) -> tuple[str, bytes] | None:
    """(storage class, bytes) of a value that its send form does not give back; None when it does.

    A `moment` is decoded as its column's rules say, which no vector is about.
    """
    if codec == "moment":
        return None
    back = decoded(codec, parameters, raw)
    kept = value[0], values.exact(value)
    return None if (back[0], values.exact(back)) == kept else kept
