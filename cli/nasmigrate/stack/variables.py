"""The variables of compose.yaml as compose will see them: the environment over .env."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nasmigrate.core.envfile import read_env_file

PREFIX = "NASMIGRATE_"


def compose_variables(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """NASMIGRATE_* of the stack's .env, overridden by the environment.

    Raises:
        ConfigError: .env cannot be read.
    """
    file = folder / ".env"
    from_file = read_env_file(file) if file.is_file() else {}
    return {name: value for name, value in {**from_file, **environ}.items() if name.startswith(PREFIX)}
