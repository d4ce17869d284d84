"""UUIDs stored as text in `uuid`.

Postgres prints a UUID in lower case with hyphens whatever it was given, so only text of that form comes back. A
blob of 16 bytes stays `bytea`: it is no text, and the application reads bytes from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nasmigrate.schema.codecs.base import Codec, Misfit, SqliteValue
from nasmigrate.schema.codecs.candidate import Candidate, clean_text

if TYPE_CHECKING:
    from nasmigrate.schema.evidence import ColumnProfile
    from nasmigrate.schema.model import Column

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_COLUMN = re.compile(r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\n)*", re.ASCII)
_LENGTH = 36


class Uuid(Codec):
    """`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case; bytes order as the text does."""

    name: ClassVar = "uuid"
    width: ClassVar = 16
    send: ClassVar = "uuid_send"
    ordered: ClassVar = True
    native: ClassVar = frozenset({str})
    strict: ClassVar = True
    pg_type = "uuid"

    def encode_native(self, column: Sequence[Any]) -> tuple[bytes, list[bytes]]:
        if not _all_canonical(column):
            raise Misfit(next(value for value in column if not _CANONICAL.fullmatch(value)))
        return bytes.fromhex("".join(column).replace("-", "")), []

    def decode_one(self, raw: bytes) -> SqliteValue:
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _all_canonical(column: Sequence[str]) -> bool:
    """Whether every value has the canonical form; one expression over all of them is the quickest way to know."""
    joined = "\n".join(column) + "\n"
    return len(joined) == (_LENGTH + 1) * len(column) and _COLUMN.fullmatch(joined) is not None


class UuidTest:
    """Sorts text into `canonical`, `other form` (upper case, braces, no hyphens: still a UUID) and `other`."""

    name: ClassVar = "uuid"
    one_length: ClassVar = True

    def all_of(self, values: Sequence[str]) -> str | None:
        return "canonical" if _all_canonical(values) else None

    def one(self, value: str) -> str:
        if _CANONICAL.fullmatch(value):
            return "canonical"
        return "other" if canonical(value) is None else "other form"


_BARE = re.compile(r"[0-9a-f]{32}", re.ASCII)


def canonical(text: str) -> str | None:
    """The canonical form of a UUID in upper case, in braces, as a URN or without hyphens; None when it is none."""
    bare = text.lower().removeprefix("urn:uuid:")
    if bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1]
    if len(bare) == _LENGTH:
        return bare if _CANONICAL.fullmatch(bare) else None
    if not _BARE.fullmatch(bare):
        return None
    return f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"


def _uuid(column: Column, profile: ColumnProfile) -> Codec | None:
    if not profile.classes:
        return Uuid()
    if set(profile.classes) != {"text"} or not clean_text(profile):
        return None
    return Uuid() if set(profile.labels["uuid"]) == {"canonical"} else None


CANDIDATES = (
    Candidate(
        codecs=(Uuid,),
        build=_uuid,
        words=frozenset({"UUID"}),
        forced=frozenset({"uuid"}),
        test=UuidTest,
    ),
)
