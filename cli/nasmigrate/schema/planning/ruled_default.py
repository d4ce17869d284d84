"""The DEFAULT of a column with rules: what the rules make of a stored default is what a new row should get."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from nasmigrate.schema.codecs.moment import UNITS, Moment
from nasmigrate.schema.expressions import NotTranslated, Translated, translate_default
from nasmigrate.schema.rules.apply import Applied
from nasmigrate.schema.rules.codec import Ruled

_LITERAL = re.compile(r"\(*\s*(?:'((?:[^']|'')*)'|([+-]?\d{1,18}))\s*\)*", re.ASCII)
_NOW_IN_SECONDS = "floor(extract(epoch FROM now()))::bigint"


def ruled_default(sql: str, codec: Ruled) -> Translated | NotTranslated | None:
    """The default of a column with rules, None where the rules have no say and it is translated as any other.

    A literal goes through the rules as a stored value would; 'now', as text or as a number of the column's unit,
    becomes the present moment.
    """
    match = _LITERAL.fullmatch(sql.strip())
    if match is not None:
        value = int(match[2]) if match[2] is not None else match[1].replace("''", "'")
        return _literal(value, codec)
    return _now(sql, codec.inner) if isinstance(codec.inner, Moment) else None


def _literal(value: int | str, codec: Ruled) -> Translated | NotTranslated | None:
    applied: Applied = codec.rules.lead(codec.rules.without_nulls_made([value]))
    if not applied.taken:
        return NotTranslated(reason="its rules do not take the literal") if applied.outside else None
    (changed,) = applied.values
    if changed is None:
        return Translated(sql="NULL")
    if isinstance(codec.inner, Moment):
        assert isinstance(changed, int)  # noqa: S101 - a moment is a number of microseconds
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=changed)
        except OverflowError:
            return NotTranslated(reason="a moment outside the years 1 to 9999")
        return Translated(sql=f"'{moment.isoformat(sep=' ', timespec='microseconds')}'::{codec.pg_type}")
    written = "'" + changed.replace("'", "''") + "'" if isinstance(changed, str) else str(changed)
    return translate_default(written, target_type=codec.pg_type, text_shape=None)


def _now(sql: str, codec: Moment) -> Translated | NotTranslated:
    as_text = translate_default(sql, target_type=codec.pg_type, text_shape=None)
    if isinstance(as_text, Translated):
        return as_text
    as_number = translate_default(sql, target_type="bigint", text_shape=None)
    if isinstance(as_number, Translated) and as_number.sql.startswith(_NOW_IN_SECONDS):
        factor = int(as_number.sql.removeprefix(_NOW_IN_SECONDS).removeprefix(" * ") or 1)
        if codec.inverse in UNITS and factor * UNITS[codec.inverse] == 1_000_000:
            return Translated(sql=f"date_trunc('second', now())::{codec.pg_type}")
        return NotTranslated(reason="it counts in another unit than the stored numbers")
    return as_text
