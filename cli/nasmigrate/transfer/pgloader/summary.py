"""pgloader's summary in its CSV form (the JSON that it writes is not valid).

A line is `"section or table";read;imported;errors;bytes;"0.148s"`; the summary says what pgloader believes.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SECONDS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """What pgloader says of one table."""

    read: int
    imported: int
    errors: int
    seconds: float


def read_summary(path: Path, tables: Iterable[str]) -> dict[str, Believed]:
    """What it says of each of the tables it names; none when there is no summary."""
    wanted = {f'"{table}"': table for table in tables} | {table: table for table in tables}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    found = {}
    for line in csv.reader(text.splitlines(), delimiter=";", escapechar="\\", doublequote=False):
        if len(line) == 6 and line[0] in wanted and all(word.isdigit() for word in line[1:4]):
            read, imported, errors = map(int, line[1:4])
            found[wanted[line[0]]] = Believed(read=read, imported=imported, errors=errors, seconds=_seconds(line[5]))
    return found


def _seconds(text: str) -> float:
    match = _SECONDS.fullmatch(text.strip())
    if not match:
        return 0.0
    days, hours, minutes, seconds = match.groups()
    return int(days or 0) * 86400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)
