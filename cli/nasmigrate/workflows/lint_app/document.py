"""What `lint-app` found, as its `--json` prints it."""

from __future__ import annotations

from nasmigrate.core.result import FORMAT_VERSION, Document, Finding


class SqlHit(Document):
    """A place in the application's SQL that Postgres refuses or answers otherwise. Lines count from 1."""

    code: str = "SQL_DIALECT"
    rule: str
    file: str
    line: int
    found: str
    message: str
    fix: str


class AppLint(Document):
    """The outcome of `nasmigrate lint-app`.

    `files` are the source files read, `statements` the texts in them that were taken for SQL, `partly_read` those of
    them that could be read word by word only. `plan_hash` is of the plan whose names were used, None without one.
    """

    format_version: int = FORMAT_VERSION
    directory: str
    plan_hash: str | None = None
    files: int
    statements: int
    partly_read: int
    hits: tuple[SqlHit, ...] = ()
    findings: tuple[Finding, ...] = ()
    exit_code: int
