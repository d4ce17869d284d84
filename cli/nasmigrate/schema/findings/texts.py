"""Findings about text, binary, JSON and UUIDs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from nasmigrate.schema.codecs import Bytea
from nasmigrate.schema.codecs.candidate import Family, first_word
from nasmigrate.schema.decide import text_tests
from nasmigrate.schema.evidence import label_key
from nasmigrate.schema.findings.kind import Facts, Kind, odd
from nasmigrate.schema.oddities import BOM, DOT_ZERO, OVERLENGTH

_JSON = frozenset({"JSON", "JSONB"})


def _labelled(test: str, *labels: str) -> Callable[[Facts], int]:
    """Counts labels in columns that are to be what is tested: a column may be tested for its parent's sake alone."""

    def count(facts: Facts) -> int:
        asked = test in text_tests(facts.column, facts.codec.name)
        return sum(facts.profile.labels.get(test, Counter())[label] for label in labels) if asked else 0

    return count


def _numbers_as_bytes(facts: Facts) -> int:
    numbers = facts.profile.integers + facts.profile.reals
    as_bytes = facts.family is Family.BLOB or (isinstance(facts.codec, Bytea) and facts.family is Family.TEXT)
    return numbers if as_bytes else 0


def _mixed(facts: Facts) -> int:
    """Values outside the most frequent class of a column that has no type to go by."""
    word = first_word(facts.column.declared_type)
    counts = list(facts.profile.classes.values())
    nameless = facts.family in (Family.NONE, Family.OTHER) and word not in _JSON
    return sum(counts[1:]) if nameless else 0


KINDS = (
    Kind(
        code="NUL_IN_TEXT",
        severity="decision",
        count=lambda facts: facts.profile.nul_texts,
        message="text with a NUL character, which Postgres text cannot hold; the column stands as bytes",
        keys=("nul",),
    ),
    Kind(
        code="INVALID_UTF8",
        severity="decision",
        count=lambda facts: facts.profile.raw_texts,
        message="text that is not valid in the file's encoding; the column stands as bytes",
        keys=("raw",),
    ),
    Kind(
        code="BLOB_IN_TEXT",
        severity="decision",
        count=lambda facts: facts.profile.blobs if facts.family in (Family.TEXT, Family.TEMPORAL) else 0,
        message="blobs in a text column; it stands as bytes",
        keys=("blob",),
    ),
    Kind(
        code="TEXT_IN_BLOB",
        severity="widened",
        count=lambda facts: facts.profile.texts if facts.family is Family.BLOB else 0,
        message="text in a blob column; stored as its bytes, the class is kept beside it",
        keys=("text",),
    ),
    Kind(
        code="NUMBER_IN_BLOB",
        severity="widened",
        count=_numbers_as_bytes,
        message="numbers in a blob column; stored as their decimal text, the class is kept beside it",
        keys=("integer", "real"),
    ),
    Kind(
        code="MIXED_CLASSES",
        severity="widened",
        count=_mixed,
        message="several storage classes in a column without a type of its own; each class is kept",
        keys=("mixed",),
    ),
    Kind(
        code="JSONB_BLOB",
        severity="decision",
        count=lambda facts: facts.profile.blobs if first_word(facts.column.declared_type) in _JSON else 0,
        message="blobs in a JSON column, perhaps SQLite's binary JSON; it stands as bytes",
        keys=("blob",),
    ),
    Kind(
        code="JSON_INVALID",
        severity="widened",
        count=_labelled("json", "other"),
        message="text that is not valid JSON; the column stands as text",
        keys=(label_key("json", "other"),),
    ),
    Kind(
        code="JSON_NUL_ESCAPE",
        severity="widened",
        count=_labelled("json", "nul escape"),
        message=r"\u0000 in JSON, which jsonb refuses and json cannot be searched with",
        keys=(label_key("json", "nul escape"),),
    ),
    Kind(
        code="JSON_NOT_CANONICAL",
        severity="widened",
        count=_labelled("json", "json"),
        message=lambda facts: f"JSON that jsonb would print otherwise; it stands as {facts.codec.pg_type}",
        keys=(label_key("json", "json"),),
    ),
    Kind(
        code="UUID_NOT_CANONICAL",
        severity="widened",
        count=_labelled("uuid", "other form", "other"),
        message="UUIDs in another form than lower case with hyphens, or none; the column stands as text",
        keys=(label_key("uuid", "other form"), label_key("uuid", "other")),
    ),
    Kind(
        code="OVERLENGTH",
        severity="note",
        count=odd(OVERLENGTH),
        message=lambda facts: f"text longer than {facts.column.declared_type} says; text has no limit",
        keys=(OVERLENGTH,),
    ),
    Kind(
        code="BOM_IN_TEXT",
        severity="note",
        count=odd(BOM),
        message="text that begins with a byte order mark (U+FEFF), which counts as a character; kept",
        keys=(BOM,),
    ),
    Kind(
        code="NUMBER_TEXT_DOT_ZERO",
        severity="note",
        count=odd(DOT_ZERO, Family.TEXT),
        message="text such as 123.0: a driver that binds every number as a double wrote it; kept as stored",
        keys=(DOT_ZERO,),
    ),
)
