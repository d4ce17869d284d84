"""Numbers as people read them: counts, seconds, bytes, rates and shortened digests."""

from __future__ import annotations

DIGEST_LENGTH = 12
"""Hex digits of a digest that are shown; the whole one is in result.json."""


def count(number: int | None) -> str:
    """`752,865`; a number that was not taken is a question mark, never 0."""
    return "?" if number is None else f"{number:,}"


def plural(number: int, noun: str) -> str:
    """`1 table`, `22 tables`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seconds(value: float | None) -> str:
    """`0.31 s`, `12.4 s`, `2 min 14 s`, `1 h 05 min`; an unknown duration is empty."""
    if value is None:
        return ""
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(number: float) -> str:
    """Bytes in decimal units, as disks are sold: `812 B`, `3.2 GB`."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def rate(name: str, value: float) -> tuple[str, str]:
    """A measured rate as (label, figure): `copy_rows_per_second`, 640e3 -> `copy`, `640,000 rows/s`."""
    words = name.replace("_", " ").strip()
    for ending, unit in ((" per second", "/s"), (" per s", "/s")):
        if words.endswith(ending):
            head, _, what = words.removesuffix(ending).rpartition(" ")
            figure = size(value) if what == "bytes" else f"{value:,.0f} {what}"
            return head or "all", figure + unit
    return words, f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def short_digest(digest: str | None) -> str:
    """The first digits of a digest, without a `sha256:` in front."""
    return digest.rpartition(":")[2][:DIGEST_LENGTH] if digest else ""
