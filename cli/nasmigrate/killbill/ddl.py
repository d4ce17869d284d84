"""Kill Bill's own DDL, read from the very WAR that will run: another version's tables would not fit it.

A WAR holds a jar per module, and each jar its `ddl.sql`. Before them comes the bridge (`ddl-postgresql.sql`): domains
named after MySQL's types, and an event trigger that makes every `serial` a bigint.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nasmigrate.core.errors import KillBillError

MODULES = (
    "account",
    "beatrix",
    "catalog",
    "entitlement",
    "invoice",
    "payment",
    "subscription",
    "tenant",
    "usage",
    "util",
)
"""Those with tables, in the order in which their DDL is run (they do not depend on each other)."""

_LIBRARY = re.compile(r"killbill-(?P<module>[a-z]+)-(?P<version>\d[^/]*)\.jar")
_LIBRARIES = "WEB-INF/lib/"
_SQL = "org/killbill/billing/{}/{}"
_LARGEST_JAR = 64 * 1024**2
_LARGEST_DDL = 4 * 1024**2
"""Bytes; the largest of 0.22 and 0.24 have 1 MB and 13 kB."""

# What a semicolon does not end a statement in: strings, names, dollar quotes, comments.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|(?P<end>;)|[^;'"$/-]+|.""", re.DOTALL
)
_CREATE_TABLE = re.compile(r"^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ddl:
    """The DDL of one version of Kill Bill. `modules` are (module, SQL text) in the order to run them."""

    version: str
    bridge: str
    modules: tuple[tuple[str, str], ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it makes."""
        return tuple(name for _, text in self.modules for name in _CREATE_TABLE.findall(text))

    @property
    def sha256(self) -> str:
        """Digest over all of it, to say which DDL a database was made with."""
        digest = hashlib.sha256()
        for name, text in (("bridge", self.bridge), *self.modules):
            digest.update(f"{name} {len(text)}\n{text}".encode())
        return digest.hexdigest()


def read_ddl(war: Path) -> Ddl:
    """The DDL in a Kill Bill WAR, or in the folder of an unpacked one.

    Raises:
        KillBillError: it cannot be read, or is no WAR of Kill Bill.
    """
    libraries: dict[str, tuple[str, bytes]] = {}
    try:
        for name, content in _jars(war):
            match = _LIBRARY.fullmatch(name)
            if match and match["module"] in MODULES:
                libraries[match["module"]] = (match["version"], content)
    except (OSError, zipfile.BadZipFile) as error:
        raise KillBillError(f"{war}: cannot be read as a WAR: {error}", hint="give Kill Bill's WAR file") from error
    missing = [module for module in MODULES if module not in libraries]
    if missing:
        raise KillBillError(
            f"{war}: not a WAR of Kill Bill: no WEB-INF/lib/killbill-{missing[0]}-*.jar",
            hint="in the image it is the web application named ROOT",
        )
    return Ddl(
        version=libraries["util"][0],
        bridge=_entry(war, "util", libraries["util"][1], "ddl-postgresql.sql"),
        modules=tuple((module, _entry(war, module, libraries[module][1], "ddl.sql")) for module in MODULES),
    )


def statements(text: str) -> Iterator[str]:
    """The statements of a script, one by one, without those that are comments only.

    They must be sent one by one: the bridge's trigger looks for `serial` in the whole text of the query.
    """
    words: list[str] = []
    meaningful = False
    for match in _TOKEN.finditer(text):
        if match["end"]:
            if meaningful:
                yield "".join(words).strip()
            words, meaningful = [], False
            continue
        words.append(match[0])
        meaningful = meaningful or not (match[0].isspace() or match[0].startswith(("--", "/*")))
    if meaningful:
        yield "".join(words).strip()


def _jars(war: Path) -> Iterator[tuple[str, bytes]]:
    if war.is_dir():
        for path in sorted((war / _LIBRARIES).glob("killbill-*.jar")):
            yield path.name, path.read_bytes()
        return
    with zipfile.ZipFile(war) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(f"{_LIBRARIES}killbill-") and entry.file_size <= _LARGEST_JAR:
                yield entry.filename.removeprefix(_LIBRARIES), archive.read(entry)


def _entry(war: Path, module: str, jar: bytes, name: str) -> str:
    path = _SQL.format(module, name)
    try:
        with zipfile.ZipFile(io.BytesIO(jar)) as archive:
            entry = archive.getinfo(path)
            if entry.file_size > _LARGEST_DDL:
                raise KillBillError(f"{war}: {path} of module {module} has {entry.file_size:,} bytes")
            return archive.read(entry).decode("utf-8")
    except (KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise KillBillError(f"{war}: module {module} has no readable {path}") from error
