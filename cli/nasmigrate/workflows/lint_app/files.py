"""Which files of an application's folder are read, and the literals in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.workflows.lint_app.literals import LANGUAGES, Literal, literals
from nasmigrate.workflows.lint_app.python_literals import python_literals

LARGEST_FILE = 2 * 1024 * 1024
"""Bytes; larger files are bundles that a machine wrote."""
_NOT_OURS = frozenset(
    "node_modules vendor site-packages dist build out coverage __pycache__ target bower_components".split()  # noqa: SIM905 - a list of words reads better
)
_SQLITE_MAGIC = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A source file. `name` is relative to the application's folder, with forward slashes."""

    name: str
    text: str
    suffix: str

    def literals(self) -> list[Literal]:
        """Its string literals; the whole text of a file of SQL."""
        if self.suffix == ".sql":
            return [Literal(pieces=((self.text, 0),))]
        if self.suffix == ".py":
            return list(python_literals(self.text))
        return list(literals(self.text, LANGUAGES[self.suffix]))

    def line(self, offset: int) -> int:
        """The number of the line, from 1, that a character is on."""
        return self.text.count("\n", 0, offset) + 1

    def line_text(self, offset: int) -> str:
        """The line that a character is on."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        return self.text[start : len(self.text) if end < 0 else end]


def walk(folder: Path) -> Iterator[Path]:
    """The regular files below a folder in a fixed order; not those of packages, builds and hidden folders.

    Symlinks are not followed: they may lead anywhere, or in a circle.
    """
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS and not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def source_files(folder: Path, paths: list[Path]) -> Iterator[SourceFile]:
    """Those of the paths that hold source of a known language and are UTF-8 text of a bearable size."""
    for path in paths:
        suffix = path.suffix.lower()
        if (suffix not in LANGUAGES and suffix not in (".py", ".sql")) or path.name.endswith(".min.js"):
            continue
        try:
            if path.stat().st_size > LARGEST_FILE:
                continue
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        yield SourceFile(name=path.relative_to(folder).as_posix(), text=text, suffix=suffix)


def sqlite_files(paths: list[Path]) -> list[Path]:
    """Those of the paths that begin as SQLite databases do; opened for reading, by no SQLite."""
    found = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                if stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC:
                    found.append(path)
        except OSError:
            continue
    return found
