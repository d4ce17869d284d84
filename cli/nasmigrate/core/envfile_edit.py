"""Sets lines of an env file and leaves all others as they are: the application's comments and order are its own."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nasmigrate.core.errors import ConfigError
from nasmigrate.core.rundir import write_atomic

_KEY = re.compile(r"(?P<before>\s*(?:export\s+)?)(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=?&~-]*")


def set_lines(path: Path, values: Mapping[str, str]) -> None:
    """Set KEY=VALUE lines, in place where a key is there, else at the end; the file is replaced whole.

    Owner and permissions stay; of a link, the file that it leads to is changed.

    Raises:
        ConfigError: the file cannot be read or written, or a value holds a line end.
    """
    with _mapped(path):
        _replace(path, _changed(path, values))


def require_settable(path: Path, values: Mapping[str, str]) -> None:
    """Find out whether `keep_backup` and `set_lines` will do it; nothing is written.

    Raises:
        ConfigError: the file cannot be read, its folder is not writable, or a value holds a line end.
    """
    with _mapped(path):
        _changed(path, values)
    folder = _file(path).parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: cannot be set, since {folder} is not writable: a new file takes its place",
            hint="run as a user who may write there",
            code="NM0523",
        )


def holds_lines(path: Path, values: Mapping[str, str]) -> bool:
    """Whether the file is as `set_lines` leaves it.

    Raises:
        ConfigError: it cannot be read.
    """
    with _mapped(path):
        lines = _lines(path.read_bytes())
    return _with_values(lines, values) == lines


def backup_path(path: Path) -> Path:
    """Where the file as it was before a cutover is kept: beside it, of a link beside the file that it leads to."""
    file = _file(path)
    return file.with_name(f"{file.name}.before-cutover")


def keep_backup(path: Path) -> None:
    """Keep the file as it is now, once, mode 0600: a later call does not overwrite what the first one kept.

    Raises:
        ConfigError: it cannot be read or written.
    """
    kept = backup_path(path)
    if not kept.exists():
        with _mapped(path):
            write_atomic(kept, path.read_bytes())


def put_back(path: Path, keys: Collection[str]) -> bool:
    """Set the lines of `keys` back to what `keep_backup` kept, and forget that; False when nothing is kept.

    Keys that had no line then have none afterwards. All other lines stay as they are now: somebody may have edited
    them since. A file that is gone is there again as it was kept.

    Raises:
        ConfigError: it cannot be read or written.
    """
    kept = backup_path(path)
    if not kept.exists():
        return False
    with _mapped(path):
        before = kept.read_bytes()
        restored = _with_lines_of(_lines(path.read_bytes()), _lines(before), keys) if path.exists() else _lines(before)
        _replace(path, before if restored == _lines(before) else _text(restored))
        kept.unlink()
    return True


def forget_backup(path: Path) -> None:
    """Remove what an earlier cutover kept and nobody put back.

    Raises:
        ConfigError: it cannot be removed.
    """
    with _mapped(path):
        backup_path(path).unlink(missing_ok=True)


def _changed(path: Path, values: Mapping[str, str]) -> bytes:
    for key, value in values.items():
        if "\n" in value or "\r" in value or "\0" in value:
            raise ConfigError(f"{path}: the value for {key} holds a line end", code="NM0523")
    return _text(_with_values(_lines(path.read_bytes()), values))


def _with_values(lines: Sequence[str], values: Mapping[str, str]) -> list[str]:
    left = dict(values)
    changed = []
    for line in lines:
        match = _KEY.match(line)
        if match and match["key"] in values:
            # A later line wins, so every one of a key is set. Where a shell reads the file, `export` is what counts.
            changed.append(f"{match['before']}{match['key']}={_quoted(values[match['key']])}")
            left.pop(match["key"], None)
        else:
            changed.append(line)
    return changed + [f"{key}={_quoted(value)}" for key, value in left.items()]


def _with_lines_of(lines: Sequence[str], before: Sequence[str], keys: Collection[str]) -> list[str]:
    """`lines`, where the n-th line of each key is the n-th one of `before`; those that are over go or are added."""
    left = {key: [line for line in before if _key(line) == key] for key in keys}
    changed = []
    for line in lines:
        earlier = left.get(_key(line) or "")
        if earlier is None:
            changed.append(line)
        elif earlier:
            changed.append(earlier.pop(0))
    return changed + [line for lines_left in left.values() for line in lines_left]


def _key(line: str) -> str | None:
    match = _KEY.match(line)
    return match["key"] if match else None


def _lines(data: bytes) -> list[str]:
    """Lines end with a line feed only: a carriage return before it stays part of the line, and so of the file."""
    return data.decode("utf-8").removesuffix("\n").split("\n") if data else []


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _replace(path: Path, data: bytes) -> None:
    """Replace the file, which stays with its owner and its permissions: the application must go on reading it."""
    file = _file(path)
    if file.exists():
        facts = file.stat()
        write_atomic(file, data, stat.S_IMODE(facts.st_mode), owner=(facts.st_uid, facts.st_gid))
    else:
        write_atomic(file, data)


def _file(path: Path) -> Path:
    """The file that a link leads to: other programs know it by its own name, so it is the one to change."""
    return Path(os.path.realpath(path))


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="check app.env_file", code="NM0523") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text", code="NM0523") from error
