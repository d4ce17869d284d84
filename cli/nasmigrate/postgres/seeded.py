"""The ledger of the accounts that were seeded into Kill Bill, in the schema `nasmigrate` of the migrated database.

It says which accounts are ours, so that undoing closes those and no others. Whether an account exists is asked of Kill
Bill, never of the ledger: its database may have been made anew since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import psycopg

from nasmigrate.core.errors import RunLocked

State = Literal["planned", "seeded", "found", "closed"]
"""planned: may have been sent · seeded: made by us, and complete · found: was there before us · closed: made by us,
and closed by undoing."""

_LOCK = 0x6E617373  # "nass"
"""Key of the advisory lock that one seeding holds on the migrated database."""

_DDL = """
CREATE SCHEMA IF NOT EXISTS nasmigrate;
CREATE TABLE IF NOT EXISTS nasmigrate.seeded (
    tenant text NOT NULL,
    external_key text NOT NULL,
    state text NOT NULL CHECK (state IN ('planned', 'seeded', 'found', 'closed')),
    account_id text,
    sent_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, external_key)
);
COMMENT ON TABLE nasmigrate.seeded IS 'Accounts that nasmigrate seed made in Kill Bill; needed for seed --undo.';
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededRow:
    """One account. `account_id` is Kill Bill's, None while it is only planned."""

    external_key: str
    state: State
    account_id: str | None = None


def begin_seeding(connection: psycopg.Connection) -> None:
    """Make the table where it is not there, and hold the seeding for this session.

    Raises:
        RunLocked: another seeding into the same tenants runs.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    if not (row and row[0]):
        connection.rollback()
        raise RunLocked("another nasmigrate seeds from this database", hint="wait for it, or end it")
    connection.execute(_DDL)
    connection.commit()


def sender(connection: psycopg.Connection, tenant: str) -> str:
    """The name under which this ledger's accounts are made, the same for every run: at most 50 characters.

    Kill Bill keeps it with each account, so an account whose creation was not recorded is still known as ours.
    """
    row = connection.execute("SELECT sent_by FROM nasmigrate.seeded WHERE tenant = %s LIMIT 1", (tenant,)).fetchone()
    return str(row[0]) if row else f"nasmigrate {uuid4()}"


def seeded_rows(connection: psycopg.Connection, tenant: str) -> dict[str, SeededRow]:
    """The ledger of one tenant, by external key."""
    rows = connection.execute(
        "SELECT external_key, state, account_id FROM nasmigrate.seeded WHERE tenant = %s", (tenant,)
    )
    return {key: SeededRow(external_key=key, state=state, account_id=account) for key, state, account in rows}


def plan_accounts(connection: psycopg.Connection, tenant: str, keys: Sequence[str], sent_by: str) -> None:
    """Record, and commit, that these are about to be sent: from now on an account of that key may be ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO nasmigrate.seeded (tenant, external_key, state, sent_by)"
            " SELECT %s, key, 'planned', %s FROM unnest(%s::text[]) AS key"
            " ON CONFLICT (tenant, external_key)"
            " DO UPDATE SET state = 'planned', account_id = NULL, changed_at = now()",
            (tenant, sent_by, list(keys)),
        )
    connection.commit()


def record_accounts(connection: psycopg.Connection, tenant: str, rows: Iterable[SeededRow], sent_by: str) -> None:
    """Record, and commit, what became of accounts."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO nasmigrate.seeded (tenant, external_key, state, account_id, sent_by)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (tenant, external_key)"
            " DO UPDATE SET state = excluded.state, account_id = excluded.account_id, changed_at = now()",
            [(tenant, row.external_key, row.state, row.account_id, sent_by) for row in rows],
        )
    connection.commit()
