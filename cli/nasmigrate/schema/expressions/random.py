"""Random bytes as a DEFAULT: `randomblob(n)`, `hex(randomblob(n))`, `lower(hex(randomblob(n)))`.

PostgreSQL has no source of random bytes without an extension, but `gen_random_uuid()`, since 13, draws 122 bits from
its cryptographic generator. The sha256 of two of them has 244 bits of them: each of its bytes is as random as the
n asked for, for n up to 30.
"""

from __future__ import annotations

import re

from nasmigrate.schema.expressions.facts import Kind, Refusal, TypeName

_CALL = re.compile(
    r"(?:(?P<fold>lower|upper)\s*\(\s*)?(?:(?P<hex>hex)\s*\(\s*)?randomblob\s*\(\s*(?P<bytes>\d{1,3})\s*\)(?P<end>[\s)]*)",
    re.ASCII | re.IGNORECASE,
)
_MOST = 30
_SOURCE = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"


def random_bytes(sql: str, *, target: TypeName, text_shape: str | None) -> str | None:
    """PostgreSQL text of such a default, None when it is another expression.

    Raises:
        Refusal: more bytes than there are, or a column of another type.
    """
    match = _CALL.fullmatch(sql.strip())
    if match is None or match["end"].count(")") != bool(match["fold"]) + bool(match["hex"]):
        return None
    count = int(match["bytes"])
    if not 0 < count <= _MOST:
        raise Refusal(f"randomblob({count}): at most {_MOST} random bytes are made without an extension")
    if match["hex"] is None:
        if match["fold"] is not None or target.kind is not Kind.BYTES:
            raise Refusal(f"random bytes in a column of type {target.sql}")
        return f"substr({_SOURCE}, 1, {count})"
    if target.kind is not Kind.TEXT or text_shape is not None:
        raise Refusal(f"random digits in a column of type {target.sql}")
    digits = f"left(encode({_SOURCE}, 'hex'), {2 * count})"
    return digits if (match["fold"] or "").lower() == "lower" else f"upper({digits})"
