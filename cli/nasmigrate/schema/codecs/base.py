"""What a codec is: a Postgres type, an encoder to the bytes of its binary send function, and the inverse.

A codec works on whole columns of a batch. Where every value of the batch has the class the codec is native to,
encoding is vectorised; every other value goes through `encode_one`, is decoded again, and becomes an *original*
when the inverse is not exact. So codec + originals is the exact way back, by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.model import StorageClass


class RawText(bytes):
    """TEXT whose bytes are not valid in the file's encoding, as stored. Its storage class is text."""

    __slots__ = ()


SqliteValue = int | float | str | bytes | None
"""A value as the exact reader yields it; RawText is a bytes."""

_NO_NULLS: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)


class Misfit(ValueError):
    """A value the codec cannot hold. The plan was made for other data; `index` is its row in the batch."""

    def __init__(self, value: SqliteValue, index: int = -1) -> None:
        super().__init__(f"a {storage_class(value)} value does not fit")
        self.value = value
        self.index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The exact stored form of one value whose inverse is not exact. `row` is its index in the batch."""

    row: int
    storage_class: StorageClass
    value: bytes


@dataclass(slots=True, kw_only=True)
class Encoded:
    """One column of a batch in send form, NULLs left out.

    Fixed-width codecs fill `data` (rows x width bytes, concatenated); variable-width ones fill `values` and
    `lengths` (big-endian int4). `nulls` are the row indices that are NULL, ascending.
    """

    rows: int
    width: int | None
    data: bytes = b""
    values: list[bytes] = field(default_factory=list)
    lengths: npt.NDArray[Any] = field(default_factory=lambda: np.empty(0, dtype=">i4"))
    nulls: npt.NDArray[np.intp] = field(default_factory=lambda: _NO_NULLS)
    originals: list[Original] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of payload, without length prefixes."""
        return len(self.data) if self.width is not None else int(self.lengths.sum(dtype=np.int64))


def storage_class(value: SqliteValue) -> StorageClass:
    """What `typeof()` says of a value that the exact reader yielded."""
    if value is None:
        return StorageClass.NULL
    if isinstance(value, float):
        return StorageClass.REAL
    if isinstance(value, int):
        return StorageClass.INTEGER
    if isinstance(value, str | RawText):
        return StorageClass.TEXT
    return StorageClass.BLOB


def exact_bytes(value: SqliteValue) -> bytes:
    """The bytes that, with its storage class, say exactly which value this is.

    int8 and float8 big-endian; text as UTF-8 (or as stored where it is not valid); a blob as it is.
    """
    if value is None:
        return b""
    if isinstance(value, float):
        return np.array(value, dtype=">f8").tobytes()
    if isinstance(value, int):
        return value.to_bytes(8, "big", signed=True)
    if isinstance(value, str):
        return value.encode()
    return bytes(value)


def from_exact(storage: StorageClass, raw: bytes) -> SqliteValue:
    """The inverse of `exact_bytes`."""
    match storage:
        case StorageClass.NULL:
            return None
        case StorageClass.INTEGER:
            return int.from_bytes(raw, "big", signed=True)
        case StorageClass.REAL:
            return float(np.frombuffer(raw, dtype=">f8")[0])
        case StorageClass.TEXT:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return RawText(raw)
        case StorageClass.BLOB:
            return raw


def same(left: SqliteValue, right: SqliteValue) -> bool:
    """Equal in storage class and bytes; `==` would call 1 and 1.0, or 0.0 and -0.0, equal."""
    return storage_class(left) is storage_class(right) and exact_bytes(left) == exact_bytes(right)


class Codec:
    """Base of all codecs. A subclass gives the type, the two directions and its SQL.

    Class attributes:
        name: the codec's name in plan.json.
        width: bytes of the send form, None when it varies.
        send: SQL function giving the send form of a value as bytea; '' for bytea itself.
        ordered: True when SQLite's order of the native class equals Postgres' order of the type.
        native: Python types that the vectorised road takes.

    Instance attributes:
        uniform: False when even native values must each be decoded again to know that they come back.
    """

    name: ClassVar[str]
    width: ClassVar[int | None]
    send: ClassVar[str]
    ordered: ClassVar[bool] = False
    native: ClassVar[frozenset[type]]
    uniform: bool = True

    @property
    def pg_type(self) -> str:
        """The Postgres type as DDL writes it, without collation."""
        raise NotImplementedError

    def parameters(self) -> dict[str, str | int]:
        """What, besides the name, plan.json must keep to build this codec again."""
        return {}

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        """Send bytes of values that are all of the native types: (data, []) when fixed, else (b"", values).

        Raises:
            Misfit: a value is outside what the type holds.
        """
        raise NotImplementedError

    def encode_one(self, value: SqliteValue) -> bytes:
        """Send bytes of one value that is not NULL, of any class the codec can hold.

        Raises:
            Misfit: the value is outside what the type holds.
        """
        if type(value) not in self.native:
            raise Misfit(value)
        data, values = self.encode_native([value])
        return data if self.width is not None else values[0]

    def decode_one(self, raw: bytes) -> SqliteValue:
        """The stored value that `raw` stands for, unless an original says otherwise."""
        raise NotImplementedError

    def parameter(self, value: SqliteValue) -> object:
        """A chunk bound as a psycopg parameter; the statement casts it to `pg_type`."""
        return value

    def encode(self, column: Sequence[SqliteValue]) -> Encoded:
        """Encode one column of a batch.

        Raises:
            Misfit: with the row's index within the batch.
        """
        types = set(map(type, column))
        rows = len(column)
        nulls = _NO_NULLS
        if type(None) in types:
            types.discard(type(None))
            nulls = np.array([i for i, value in enumerate(column) if value is None], dtype=np.intp)
            if not types:
                return Encoded(rows=rows, width=self.width, nulls=nulls)
        if self.uniform and types <= self.native:
            present = column if not len(nulls) else [value for value in column if value is not None]
            try:
                data, values = self.encode_native(present)
            except Misfit:
                return self._encode_mixed(column, nulls)
            return self._packed(rows, data, values, nulls, [])
        return self._encode_mixed(column, nulls)

    def _encode_mixed(self, column: Sequence[SqliteValue], nulls: npt.NDArray[np.intp]) -> Encoded:
        """One value at a time; what does not come back exactly is kept as an original."""
        values: list[bytes] = []
        originals: list[Original] = []
        for index, value in enumerate(column):
            if value is None:
                continue
            try:
                raw = self.encode_one(value)
            except Misfit as misfit:
                raise Misfit(misfit.value, index) from None
            values.append(raw)
            if not same(self.decode_one(raw), value):
                originals.append(Original(row=index, storage_class=storage_class(value), value=exact_bytes(value)))
        if self.width is not None:
            return self._packed(len(column), b"".join(values), [], nulls, originals)
        return self._packed(len(column), b"", values, nulls, originals)

    def _packed(
        self,
        rows: int,
        data: bytes,
        values: list[bytes],
        nulls: npt.NDArray[np.intp],
        originals: list[Original],
    ) -> Encoded:
        if self.width is not None:
            return Encoded(rows=rows, width=self.width, data=data, nulls=nulls, originals=originals)
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values)).astype(">i4")
        return Encoded(rows=rows, width=None, values=values, lengths=lengths, nulls=nulls, originals=originals)
