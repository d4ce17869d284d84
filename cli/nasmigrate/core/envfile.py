"""A small, strict reader of env files: KEY=VALUE lines as Docker Compose and shells both understand them."""

from __future__ import annotations

import re
from pathlib import Path

from nasmigrate.core.errors import ConfigError
from nasmigrate.core.redaction import holds_password
from nasmigrate.core.target import require_private

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in `path`. No interpolation, no multi-line values; a later line wins.

    Raises:
        ConfigError: it cannot be read, a line is not KEY=VALUE, or it holds a password others can read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"env-file {path}: {error.strerror}", code="NM0508") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"env-file {path}: not UTF-8 text", code="NM0508") from error
    if holds_password(text):
        require_private(path, "env-file with a password")
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match[2]) if match else None
        if match is None or value is None:
            # The line itself is not shown: it may be half of a secret.
            raise ConfigError(f"env-file {path}:{number}: not a KEY=VALUE line", code="NM0508")
        variables[match[1]] = value
    return variables


def _value(text: str) -> str | None:
    """The value behind `=`: quotes off, a comment after a space cut; None when a quote is not closed."""
    if text.startswith(("'", '"')):
        quote = text[0]
        pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
        match = re.fullmatch(pattern + r"\s*(?:#.*)?", text)
        if match is None:
            return None
        if quote == "'":
            return match[1]
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), match[1])
    return re.split(r"\s+#", text, maxsplit=1)[0].rstrip()
