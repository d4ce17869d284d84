"""What a codec is: a Postgres type, an encoder to the bytes of its binary send function, and the inverse.

A codec works on whole columns of a batch. Where every value of the batch has the class the codec is native to,
encoding is vectorised; every other value goes through `encode_one`, is decoded again, and becomes an *original*
when the inverse is not exact. So codec + originals is the exact way back, by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress, repeat
from operator import is_
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nasmigrate.schema.model import StorageClass


class RawText(bytes):
    """TEXT whose bytes are not valid in the file's encoding, as stored. To SQLite its storage class is text."""

    __slots__ = ()

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are some other text in UTF-8: so it may be in a file in UTF-16, never in UTF-8."""
        try:
            self.decode()
        except UnicodeDecodeError:
            return False
        return True


SqliteValue = int | float | str | bytes | None
"""A value as the exact reader yields it; RawText is a bytes."""

NULL_LENGTH = -1
"""The length that binary COPY writes for a NULL."""
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
    """One column of a batch in send form.

    Fixed-width codecs fill `data` (width bytes for each value, concatenated, NULLs left out); variable-width ones
    fill `values` and `lengths` (big-endian int4) with an entry for each row, b"" and -1 at a NULL.
    `nulls` are the row indices that are NULL, ascending.
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
        return len(self.data) if self.width is not None else int(self.lengths.sum(dtype=np.int64)) + len(self.nulls)


def storage_class(value: SqliteValue) -> StorageClass:
    """What `typeof()` says of a value that the exact reader yielded; RAW_TEXT where the bytes alone would not."""
    if value is None:
        return StorageClass.NULL
    if isinstance(value, float):
        return StorageClass.REAL
    if isinstance(value, int):
        return StorageClass.INTEGER
    if isinstance(value, RawText):
        return StorageClass.RAW_TEXT if value.is_utf8 else StorageClass.TEXT
    if isinstance(value, str):
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
        case StorageClass.RAW_TEXT:
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
        strict: True when `encode_native` itself raises TypeError for a value of any other type, NULL included,
            which spares a look at each value's type.

    Instance attributes:
        uniform: False when even native values must each be decoded again to know that they come back.
    """

    name: ClassVar[str]
    width: ClassVar[int | None]
    send: ClassVar[str]
    ordered: ClassVar[bool] = False
    native: ClassVar[frozenset[type]]
    strict: ClassVar[bool] = False
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

    def encode_one(self, value: SqliteValue) -> bytes | None:
        """Send bytes of one value that is not NULL, of any class the codec can hold; None where it becomes NULL.

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
        encoded = self._encode_uniform(column) if self.uniform else None
        return encoded if encoded is not None else self._encode_mixed(column)

    def _encode_uniform(self, column: Sequence[SqliteValue]) -> Encoded | None:
        """The vectorised road; None when a value is not of the native types, or does not fit."""
        types = None if self.strict else set(map(type, column))
        if types is None or types <= self.native:
            try:
                return self._packed(len(column), *self.encode_native(column))
            except Misfit:
                return None
            except TypeError:
                if not self.strict:
                    raise
        elif not types <= self.native | {type(None)}:
            return None
        nulls = list(compress(range(len(column)), map(is_, column, repeat(None))))
        if not nulls:
            return None
        if len(nulls) == len(column):
            return self._packed(len(column), bytes((self.width or 0) * len(column)), [b""] * len(column), nulls)
        # A value of the column itself stands in for its NULLs, so that the rest stays vectorised.
        stand_in = next(value for value in column if value is not None)
        filled = list(column)
        for row in nulls:
            filled[row] = stand_in
        try:
            return self._packed(len(column), *self.encode_native(filled), nulls)
        except (TypeError, Misfit):
            return None

    def _encode_mixed(self, column: Sequence[SqliteValue]) -> Encoded:
        """One value at a time; what does not come back exactly is kept as an original."""
        values: list[bytes] = []
        nulls: list[int] = []
        originals: list[Original] = []
        blank = bytes(self.width or 0)
        for index, value in enumerate(column):
            try:
                raw = None if value is None else self.encode_one(value)
            except Misfit as misfit:
                raise Misfit(misfit.value, index) from None
            if raw is None:
                nulls.append(index)
                values.append(blank)
            else:
                values.append(raw)
            if not same(None if raw is None else self.decode_one(raw), value):
                originals.append(Original(row=index, storage_class=storage_class(value), value=exact_bytes(value)))
        fixed = self.width is not None
        return self._packed(len(column), b"".join(values) if fixed else b"", values, nulls, originals)

    def _packed(
        self, rows: int, data: bytes, values: list[bytes], nulls: Sequence[int] = (), originals: Sequence[Original] = ()
    ) -> Encoded:
        """The column from an entry for each row; those at the NULLs mean nothing."""
        where = np.array(nulls, dtype=np.intp)
        if self.width is not None:
            if nulls:
                present = np.ones(rows, dtype=bool)
                present[where] = False
                data = np.frombuffer(data, dtype=np.uint8).reshape(rows, self.width)[present].tobytes()
            return Encoded(rows=rows, width=self.width, data=data, nulls=where, originals=list(originals))
        for row in nulls:
            values[row] = b""
        lengths = np.fromiter(map(len, values), dtype=">i4", count=rows)
        lengths[where] = NULL_LENGTH
        return Encoded(rows=rows, width=None, values=values, lengths=lengths, nulls=where, originals=list(originals))
