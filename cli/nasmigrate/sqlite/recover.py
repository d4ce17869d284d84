"""Recovers a source that cannot be opened for reading alone, in a private copy.

After a crash the -journal holds what must be put back before the file can be read, and in a folder without write
access a -wal cannot be read in place. SQLite does the work, on copies of both files; the source stays as it is.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from nasmigrate.core.errors import SourceChanged, SourceError
from nasmigrate.sqlite.open import mapped_errors

_BLOCK: Final = 1 << 20
_JOURNAL_MAGIC: Final = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"


def files_beside(path: Path) -> tuple[str, ...]:
    """Which of `-journal` and `-wal` lie beside `path` and are not empty."""
    found = []
    for suffix in ("-journal", "-wal"):
        beside = path.with_name(path.name + suffix)
        if beside.is_file() and not beside.is_symlink() and beside.stat().st_size:
            found.append(suffix)
    return tuple(found)


def copy_with_journals(source: Path, copy: Path) -> None:
    """Copy `source` into the existing file `copy`, and what lies beside it to beside the copy.

    A shared lock is held meanwhile, so nobody recovers or commits in rollback-journal mode; a change of the files
    is seen afterwards.

    Raises:
        SourceChanged: somebody wrote to the files meanwhile.
        SourceLocked: somebody is writing.
        SourceError: the journal is one of several files' transaction, or a file cannot be read.
    """
    suffixes = files_beside(source)
    with mapped_errors(source, "copy it to recover the copy"):
        # Read through SQLite's own file layer: closing a plain handle would drop the lock.
        live = apsw.VFSFile("", str(source), [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        try:
            live.xLock(apsw.SQLITE_LOCK_SHARED)
            before = _state(source, suffixes)
            with copy.open("r+b") as file:
                size, offset = live.xFileSize(), 0
                while offset < size:
                    block = live.xRead(min(_BLOCK, size - offset), offset)
                    file.write(block)
                    offset += len(block)
            for suffix in suffixes:
                _copy_beside(source, copy, suffix)
            if _state(source, suffixes) != before or files_beside(source) != suffixes:
                raise SourceChanged(f"{source}: it was written to while it was copied", hint="run the command again")
            live.xUnlock(apsw.SQLITE_LOCK_NONE)
        finally:
            live.xClose()


def recover(source: Path, copy: Path) -> None:
    """Let SQLite put the copy in order: roll back its -journal, or read its -wal."""
    with mapped_errors(source, "recover a copy of it"), closing(apsw.Connection(str(copy.absolute()))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()


def _copy_beside(source: Path, copy: Path, suffix: str) -> None:
    content = source.with_name(source.name + suffix)
    target = copy.with_name(copy.name + suffix)
    try:
        descriptor = os.open(content, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file, target.open("xb") as new:
            target.chmod(0o600)
            while block := file.read(_BLOCK):
                new.write(block)
    except OSError as error:
        raise SourceError(
            f"{content}: cannot be copied: {error.strerror}", hint="check the rights of the file"
        ) from error
    if suffix == "-journal" and _names_a_super_journal(target):
        # Recovery would look for the super-journal where it was, and delete it there.
        raise SourceError(
            f"{source}: its -journal belongs to a transaction over several files",
            hint="start and stop the application once, so that SQLite recovers all of them",
        )


def _names_a_super_journal(journal: Path) -> bool:
    """Whether the journal ends with the name of a super-journal: name, length, checksum, magic (pager.c)."""
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_JOURNAL_MAGIC)))
        return file.read() == _JOURNAL_MAGIC


def _state(source: Path, suffixes: tuple[str, ...]) -> list[tuple[int, int]]:
    facts = [source.with_name(source.name + suffix).stat() for suffix in ("", *suffixes)]
    return [(fact.st_size, fact.st_mtime_ns) for fact in facts]
