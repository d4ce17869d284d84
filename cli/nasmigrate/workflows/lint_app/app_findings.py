"""What the application's source says beyond its SQL: can it reach Postgres, and which SQLite files does it open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from nasmigrate.core.result import Finding
from nasmigrate.core.toml import toml_string
from nasmigrate.workflows.lint_app.files import SourceFile

MANIFESTS = (
    "package.json",
    "requirements.txt",
    "pyproject.toml",
    "Pipfile",
    "go.mod",
    "Gemfile",
    "composer.json",
    "Cargo.toml",
    "pom.xml",
    "build.gradle",
)
_POSTGRES_DRIVER = re.compile(
    r"""["'](?:pg|pg-promise|pg-native|postgres|@vercel/postgres|@neondatabase/serverless|@prisma/adapter-pg|slonik)["']
    | \b(?:psycopg2?(?:-binary)?|asyncpg|pg8000|aiopg)\b
    | \b(?:jackc/pgx|lib/pq)\b | \btokio-postgres\b | \bext-pgsql\b | \bpdo_pgsql\b | org\.postgresql""",
    re.VERBOSE,
)
_FILE_NAME = re.compile(r"[\w./\\:@ -]*[\w-]\.(?:db|db3|sqlite|sqlite3)")
_FROM_SETTINGS = re.compile(r"process\.env|import\.meta\.env|os\.environ|getenv|config\.|settings\.", re.IGNORECASE)
_SHOWN = 5


def app_findings(
    folder: Path,
    files: Sequence[SourceFile],
    manifests: Iterable[Path],
    databases: Sequence[Path],
    source: Path | None,
    accepted: frozenset[str],
) -> tuple[Finding, ...]:
    """The findings about the application as a whole.

    Args:
        folder: of the application.
        files: its source files.
        manifests: its lists of dependencies.
        databases: SQLite files below the folder.
        source: the SQLite file that is to be moved, None when none is set.
        accepted: identities that nasmigrate.toml accepts.
    """
    found = []
    drivers = [path for path in manifests if _POSTGRES_DRIVER.search(_text(path))]
    if files and not drivers and not any(_POSTGRES_DRIVER.search(file.text) for file in files):
        found.append(
            _decision(
                "APP_HAS_NO_PG_PATH",
                "neither the dependencies nor the source name a driver for Postgres: no setting moves it there",
                "application",
                (),
                accepted,
            )
        )
    places = [f"{file.name}:{line}" for file in files for line in _hard_coded(file)]
    if places:
        found.append(
            _decision(
                "APP_PATH_HARDCODED",
                "the name of a SQLite file is written in the source; no setting moves it",
                "application",
                places,
                accepted,
            )
        )
    others = [path for path in databases if source is None or path.resolve() != source.resolve()]
    if others and source is not None:
        found.append(
            Finding(
                code="OTHER_SQLITE_FILES",
                severity="note",
                object="application",
                message="other SQLite files stay where they are: sessions, caches, backups?",
                count=len(others),
                keys=tuple(path.relative_to(folder).as_posix() for path in others[:_SHOWN]),
            )
        )
    return tuple(found)


def _decision(code: str, message: str, subject: str, places: Sequence[str], accepted: frozenset[str]) -> Finding:
    identity = f"{code}:{subject}"
    return Finding(
        code=code,
        severity="decision",
        object=subject,
        message=message,
        count=len(places),
        keys=tuple(places[:_SHOWN]),
        accept=f"[plan]\naccept = [{toml_string(identity)}]",
        accepted=identity in accepted,
    )


def _hard_coded(file: SourceFile) -> Iterable[int]:
    """Lines on which the name of a database file stands, and no setting beside it that would come first."""
    if file.suffix == ".sql":
        return
    for literal in file.literals():
        if _FILE_NAME.fullmatch(literal.text.strip()):
            offset = literal.pieces[0][1]
            if not _FROM_SETTINGS.search(file.line_text(offset)):
                yield file.line(offset)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
