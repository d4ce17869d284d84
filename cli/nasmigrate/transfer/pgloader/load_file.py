"""The load file: data only, into tables that exist, each column with its cast."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg

from nasmigrate.core.errors import PreflightError
from nasmigrate.postgres.loading import PURPOSE
from nasmigrate.schema.plan import PlanColumn, PlanTable

_TRANSFORMS: Mapping[str, str] = {"bytea": "byte-vector-to-bytea", "double": "float-to-string"}
"""Codec -> pgloader's function that writes its values. Without one it prints what SQLite gave, which is right for
text and for integers (integer-to-string refuses integers beyond 62 bits)."""

_OPTIONS = (
    "data only",
    "no truncate",
    "include no drop",
    "create no tables",
    "create no indexes",
    "reset no sequences",
    "no foreign keys",
    "on error stop",
    "quote identifiers",
    "workers = 2",
    "concurrency = 1",
)
_SETTINGS: Mapping[str, str] = {
    "application_name": PURPOSE,
    "search_path": "public",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "statement_timeout": "0",
    "synchronous_commit": "off",
}
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|/[A-Za-z0-9/._-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a connection really went, as pgloader can be told. The password goes through the environment."""

    host: str
    port: int
    user: str
    database: str
    encrypted: bool
    password: str

    @classmethod
    def of(cls, connection: psycopg.Connection) -> Server:
        """What libpq made of service files, variables and password files.

        Raises:
            PreflightError: pgloader cannot be told this.
        """
        info, pgconn = connection.info, connection.pgconn
        given = info.get_parameters()
        if given.get("sslmode", "").startswith("verify"):
            raise PreflightError(
                "pgloader cannot verify the server's certificate as sslmode=verify-… asks",
                hint="use --engine native",
            )
        server = cls(
            host=given.get("hostaddr") or info.host,
            port=info.port,
            user=info.user,
            database=info.dbname,
            encrypted=bool(pgconn.ssl_in_use),
            password=info.password,
        )
        words = {"host": (_HOST, server.host), "user": (_WORD, server.user), "database": (_WORD, server.database)}
        odd = [what for what, (pattern, word) in words.items() if not pattern.fullmatch(word)]
        if odd:
            raise PreflightError(
                f"pgloader cannot be told this {odd[0]}: its load file takes plain words only",
                hint="use --engine native",
            )
        return server

    @property
    def url(self) -> str:
        """Its URL, without a password."""
        host = f"unix:{self.host}" if self.host.startswith("/") else self.host
        # Its "require" verifies the certificate, unlike libpq's; its "prefer" encrypts where the server offers it.
        mode = "prefer" if self.encrypted else "disable"
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}?sslmode={mode}"


def render(source: str, server: Server, tables: Iterable[PlanTable]) -> str:
    """The load file's text.

    Args:
        source: the SQLite file, a plain name in pgloader's working directory.
        server: the target.
        tables: every table that the file holds; their names are among those that pgloader takes.
    """
    casts = [_cast(table, column) for table in tables for column in _written(table)]
    settings = [f"{name} to '{value}'" for name, value in _SETTINGS.items()]
    return (
        f"load database from sqlite://{source}\n"
        f"into {server.url}\n"
        f"with {', '.join(_OPTIONS)}\n"
        f"set {', '.join(settings)}\n"
        "cast\n  " + ",\n  ".join(casts) + "\n;\n"
    )


def _written(table: PlanTable) -> list[PlanColumn]:
    return [table.columns[place] for place in table.written]


def _cast(table: PlanTable, column: PlanColumn) -> str:
    base = column.pg_type.partition("(")[0]
    transform = _TRANSFORMS.get(column.codec)
    using = f" using {transform}" if transform else ""
    return f'column "{table.name}"."{column.name}" to "{base}" drop typemod{using}'
