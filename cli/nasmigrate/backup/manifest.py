"""A backup's folder and its manifest: what is in it, how it was proven, and whether it still is as it was written."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from nasmigrate.core.errors import BackupRefused
from nasmigrate.core.result import FORMAT_VERSION, Document

MANIFEST = "manifest.json"
GLOBALS = "globals.sql"
SNAPSHOT = "source.db"
FOLDER = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
"""UTC time and four digits of chance: the order of the names is the order of the backups."""

_BLOCK = 1 << 20


class FileFacts(Document):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


class DatabaseFacts(Document):
    """One dumped database. `content` and `catalogue` are digests, see docs/backup.md; `sequences` the last values."""

    name: str
    file: FileFacts
    owner: str
    roles: tuple[str, ...] = ()
    tables: int
    rows: int
    content: str
    catalogue: str
    sequences: dict[str, int] = Field(default_factory=dict)


class Proof(Document):
    """How the backup was proven: restored into a server of its own, or into a database of its own on the same one."""

    restored_into: Literal["scratch server", "scratch database"]
    server_version: str
    seconds: float


class Manifest(Document):
    """`manifest.json`. `sha256` is over the rest of the document, so that the manifest itself cannot rot unseen."""

    format_version: int = FORMAT_VERSION
    nasmigrate_version: str
    started_at: str
    finished_at: str
    server_version: str
    server_version_number: int
    databases: tuple[DatabaseFacts, ...]
    globals: FileFacts
    passwords: bool
    source: FileFacts | None = None
    source_path: str | None = None
    proof: Proof
    sha256: str = ""

    def sealed(self) -> Manifest:
        """With its own digest."""
        return self.model_copy(update={"sha256": self._digest()})

    def is_sealed(self) -> bool:
        """Whether the digest is that of the document."""
        return self.sha256 == self._digest()

    @property
    def files(self) -> tuple[FileFacts, ...]:
        """Every file the backup has besides the manifest."""
        return (*(database.file for database in self.databases), self.globals, *([self.source] if self.source else []))

    def _digest(self) -> str:
        document = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def file_facts(path: Path) -> FileFacts:
    """Name, size and digest of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    # A backup is ours, but the folder may be shared: a link must not lead elsewhere.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileFacts(name=path.name, bytes=size, sha256=digest.hexdigest())


def read_backup(folder: Path) -> Manifest:
    """The manifest of a backup, once every file was found to be as it was written.

    Raises:
        BackupRefused: it is no backup, or a file is missing, of another size, or changed; every reason is listed.
    """
    manifest = read_manifest(folder)
    reasons = tuple(_reasons(folder, manifest))
    if reasons:
        raise BackupRefused(
            f"{folder}: this backup is not as it was written; nothing was touched",
            checks=reasons,
            hint="take another one: nasmigrate backup --list",
        )
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone; the other files are not looked at.

    Raises:
        BackupRefused: there is none, or it was changed.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BackupRefused(f"{path}: {error.strerror}: no backup, or one that was never finished") from error
    except ValidationError as error:
        raise BackupRefused(f"{path}: damaged: {error.errors()[0]['msg']}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BackupRefused(f"{path}: format {manifest.format_version}, this nasmigrate reads {FORMAT_VERSION}")
    if not manifest.is_sealed():
        raise BackupRefused(f"{path}: changed since it was written: its own sha256 does not fit")
    return manifest


def backups(directory: Path) -> tuple[Path, ...]:
    """The folders of finished backups, the oldest first."""
    if not directory.is_dir():
        return ()
    found = (path for path in directory.iterdir() if FOLDER.fullmatch(path.name) and not path.is_symlink())
    return tuple(sorted(path for path in found if (path / MANIFEST).is_file()))


def _reasons(folder: Path, manifest: Manifest) -> Iterator[str]:
    for facts in manifest.files:
        try:
            found = file_facts(folder / facts.name)
        except OSError as error:
            yield f"{facts.name}: {error.strerror}" + _belongs(manifest, facts)
            continue
        if found.bytes != facts.bytes:
            kind = "truncated" if found.bytes < facts.bytes else "longer than written"
            yield f"{facts.name}: {kind}: {found.bytes:,} bytes instead of {facts.bytes:,}" + _belongs(manifest, facts)
        elif found.sha256 != facts.sha256:
            yield f"{facts.name}: changed since it was written: its sha256 does not fit" + _belongs(manifest, facts)


def _belongs(manifest: Manifest, facts: FileFacts) -> str:
    names = [database.name for database in manifest.databases if database.file == facts]
    return f" (database {names[0]})" if names else ""
