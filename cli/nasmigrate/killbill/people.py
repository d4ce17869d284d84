"""The application's people, read from the migrated database by a query, as the accounts that Kill Bill is to have."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from nasmigrate.core.errors import ConfigError
from nasmigrate.core.redaction import redact
from nasmigrate.killbill.account import FIELDS, LIMITS, Account, violations
from nasmigrate.postgres.connect import connected

_TIMEOUT = "10min"


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """What the query gave. `compared` are the fields that it, or the settings, say anything about.

    `problems` are all violations of Kill Bill's limits, each with the external key or the row's number.
    """

    accounts: tuple[Account, ...]
    compared: tuple[str, ...]
    problems: tuple[str, ...]


def read_people(conninfo: str, query: str, constants: Mapping[str, str | None]) -> People:
    """Run the query in a read-only transaction and check every person.

    Args:
        conninfo: of the migrated database.
        query: one SELECT whose columns are named after an account's fields; `external_key` among them.
        constants: fields that are the same for all (currency, time zone, locale); a column of that name wins.

    Raises:
        ConfigError: the query cannot be run, or its columns are not fields.
        TargetError: the database cannot be reached.
    """
    columns, rows = _run(conninfo, query)
    _check_columns(columns)
    fixed = {name: value for name, value in constants.items() if value is not None and name not in columns}
    accounts: list[Account] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=1):
        values, wrong = _values(columns, row)
        if values.get("external_key") is None:
            problems.append(f"row {number}: external_key is NULL")
            continue
        account = Account(**{**fixed, **values})
        accounts.append(account)
        problems += [f"{account.external_key!r}: {violation}" for violation in (*wrong, *violations(account))]
    counts = Counter(account.external_key for account in accounts)
    problems += [f"{key!r}: external_key of {count} rows" for key, count in counts.items() if count > 1]
    compared = tuple(name for name in FIELDS if name in columns or name in fixed or name == "is_migrated")
    return People(accounts=tuple(accounts), compared=compared, problems=tuple(problems))


def _run(conninfo: str, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    with connected(conninfo, purpose="nasmigrate people") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT}'".encode())
        try:
            # In binary: the protocol for that takes one statement only.
            with connection.cursor(binary=True) as cursor:
                cursor.execute(query.encode())
                if cursor.description is None:
                    raise ConfigError("killbill.query: gives no rows", hint="one SELECT", code="NM0542")
                return [column.name for column in cursor.description], cursor.fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise ConfigError(
                f"killbill.query: Postgres refuses it: {redact(str(error)).strip()}",
                hint='[killbill] query = "SELECT id AS external_key, … FROM …", one SELECT on the target',
                code="NM0542",
            ) from error


def _check_columns(columns: list[str]) -> None:
    for name in columns:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            raise ConfigError(
                f"killbill.query: {name!r} is no field of an account",
                hint=f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}",
                code="NM0542",
            )
    if "external_key" not in columns or len(set(columns)) < len(columns):
        raise ConfigError(
            "killbill.query: needs a column external_key, and each column once",
            hint="the external key is how a person is found again: an id that never changes",
            code="NM0542",
        )


def _values(columns: list[str], row: tuple[Any, ...]) -> tuple[dict[str, Any], list[str]]:
    """The row as an account's fields, and what in it is of a type that no field has."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in zip(columns, row, strict=True):
        if value is None:
            if name != "is_migrated":
                values[name] = None
        elif name == "external_key" and isinstance(value, int | UUID) and not isinstance(value, bool):
            values[name] = str(value)
        elif name == "reference_time" and isinstance(value, datetime):
            values[name] = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        elif (name in LIMITS and isinstance(value, str)) or (name == "is_migrated" and isinstance(value, bool)):
            values[name] = value
        else:
            wrong.append(f"{name} is of Python's type {type(value).__name__}; cast it in the query")
    return values, wrong
