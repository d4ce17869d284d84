"""Turns a validator's complaints about the settings into one ConfigError: file, key, closest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from nasmigrate.core.errors import ConfigError
from nasmigrate.core.redaction import redact

if TYPE_CHECKING:
    from pydantic import ValidationError


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `name`, or None when none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def toml_hint(complaint: str) -> str | None:
    """What to do about a complaint of tomllib that names no way out, or None."""
    if complaint.startswith("Cannot declare"):
        return "the file has that section already: move these lines below it, and leave this second header out"
    if complaint.startswith("Cannot overwrite"):
        return "the key is set twice: keep one of the two, with everything that both hold"
    return None


def as_config_error(
    error: ValidationError,
    model: type[BaseModel],
    origins: Mapping[str, str],
    file: Path | None,
    text: str,
) -> ConfigError:
    """One error for all complaints: the first as the message, the others in the hint and the details.

    Args:
        error: what pydantic raised. Its texts are not passed on whole: they quote values.
        model: the model of the whole file.
        origins: dotted key -> where its value came from.
        file: the config file, if any.
        text: the file's text, to find line numbers.
    """
    problems: list[tuple[str, str]] = []
    unknown = False
    for item in error.errors(include_url=False, include_context=False):
        location = tuple(str(part) for part in item["loc"])
        key = ".".join(f'"{part}"' if "." in part else part for part in location)
        where = _where(key, location, origins, file, text)
        if item["type"] == "extra_forbidden":
            unknown = True
            problems.append((f"{where}: unknown key {key}", _near(location, model, item["input"])))
        else:
            problems.append((f"{where}: {key}: {redact(_plain(item['msg']))}", ""))
    (first, hint), *others = problems
    # Each hint stands by its own line: beside the first, that of another key would mislead.
    also = [f"also: {line} ({near})" if near else f"also: {line}" for line, near in others]
    return ConfigError(
        first,
        hint="\n".join([hint] * bool(hint) + also) or None,
        details={"problems": [line for line, _ in problems]},
        code="NM0504" if unknown else "NM0505",
    )


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").strip()


def _where(key: str, location: tuple[str, ...], origins: Mapping[str, str], file: Path | None, text: str) -> str:
    origin = next((origins[known] for known in origins if known == key), None)
    if file is not None and (origin is None or origin == file.name):
        line = _line(location, text)
        return f"{file}:{line}" if line else str(file)
    return origin or "settings"


def _line(location: tuple[str, ...], text: str) -> int | None:
    """Line of the key, found by its section header and its name; None for forms this simple search misses."""
    quoted = [rf"[\"']?{re.escape(part)}[\"']?" for part in location]
    dot = r"\s*\.\s*"
    header = re.compile(rf"\s*\[\s*{dot.join(quoted[:-1])}\s*\]")
    own = re.compile(rf"\s*{quoted[-1]}\s*=")
    whole = re.compile(rf"\s*\[\s*{dot.join(quoted)}\s*[.\]]")
    inside = len(location) == 1
    for number, line in enumerate(text.splitlines(), start=1):
        if whole.match(line):
            return number
        if line.lstrip().startswith("["):
            inside = len(location) > 1 and bool(header.match(line))
        elif inside and own.match(line):
            return number
    return None


def _near(location: tuple[str, ...], model: type[BaseModel], value: Any) -> str:
    """What the writer of an unknown key most likely meant."""
    if location[0] == "columns" and len(location) > 2 and isinstance(value, dict):
        return f'write [columns."{location[1]}.{location[2]}"], with quotes around table.column'
    fields = _fields(model, location[:-1])
    near = closest(location[-1], fields)
    if near:
        return f"did you mean {'.'.join((*location[:-1], near))}?"
    if len(location) == 1:
        for section, info in model.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel) and location[0] in inner.model_fields:
                return f"it belongs below [{section}]"
    return f"known keys: {', '.join(fields)}" if fields else ""


def _fields(model: type[BaseModel], path: tuple[str, ...]) -> tuple[str, ...]:
    """Names allowed at `path` of the model."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        else:
            arguments = get_args(current)
            current = arguments[-1] if arguments else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return tuple(current.model_fields)
    return ()
