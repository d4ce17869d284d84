"""Changes nasmigrate.toml in place, keeping the reader's comments and order."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasmigrate.core.errors import ConfigError
from nasmigrate.core.rundir import write_atomic


def append_accepts(file: Path, accepts: Sequence[str]) -> tuple[str, ...]:
    """Add finding identities to `[plan] accept`, one a line; those already there are left alone.

    A missing file is made (0600). Returns what was added, in the order given.

    Raises:
        ConfigError: the file is not valid TOML, or `plan`/`accept` is of another shape.
    """
    import tomlkit
    from tomlkit.exceptions import ParseError
    from tomlkit.items import Array, Table

    mode = 0o600
    text = ""
    if file.exists():
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8")
    try:
        document = tomlkit.parse(text)
    except ParseError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}", code="NM0503") from error
    plan = document.get("plan")
    if plan is None:
        plan = tomlkit.table()
        document["plan"] = plan
    if not isinstance(plan, Table):
        raise ConfigError(f"{file}: plan is not a table; write [plan]", code="NM0505")
    accept = plan.get("accept")
    if accept is None:
        accept = tomlkit.array()
        plan["accept"] = accept
    elif isinstance(accept, str):  # a single name is allowed where a list is
        single = str(accept)
        accept = tomlkit.array()
        accept.append(single)
        plan["accept"] = accept
    if not isinstance(accept, Array):
        raise ConfigError(f"{file}: plan.accept is not a list", code="NM0505")
    present = {str(entry) for entry in accept}
    added = tuple(entry for entry in dict.fromkeys(accepts) if entry not in present)
    if not added:
        return ()
    for entry in added:
        accept.add_line(entry)
    if not tomlkit.dumps(document).count("\n]"):
        accept.multiline(True)
    write_atomic(file, tomlkit.dumps(document).encode("utf-8"), mode)
    return added


def fill_in(file: Path, values: Mapping[str, str | bool | float | list[str]]) -> tuple[str, ...]:
    """Write settings, by dotted key, that the file does not hold; those it holds stay. Returns the keys written.

    Raises:
        ConfigError: the file is not valid TOML, or a section is of another shape.
    """
    import tomlkit
    from tomlkit.exceptions import ParseError
    from tomlkit.items import Table

    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8"))
    except ParseError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}", code="NM0503") from error
    written = []
    for key, value in values.items():
        name, _, setting = key.partition(".")
        section = document.setdefault(name, tomlkit.table())
        if not isinstance(section, Table):
            raise ConfigError(f"{file}: {name} is not a table; write [{name}]", code="NM0505")
        if setting not in section:
            section[setting] = value
            written.append(key)
    if written:
        write_atomic(file, tomlkit.dumps(document).encode("utf-8"), stat.S_IMODE(file.stat().st_mode))
    return tuple(written)
