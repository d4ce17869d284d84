"""Values of the digest contract: their send forms, what is refused, and which need an original.

Written from docs/digest-contract.md. Nothing of the package is imported.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn

Parameters = Mapping[str, Any]
Stored = tuple[str, Any]
"""(storage class, int, float or bytes); text is bytes here, for not all text is valid UTF-8."""

_EXACT_INTEGER = 2**53
DAY = 86_400_000_000
_YEAR_2000 = date(2000, 1, 1).toordinal()
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Refused(Exception):
    """The codec does not take the value."""


def require(condition: object) -> None:
    """Refuse the value unless the condition holds."""
    if not condition:
        raise Refused


def stored(notation: Mapping[str, str]) -> Stored:
    """A value of vectors.json: {"integer": digits}, {"real": its eight bytes}, {"text": bytes} or {"blob": bytes}."""
    ((kind, written),) = notation.items()
    if kind == "integer":
        return kind, int(written)
    raw = bytes.fromhex(written)
    return (kind, struct.unpack(">d", raw)[0]) if kind == "real" else (kind, raw)


def exact(value: Stored) -> bytes:
    """The bytes of an original: int8, binary64, or the stored bytes."""
    kind, data = value
    return struct.pack({"integer": ">q", "real": ">d"}[kind], data) if kind in ("integer", "real") else data


def shortest(value: Stored) -> str:
    """A number as text: digits, or the shortest decimal of a REAL as Python's repr() writes it."""
    kind, data = value
    require(kind in ("integer", "real"))
    return str(data) if kind == "integer" else repr(data)


def text_of(value: Stored) -> str:
    """Valid text.

    Raises:
        Refused: another class, or bytes that are not UTF-8.
    """
    kind, data = value
    require(kind == "text")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Refused from None


# -- numbers -------------------------------------------------------------------------------------------------------


def numeric(number: Decimal) -> bytes:
    """numeric_send: int2 count, weight, sign, scale, then base-10000 digits without zeros at either end."""
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


def _double(value: Stored, parameters: Parameters) -> bytes:
    kind, data = value
    require(kind == "real" or (kind == "integer" and abs(data) <= _EXACT_INTEGER))
    return struct.pack(">d", float(data))


def _numeric(value: Stored, parameters: Parameters) -> bytes:
    written = re.sub(r"\.0(?=$|e)", "", shortest(value))
    require("inf" not in written)
    return numeric(Decimal(written))


def _bigint(value: Stored, parameters: Parameters) -> bytes:
    require(value[0] == "integer")
    return struct.pack(">q", value[1])


def _few_bytes(format: str) -> Callable[[Stored, Parameters], bytes]:
    def sent(value: Stored, parameters: Parameters) -> bytes:
        require(value[0] == "integer")
        try:
            return struct.pack(format, value[1])
        except struct.error:
            raise Refused from None

    return sent


def _decimal(value: Stored, parameters: Parameters) -> bytes:
    written = re.sub(r"\.0(?=$|e)", "", shortest(value))
    require("inf" not in written)
    number, places = Decimal(written), parameters["scale"]
    digits = abs(number).scaleb(places)
    require(digits == int(digits) and len(str(int(digits))) <= parameters["precision"])
    return numeric(Decimal((int(number < 0), tuple(map(int, str(int(digits)))), -places)))


def _boolean(value: Stored, parameters: Parameters) -> bytes:
    require(value in (("integer", 0), ("integer", 1)))
    return bytes([value[1]])


def _moment(value: Stored, parameters: Parameters) -> bytes:
    require(value[0] == "integer" and value[1] % 10 ** (6 - parameters["precision"]) == 0)
    return struct.pack(">q", value[1] - 946_684_800_000_000)


# -- text ----------------------------------------------------------------------------------------------------------


def _text(value: Stored, parameters: Parameters) -> bytes:
    if value[0] in ("integer", "real"):
        return shortest(value).encode()
    require("\x00" not in text_of(value))
    return bytes(value[1])


def _varchar(value: Stored, parameters: Parameters) -> bytes:
    raw = _text(value, parameters)
    require(not parameters["length"] or len(raw.decode()) <= parameters["length"])
    return raw


def _char(value: Stored, parameters: Parameters) -> bytes:
    require("\x00" not in text_of(value) and len(text_of(value)) == parameters["length"])
    return bytes(value[1])


def _enum(value: Stored, parameters: Parameters) -> bytes:
    require(text_of(value) in json.loads(parameters["labels"]))
    return bytes(value[1])


def _bytea(value: Stored, parameters: Parameters) -> bytes:
    return shortest(value).encode() if value[0] in ("integer", "real") else bytes(value[1])


def _uuid(value: Stored, parameters: Parameters) -> bytes:
    require(_UUID.fullmatch(text_of(value)))
    return bytes.fromhex(text_of(value).replace("-", ""))


def _loads(text: str, **hooks: Any) -> Any:
    def constant(_: str) -> NoReturn:
        raise Refused

    try:
        return json.loads(text, parse_constant=constant, **hooks)
    except json.JSONDecodeError:
        raise Refused from None


def _json(value: Stored, parameters: Parameters) -> bytes:
    if value[0] == "text":
        _loads(text_of(value))
    else:
        require(parameters.get("numbers") and "inf" not in shortest(value))
    return _text(value, parameters)


class _Number(str):
    """A number of a JSON text, as it is written."""


def _jsonb_number(digits: str) -> _Number:
    number = Decimal(digits)
    return _Number(format(abs(number) if number.is_zero() else number, "f"))


def _jsonb_print(value: Any) -> str:
    """A value as jsonb prints it: keys by length, then bytes; one blank after ':' and ','."""
    if isinstance(value, _Number):
        return value
    if isinstance(value, list):
        return "[" + ", ".join(map(_jsonb_print, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{_jsonb_print(key)}: {_jsonb_print(value[key])}" for key in keys) + "}"
    return json.dumps(value, ensure_ascii=False)


def _jsonb(value: Stored, parameters: Parameters) -> bytes:
    if value[0] == "text":
        text = text_of(value)
        require("\\u0000" not in text)
        require(_jsonb_print(_loads(text, parse_int=_jsonb_number, parse_float=_jsonb_number)) == text)
    else:
        require(parameters.get("numbers") and value[0] == "integer")
    return b"\x01" + _text(value, parameters)


# -- dates and times -----------------------------------------------------------------------------------------------


def _offset(shape: str) -> str:
    match = re.search(r" ?(Z|[+-]\d\d:\d\d)$", shape)
    return match[0] if match and "YYYY" in shape else ""


def offset_microseconds(shape: str) -> int:
    offset = _offset(shape).strip()
    if offset in ("", "Z"):
        return 0
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return minutes * 60_000_000 * (-1 if offset[0] == "-" else 1)


def _fields(text: str, shape: str) -> tuple[int, int]:
    """(days since 2000-01-01, microseconds of the day) of text that has the shape and names a moment there is."""
    body = shape.removesuffix(_offset(shape))
    require(len(text) == len(shape) and text.isascii() and text.endswith(_offset(shape)))
    digits: dict[str, str] = {}
    for letter, char in zip(body, text, strict=False):
        if letter in "YMDHISf":
            require(char.isdigit())
            digits[letter] = digits.get(letter, "") + char
        else:
            require(char == letter)
    hour, minute, second = (int(digits.get(letter, "0")) for letter in "HIS")
    require(hour < 24 and minute < 60 and second < 60)
    try:
        day = date(*(int(digits[letter]) for letter in "YMD")).toordinal() - _YEAR_2000 if "Y" in digits else 0
    except ValueError:
        raise Refused from None
    fraction = int(digits.get("f", "").ljust(6, "0"))
    return day, ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction


def written(shape: str, days: int, microseconds: int) -> str:
    """The text of a shape; the inverse of `_fields`."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    day = date.fromordinal(_YEAR_2000 + days)
    fields = {
        "YYYY": f"{day.year:04d}",
        "MM": f"{day.month:02d}",
        "DD": f"{day.day:02d}",
        "HH": f"{seconds // 3600:02d}",
        "II": f"{seconds // 60 % 60:02d}",
        "SS": f"{seconds % 60:02d}",
    }
    text = shape
    for letters, number in fields.items():
        text = text.replace(letters, number, 1)
    return re.sub("f+", lambda match: f"{fraction:06d}"[: len(match[0])], text)


def _temporal(pack: Callable[[int, int], bytes]) -> Callable[[Stored, Parameters], bytes]:
    def sent(value: Stored, parameters: Parameters) -> bytes:
        days, clock = _fields(text_of(value), parameters["shape"])
        return pack(days, clock - offset_microseconds(parameters["shape"]))

    return sent


_SEND: dict[str, Callable[[Stored, Parameters], bytes]] = {
    "bigint": _bigint,
    "integer": _few_bytes(">i"),
    "smallint": _few_bytes(">h"),
    "decimal": _decimal,
    "varchar": _varchar,
    "char": _char,
    "enum": _enum,
    "boolean": _boolean,
    "double": _double,
    "numeric": _numeric,
    "text": _text,
    "json": _json,
    "jsonb": _jsonb,
    "uuid": _uuid,
    "bytea": _bytea,
    "moment": _moment,
    "date": _temporal(lambda days, clock: struct.pack(">i", days)),
    "time": _temporal(lambda days, clock: struct.pack(">q", clock)),
    "timestamp": _temporal(lambda days, clock: struct.pack(">q", days * DAY + clock)),
    "timestamptz": _temporal(lambda days, clock: struct.pack(">q", days * DAY + clock)),
}


def send(codec: str, parameters: Parameters, value: Stored) -> bytes:
    """The bytes of a value in the target type.

    Raises:
        Refused: the codec does not take it.
    """
    return _SEND[codec](value, parameters)
