"""The settings: `nasmigrate.toml`, `NASMIGRATE_*`, an env file and flags, read into one validated model.

Order: flag > NASMIGRATE_* > --env-file > nasmigrate.toml > default. Relative paths are taken from the
folder of nasmigrate.toml (or, without one, the current folder).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nasmigrate.core.config_edit import append_accepts
from nasmigrate.core.config_errors import as_config_error, closest, toml_hint
from nasmigrate.core.config_model import AVAILABLE_RULES, FOLD_NAMES, RULES, Config
from nasmigrate.core.config_section import Section
from nasmigrate.core.envfile import read_env_file
from nasmigrate.core.errors import ConfigError
from nasmigrate.core.redaction import holds_password
from nasmigrate.core.target import require_private
from nasmigrate.core.toml import toml_string

__all__ = [
    "AVAILABLE_RULES",
    "FILE_NAME",
    "FOLD_NAMES",
    "RULES",
    "Config",
    "LoadedConfig",
    "append_accepts",
    "config_schema",
    "load_config",
    "setting_keys",
    "settings",
    "variable_name",
]

FILE_NAME = "nasmigrate.toml"
PREFIX = "NASMIGRATE_"
COMPOSE_VARIABLES = frozenset(f"{PREFIX}KILLBILL_{name}" for name in ("IMAGE", "PORT", "MEMORY", "HEAP"))
"""Variables of compose.yaml that begin like those of a section; they are compose's, not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """The settings and where each came from.

    `origins` maps each dotted key to "flag", "NASMIGRATE_X", "env-file PATH", "nasmigrate.toml" or "default".
    `environ` is the environment over the env file's values; it may hold secrets, so repr hides it.
    """

    config: Config
    origins: dict[str, str]
    file: Path | None
    base: Path
    environ: Mapping[str, str] = field(repr=False, default_factory=dict)

    def resolve(self, path: str) -> Path:
        """A path of the config, taken from `base` when relative."""
        return self.base / Path(path).expanduser()


def load_config(
    where: Path,
    *,
    environ: Mapping[str, str],
    env_file: Path | None = None,
    flags: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """Read the settings of a project.

    Args:
        where: a config file (must exist), or a folder that may hold `nasmigrate.toml`.
        environ: the environment.
        env_file: KEY=VALUE lines below the environment.
        flags: values of command-line flags by dotted key; they win. None values are ignored.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, a value is wrong, or a file with a password is
            readable by others.
    """
    file = where / FILE_NAME if where.is_dir() else where
    if where.is_dir() and not file.exists():
        file = None  # type: ignore[assignment]
    base = where if where.is_dir() else where.parent
    text, data = _read_toml(file) if file is not None else ("", {})
    if file is not None and holds_password(text):
        require_private(file, "config file with a password")
    origins = dict.fromkeys(_dotted(data), FILE_NAME if file is None else file.name)
    from_file = read_env_file(env_file) if env_file is not None else {}
    for variables, label in ((from_file, f"env-file {env_file}"), (environ, "")):
        for name, (key, value) in _variables(variables, label).items():
            _put(data, key, value)
            origins[key] = label or name
    for key, value in (flags or {}).items():
        if value is not None:
            _put(data, key, list(value) if isinstance(value, tuple) else value)
            origins[key] = "flag"
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise as_config_error(error, Config, origins, file, text) from error
    _check_columns(config, file)
    for key in setting_keys():
        origins.setdefault(key, "default")
    return LoadedConfig(config=config, origins=origins, file=file, base=base, environ={**from_file, **environ})


def setting_keys() -> tuple[str, ...]:
    """Every dotted key that can be set by a variable, in the order of the model; tables of names have none."""
    return tuple(
        f"{section}.{key}"
        for section, info in Config.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
        for key, setting in info.annotation.model_fields.items()
        if setting.default_factory is not dict
    )


def settings(config: Config) -> list[tuple[str, object]]:
    """Every setting with its value, by dotted key; tuples as lists. What speaks of single objects comes last."""
    dump = config.model_dump(mode="json")
    rows: list[tuple[str, object]] = []
    for key in setting_keys():
        section, _, leaf = key.partition(".")
        rows.append((key, dump[section][leaf]))
    for name, column in dump["columns"].items():
        rows += [(f'columns."{name}".{leaf}', value) for leaf, value in column.items()]
    for section in ("tables", "columns", "indexes"):
        rows += [(f"names.{section}.{toml_string(name)}", value) for name, value in dump["names"][section].items()]
    rows += [(f"existing.seeds.{toml_string(name)}", value) for name, value in dump["existing"]["seeds"].items()]
    return rows


def variable_name(key: str) -> str:
    """`source.path` -> `NASMIGRATE_SOURCE_PATH`."""
    return PREFIX + key.replace(".", "_").upper()


def config_schema() -> dict[str, Any]:
    """JSON Schema of `nasmigrate.toml`."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": FILE_NAME}


def _read_toml(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="nasmigrate init writes one", code="NM0502") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start})", code="NM0503") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}", hint=toml_hint(str(error)), code="NM0503") from error


def _dotted(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The leaves of `data` as dotted keys; a name with a dot in it is quoted as in TOML."""
    keys: list[str] = []
    for name, value in data.items():
        key = prefix + (f'"{name}"' if "." in name else name)
        keys += _dotted(value, f"{key}.") if isinstance(value, dict) else [key]
    return keys


def _variables(variables: Mapping[str, str], label: str) -> dict[str, tuple[str, object]]:
    """Settings among `variables`: name -> (dotted key, value)."""
    known = {variable_name(key): key for key in setting_keys()}
    found: dict[str, tuple[str, object]] = {}
    for name, value in variables.items():
        if name in known:
            found[name] = (known[name], _from_text(known[name], value, name))
        elif name in COMPOSE_VARIABLES:
            continue
        elif any(name.startswith(variable_name(section) + "_") for section in Config.model_fields):
            near = closest(name, known)
            raise ConfigError(
                f"{label + ': ' if label else ''}{name}: no such setting",
                hint=f"did you mean {near}?" if near else "nasmigrate config show lists the settings",
                code="NM0504",
            )
    return found


def _from_text(key: str, value: str, name: str) -> object:
    """A variable's text as the type of its setting. Lists are separated by commas."""
    section, _, leaf = key.partition(".")
    default = getattr(getattr(Config(), section), leaf)
    if isinstance(default, tuple):
        return [entry.strip() for entry in value.split(",") if entry.strip()]
    if isinstance(default, bool):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off"):
            return False
        raise ConfigError(f"{name}: {value!r} is neither true nor false", code="NM0505")
    if isinstance(default, float) or (isinstance(default, int) and key != "transfer.chunk_bytes"):
        try:
            return type(default)(value)
        except ValueError as error:
            raise ConfigError(f"{name}: {value!r} is not a number", code="NM0505") from error
    return value


def _put(data: dict[str, Any], key: str, value: object) -> None:
    section, _, leaf = key.partition(".")
    table = data.setdefault(section, {})
    if isinstance(table, dict):  # a section that is no table is reported by the validator
        table[leaf] = value


def _check_columns(config: Config, file: Path | None) -> None:
    for name, column in config.columns.items():
        where = f'{file or FILE_NAME}: columns."{name}"'
        table, _, leaf = name.rpartition(".")
        if not table or not leaf:
            raise ConfigError(f"{where}: not of the form table.column", code="NM0505")
        for rule in column.rule:
            if rule not in RULES:
                near = closest(rule, RULES)
                hint = f"did you mean {near}?" if near else f"the rules are {', '.join(RULES)}"
                raise ConfigError(f"{where}.rule: {rule!r} is not a rule", hint=hint, code="NM0506")
            if rule == FOLD_NAMES:
                raise ConfigError(
                    f"{where}.rule: {rule!r} is for all names at once", hint=f'[names]\nrule = "{rule}"', code="NM0507"
                )
