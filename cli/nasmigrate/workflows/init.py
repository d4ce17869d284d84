"""`nasmigrate init`: find the SQLite file of a folder and write a commented nasmigrate.toml beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.config import FILE_NAME
from nasmigrate.core.errors import UsageProblem
from nasmigrate.core.redaction import printable
from nasmigrate.sqlite.open import check_file

SKIPPED_FOLDERS = frozenset(
    {".git", ".hg", ".nasmigrate", ".svn", ".tox", ".venv", "__pycache__", "node_modules", "venv"}
)
MAX_DEPTH = 5
MAX_FILES = 50_000
MAX_CANDIDATES = 50
_MAGIC = b"SQLite format 3\0"
_SMALLEST = 512
"""Bytes of the smallest page, and so of the smallest database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file that begins like a SQLite database. `size` in bytes, without its -wal."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOutcome:
    """What `init` did. `source` is None when no SQLite file was found; `complete` False if limits cut the search."""

    file: Path
    source: Path | None
    candidates: tuple[Candidate, ...]
    complete: bool


def init(directory: Path, *, source: Path | None = None) -> InitOutcome:
    """Write `directory`/nasmigrate.toml (0600).

    Args:
        directory: an existing folder.
        source: the SQLite file; None = the only one found below `directory`.

    Raises:
        UsageProblem: no such folder, the file exists already, several SQLite files were found, or a path that
            TOML cannot hold.
        SourceError: `source` is not a SQLite file.
    """
    file = directory / FILE_NAME
    if not directory.is_dir():
        raise UsageProblem(f"{directory}: no such folder")
    if file.exists() or file.is_symlink():
        raise UsageProblem(f"{file}: exists already, and is never overwritten", hint="edit it, or nasmigrate doctor")
    candidates: tuple[Candidate, ...] = ()
    complete = True
    if source is not None:
        check_file(source)
    else:
        candidates, complete = find_sources(directory)
        if len(candidates) > 1:
            raise _several(directory, candidates, complete)
        if candidates:
            source = candidates[0].path
    text = _template(None if source is None else _relative(source, directory))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UsageProblem(f"{file}: exists already, and is never overwritten") from error
    except OSError as error:
        raise UsageProblem(f"{file}: cannot be written: {error.strerror}") from error
    return InitOutcome(file=file, source=source, candidates=candidates, complete=complete)


def find_sources(directory: Path) -> tuple[tuple[Candidate, ...], bool]:
    """SQLite files below `directory`, the largest first, and whether the search saw everything.

    Only regular files are opened, and links are not followed. Folders of dependencies and repositories are skipped.
    """
    found: list[Candidate] = []
    for seen, path in enumerate(_files(directory, MAX_DEPTH), start=1):
        if seen > MAX_FILES or len(found) >= MAX_CANDIDATES:
            return _sorted(found), False
        size = _sqlite_size(path)
        if size is not None:
            found.append(Candidate(path=path, size=size))
    return _sorted(found), True


def _sorted(found: list[Candidate]) -> tuple[Candidate, ...]:
    return tuple(sorted(found, key=lambda candidate: (-candidate.size, candidate.path)))


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Regular files, those of `folder` before those of its folders, in the order of their names."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # a folder we may not read holds no source we could open
    folders = []
    for entry in entries:
        if entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif entry.is_dir(follow_symlinks=False) and entry.name not in SKIPPED_FOLDERS:
            folders.append(Path(entry.path))
    if depth > 0:
        for inner in folders:
            yield from _files(inner, depth - 1)


def _sqlite_size(path: Path) -> int | None:
    """Size in bytes of a file with SQLite's header, else None.

    Plain reads are safe here: this command holds no lock that closing the file could drop.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size < _SMALLEST:
                return None
            return status.st_size if stream.read(len(_MAGIC)) == _MAGIC else None
    except OSError:
        return None


def _several(directory: Path, candidates: tuple[Candidate, ...], complete: bool) -> UsageProblem:
    lines = [
        f"  nasmigrate init --source {_shell(_relative(candidate.path, directory))}  ({candidate.size:,} bytes)"
        for candidate in candidates[:10]
    ]
    if len(candidates) > 10 or not complete:
        lines.append("  …")
    return UsageProblem(
        f"{directory}: {len(candidates)}{'' if complete else ' or more'} SQLite files found; choose one",
        hint="one of:\n" + "\n".join(lines),
        details={"candidates": [str(candidate.path) for candidate in candidates]},
    )


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(printable(text))


def _relative(path: Path, directory: Path) -> str:
    """`path` seen from `directory` when it lies below, else absolute: the project folder may then be moved."""
    whole, base = path.resolve(), directory.resolve()
    return str(whole.relative_to(base)) if whole.is_relative_to(base) else str(whole)


def _toml_string(text: str) -> str:
    import tomlkit

    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageProblem(f"{printable(text)}: the path is not valid UTF-8", hint="rename it") from error
    return tomlkit.item(text).as_string()


def _template(source: str | None) -> str:
    path = f"path = {_toml_string(source)}" if source is not None else '# path = "data/app.db"'
    return f"""\
# Settings of nasmigrate. `nasmigrate config show --sources` tells what is in force and why.
# Relative paths are taken from this file's folder. A flag or NASMIGRATE_<SECTION>_<KEY> wins over this file.

[source]
# The SQLite file. It is only read.
{path}
# busy_timeout = 5.0                # seconds to wait for a lock
# deadline = 120.0                  # seconds for a step of checking the file, and as many more per GiB

[target]
# The Postgres database. No password here: take the whole DSN from a variable, or keep the password in a file (0600).
# dsn = "env:TARGET_DSN"
# dsn = "postgresql://app@localhost:5432/app"
# password_file = ".target-password"

[migrations]
# Where the Alembic revisions are written.
# directory = "migrations"

[plan]
# Findings you have read and accept, each "CODE:table.column". `nasmigrate plan` prints the lines to add.
accept = []

# One section for each column that is to differ from what the plan chose:
# [columns."orders.total"]
# type = "numeric"

[transfer]
# What copies the rows: native, or pgloader (docs/pgloader.md).
# engine = "native"
# Bounds of a chunk: the first one reached ends it.
# chunk_rows = 50000
# chunk_bytes = "16 MiB"
# verify_connections = 2

[rehearse]
# Decode Postgres back into a SQLite file and compare it with the source.
# round_trip = true
"""
