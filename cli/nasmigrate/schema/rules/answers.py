"""Which rules would answer a finding, and the TOML that applies them.

A rule is named only where the evidence does not speak against it. It may still be refused: the evidence of a column
without rules has counts and a few values, a rule looks at each value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasmigrate.core.toml import toml_string
from nasmigrate.schema.codecs.shapes import ZERO, is_shape
from nasmigrate.schema.evidence import ColumnProfile
from nasmigrate.schema.oddities import EMPTY
from nasmigrate.schema.rules import REGISTRY
from nasmigrate.schema.rules.base import OUTSIDE
from nasmigrate.schema.rules.moments import has_offset

Names = tuple[str, ...]
_NONE: Names = ()


def answer(code: str, profile: ColumnProfile) -> Names:
    """The rules that would answer a finding about a column; none when there are none."""
    find = _ANSWERS.get(code)
    return find(profile) if find is not None else _NONE


def rules_towards(pg_type: str, profile: ColumnProfile) -> Names:
    """The rules that would make a column's values fit a type of the target; none when there are none."""
    find = _TOWARDS.get(pg_type)
    return find(profile) if find is not None and profile.rules is None else _NONE


def rule_block(subject: str, names: Names) -> str:
    """The TOML that applies rules to `table.column`."""
    written = [toml_string(name) for name in names]
    value = written[0] if len(written) == 1 else f"[{', '.join(written)}]"
    return f"[columns.{toml_string(subject)}]\nrule = {value}"


def _samples_fit(profile: ColumnProfile, what: str, name: str) -> bool:
    """Whether the rule takes all values that the evidence kept of a class."""
    rule = REGISTRY[name]
    return all(
        type(value) in rule.kinds and rule.normalise(value) is not OUTSIDE for value in profile.samples.get(what, [])
    )


def _only(profile: ColumnProfile, *classes: str) -> bool:
    return set(profile.classes) <= set(classes)


def _empty(profile: ColumnProfile) -> Names:
    return ("empty-as-null",) if profile.odd[EMPTY] else _NONE


def _only_empty(profile: ColumnProfile) -> Names:
    return _empty(profile) if profile.odd[EMPTY] == profile.texts else _NONE


def _words(profile: ColumnProfile) -> Names:
    numbers = not profile.integers or (profile.integer_min >= 0 and profile.integer_max <= 1)
    fits = (
        numbers and profile.texts and _only(profile, "integer", "text") and _samples_fit(profile, "text", "bool-words")
    )
    return ("bool-words",) if fits else _NONE


def _money(profile: ColumnProfile) -> Names:
    fits = _only(profile, "integer", "real") and _samples_fit(profile, "real", "money-cents-snap")
    return ("money-cents-snap",) if fits else _NONE


def _epoch(profile: ColumnProfile) -> Names:
    ends = (profile.integer_min, profile.integer_max)
    for name in ("epoch-s", "epoch-ms", "epoch-us"):
        if all(REGISTRY[name].normalise(end) is not OUTSIDE for end in ends):
            return (name,)
    return _NONE


def _text_moments(profile: ColumnProfile) -> Names:
    """The rules for text with and without an offset, the more frequent first; none when some text is no moment."""
    counts: dict[str, int] = {}
    for shape, count in profile.shapes.items():
        if shape == ZERO:
            continue
        if not is_shape(shape) or not shape.startswith("YYYY"):
            return _NONE
        name = "offset-as-utc" if has_offset(shape) else "naive-as-utc"
        counts[name] = counts.get(name, 0) + count
    return tuple(sorted(counts, key=lambda name: -counts[name]))


def _null_makers(profile: ColumnProfile) -> Names:
    empty, zero = profile.odd[EMPTY], profile.shapes[ZERO]
    return _empty(profile) + (("zero-date-as-null",) if zero > empty else _NONE)


def _shapes(profile: ColumnProfile) -> Names:
    names = _text_moments(profile) if _only(profile, "text") else _NONE
    return _null_makers(profile) + names if names else _NONE


def _classes(profile: ColumnProfile) -> Names:
    numbers, texts = _epoch(profile), _text_moments(profile)
    if not _only(profile, "integer", "text") or not numbers or not (texts or profile.shapes[ZERO] == profile.texts):
        return _NONE
    return _null_makers(profile) + (numbers + texts if profile.integers >= profile.texts else texts + numbers)


def _blobs_of_text(profile: ColumnProfile) -> bool:
    return _only(profile, "text", "blob") and _samples_fit(profile, "blob", "blob-as-text")


def _when(fits: Callable[[ColumnProfile], bool], *names: str) -> Callable[[ColumnProfile], Names]:
    return lambda profile: names if fits(profile) else _NONE


def _has_none(profile: ColumnProfile, test: str, *labels: str) -> bool:
    return _only(profile, "text") and not set(labels) & set(profile.labels.get(test, ()))


_ANSWERS: Mapping[str, Callable[[ColumnProfile], Names]] = {
    "EMPTY_STRING": _empty,
    "TEXT_IN_INTEGER": _only_empty,
    "BOOL_DOMAIN": _words,
    "MONEY_FRACTION": _money,
    "EPOCH_CANDIDATE": _epoch,
    "JULIAN_CANDIDATE": lambda profile: ("julian-day",),
    "ZERO_DATE": _null_makers,
    "MIXED_DATETIME_SHAPES": _shapes,
    "MIXED_DATETIME_CLASSES": _classes,
    "NUL_IN_TEXT": _when(lambda profile: _only(profile, "text") and not profile.raw_texts, "nul-in-text=replace"),
    "INVALID_UTF8": _when(lambda profile: _only(profile, "text"), "invalid-utf8=bytea"),
    "BLOB_IN_TEXT": _when(_blobs_of_text, "blob-as-text"),
    "JSONB_BLOB": _when(lambda profile: _samples_fit(profile, "blob", "jsonb-blob-as-json"), "jsonb-blob-as-json"),
    "UUID_NOT_CANONICAL": _when(lambda profile: _has_none(profile, "uuid", "other"), "uuid-canonical"),
    "JSON_NOT_CANONICAL": _when(lambda profile: _has_none(profile, "json", "other", "nul escape"), "json-reformat"),
}


def _moments(profile: ColumnProfile) -> Names:
    if _only(profile, "integer"):
        return _epoch(profile)
    return _shapes(profile) or _classes(profile)


_TOWARDS: Mapping[str, Callable[[ColumnProfile], Names]] = {
    "bigint": _money,
    "boolean": _words,
    "integer": _money,
    "json": _when(lambda profile: _has_none(profile, "json", "other"), "json-reformat"),
    "jsonb": _when(lambda profile: _has_none(profile, "json", "other", "nul escape"), "json-reformat"),
    "timestamptz": _moments,
    "uuid": _when(lambda profile: _has_none(profile, "uuid", "other"), "uuid-canonical"),
}
"""By type, without its precision."""
