"""The codec of a column with rules: the rules, then the codec they lead to; what that does not undo is an original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nasmigrate.schema.codecs import Codec, Encoded, Misfit, Original, SqliteValue, exact_bytes, same, storage_class
from nasmigrate.schema.codecs.base import NULL_LENGTH
from nasmigrate.schema.codecs.moment import Moment
from nasmigrate.schema.rules.apply import Applied, RuleSet
from nasmigrate.schema.rules.base import Rule


class Ruled(Codec):
    """A codec behind rules. Values go through the rules first; decoding is the codec's own.

    It is never `ordered`: SQLite orders what is stored, Postgres what the rules made of it.
    """

    def __init__(self, inner: Codec, names: Sequence[str]) -> None:
        self.inner = inner
        self.rules = RuleSet(names)
        self.name = inner.name  # type: ignore[misc]
        self.width = inner.width  # type: ignore[misc]
        self.send = inner.send  # type: ignore[misc]
        self.native = inner.native  # type: ignore[misc]
        self.uniform = False
        self._quick = _quick_rule(self.rules, inner)

    @property
    def pg_type(self) -> str:
        """The type of the codec behind the rules."""
        return self.inner.pg_type

    def parameters(self) -> dict[str, str | int]:
        """Those of the codec behind the rules; the plan keeps the rules beside them."""
        return self.inner.parameters()

    def encode(self, column: Sequence[SqliteValue]) -> Encoded:
        """Encode one column of a batch.

        Raises:
            Misfit: a value is outside the rules, or does not fit the codec; with the row's index within the batch.
        """
        applied = self.rules.without_nulls_made(column)
        encoded = self._at_once(applied.values)
        if encoded is None:
            applied = self.rules.lead(applied)
            if applied.outside:
                row = applied.outside[0]
                raise Misfit(column[row], row)
            try:
                encoded = self.inner.encode(applied.values)
            except Misfit as misfit:
                raise Misfit(column[misfit.index] if misfit.index >= 0 else misfit.value, misfit.index) from None
        if applied.taken:
            self._keep(column, applied, encoded)
        return encoded

    def encode_one(self, value: SqliteValue) -> bytes | None:
        """Send bytes of one stored value, None where a rule makes it NULL."""
        encoded = self.encode([value])
        if len(encoded.nulls):
            return None
        return encoded.data if encoded.width is not None else encoded.values[0]

    def decode_one(self, raw: bytes) -> SqliteValue:
        """As the codec behind the rules decodes."""
        return self.inner.decode_one(raw)

    def parameter(self, value: SqliteValue) -> object:
        """As the codec behind the rules binds."""
        return self.inner.parameter(value)

    def _at_once(self, values: Sequence[Any]) -> Encoded | None:
        """A column of one form that the codec gives back by itself; None when it is not."""
        if self._quick is None or not isinstance(self.inner, Moment):
            return None
        if self.inner.text is not None:
            try:
                encoded = self.inner.text.encode(values)
            except Misfit:
                return None
            return None if encoded.originals else encoded
        return self._numbers(values)

    def _numbers(self, values: Sequence[Any]) -> Encoded | None:
        assert isinstance(self.inner, Moment)  # noqa: S101 - asked by the caller
        assert self._quick is not None  # noqa: S101 - as above
        if not set(map(type, values)) <= {int, type(None)}:
            return None
        nulls = [row for row, value in enumerate(values) if value is None] if None in values else []
        present = [value for value in values if value is not None] if nulls else values
        moments = None
        if present and self._quick.many is not None:
            moments = self._quick.many(np.array(present, dtype=np.int64))
        if moments is None:
            return None
        try:
            data = self.inner.pack(moments)
        except Misfit:
            return None
        return Encoded(rows=len(values), width=8, data=data, nulls=np.array(nulls, dtype=np.intp))

    def _keep(self, column: Sequence[SqliteValue], applied: Applied, encoded: Encoded) -> None:
        """Originals for the values that the rules changed, where decoding does not undo it."""
        raws = _raws(encoded, sorted(applied.taken))
        originals = [original for original in encoded.originals if original.row not in applied.taken]
        for row, raw in raws.items():
            value = column[row]
            if not same(self._back(raw), value):
                originals.append(Original(row=row, storage_class=storage_class(value), value=exact_bytes(value)))
        encoded.originals = sorted(originals, key=lambda original: original.row)

    def _back(self, raw: bytes | None) -> SqliteValue:
        try:
            return None if raw is None else self.inner.decode_one(raw)
        except Misfit:
            # A moment that the inverse cannot write; an original stands for it.
            return None


def _quick_rule(rules: RuleSet, inner: Codec) -> Rule | None:
    """The rule whose stored form the codec decodes to, where whole columns of it can be encoded at once."""
    if not isinstance(inner, Moment) or inner.number == "real" or inner.inverse == "julian-day":
        return None
    return next((rule for rule in rules.leading if rule.name == inner.inverse), None)


def _raws(encoded: Encoded, rows: Sequence[int]) -> dict[int, bytes | None]:
    """The send bytes of some rows, None at a NULL; `rows` ascend."""
    if encoded.width is None:
        null = encoded.lengths == NULL_LENGTH
        return {row: None if null[row] else encoded.values[row] for row in rows}
    nulls = set(encoded.nulls.tolist())
    before = np.searchsorted(encoded.nulls, np.array(rows, dtype=np.intp)).tolist()
    width = encoded.width
    return {
        row: None if row in nulls else encoded.data[(row - skipped) * width : (row - skipped + 1) * width]
        for row, skipped in zip(rows, before, strict=True)
    }
