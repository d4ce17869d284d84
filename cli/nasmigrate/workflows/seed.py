"""`nasmigrate seed`: the application's people into Kill Bill, once each, and proven to be there as they are here.

What Kill Bill has already is compared and never changed; what was made is in the ledger, so that undoing closes exactly
that. Stopped anywhere, the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from nasmigrate.core.context import Context
from nasmigrate.core.errors import NasmigrateError
from nasmigrate.core.progress import Progress
from nasmigrate.core.result import Gate, Result
from nasmigrate.core.target import Target
from nasmigrate.killbill.account import Account, StoredAccount
from nasmigrate.killbill.client import AUTO_INVOICING_OFF, KillBill
from nasmigrate.killbill.people import People
from nasmigrate.killbill.seeding import Work, close_accounts, seed_accounts
from nasmigrate.postgres.connect import connected
from nasmigrate.postgres.seeded import (
    SeededRow,
    begin_seeding,
    plan_accounts,
    record_accounts,
    seeded_rows,
    sender,
)
from nasmigrate.workflows.killbill import people_of, tenant
from nasmigrate.workflows.outcome import verdict_of
from nasmigrate.workflows.run import Run, running
from nasmigrate.workflows.seed_proof import SeedProof, closed_gate, prove, result_of

__all__ = ["check_people", "seed", "seed_within", "undo_seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ledger:
    """The ledger of one tenant: how to write to it, and how it stood at the beginning."""

    connection: psycopg.Connection
    tenant: str
    sent_by: str
    rows: Mapping[str, SeededRow]

    def plan(self, keys: Sequence[str]) -> None:
        plan_accounts(self.connection, self.tenant, keys, self.sent_by)

    def held(self) -> None:
        """Raise once the session is gone, and with it the lock that keeps other seedings out."""
        self.connection.execute("SELECT 1")

    def record(self, rows: Sequence[SeededRow]) -> None:
        record_accounts(self.connection, self.tenant, rows, self.sent_by)


def seed(context: Context, target: Target) -> Result:
    """Put everyone into Kill Bill who is not there yet, then compare everyone.

    Args:
        context: settings ([killbill]) and reporter.
        target: the migrated database: it gives the people, and keeps the ledger.

    Raises:
        PreflightError: people that do not fit Kill Bill's limits; nothing was sent.
        KillBillError: Kill Bill refused or could not be reached; what was made is recorded, and the same call goes on.
        ConfigError, TargetError, RunLocked: what could not be read, or another seeding runs.
    """
    with running(context, "seed") as run:
        proof, made = _seed(run, context, target)
        return result_of(run, target, proof, made=made)


def seed_within(run: Run, context: Context, target: Target, *, again: str) -> Gate:
    """The same as a part of another command's run: one gate, inconclusive where it did not come to an end.

    Args:
        run: of the other command.
        context: settings ([killbill]); a rehearsal names a tenant of its own.
        target: the migrated database.
        again: what to do when it did not come to an end.
    """
    try:
        proof, _ = _seed(run, context, target)
    except (NasmigrateError, OSError) as error:
        reasons = "; ".join(getattr(error, "checks", ())[:3])
        detail = f"{error}{': ' if reasons else ''}{reasons}; {again}"
        return Gate(name="seed", status="inconclusive", detail=detail)
    verdict, _ = verdict_of(proof.gates)
    return Gate(
        name="seed",
        status=verdict,
        detail="; ".join(gate.detail for gate in proof.gates if verdict == "pass" or gate.status != "pass"),
        checked=sum(gate.checked for gate in proof.gates),
    )


def _seed(run: Run, context: Context, target: Target) -> tuple[SeedProof, int]:
    """What was proven, and how many accounts were made."""
    with run.phase("people", target.display):
        people = people_of(context, target.conninfo)
    with connected(target.conninfo, purpose="nasmigrate seed") as connection:
        ledger = _open_ledger(connection, context.config.killbill.api_key)
        with tenant(context, ledger.sent_by, create=True) as client:
            with run.phase("look", "accounts that are there"):
                before = _accounts(client)
            made = _send(run, context, client, ledger, people, before)
            with run.phase("verify", "every account"):
                after = _accounts(client) if made else before
                tagged = client.accounts_with_tag(AUTO_INVOICING_OFF) if made else frozenset()
    closed = [
        key
        for key, row in ledger.rows.items()
        if row.state == "closed" and key in after and after[key].account_id == row.account_id
    ]
    proof = prove(context, people, after, closed=closed)
    ours = [row for row in made if row.state == "seeded"]
    proof.add_tags(ours, tagged, expected=context.config.killbill.auto_invoicing_off)
    return proof, len(made)


def undo_seed(context: Context, target: Target) -> Result:
    """Close exactly the accounts that seeding made, for good: Kill Bill opens none again and frees no external key.

    Args:
        context: settings ([killbill]) and reporter.
        target: the database that keeps the ledger.

    Raises:
        KillBillError: Kill Bill refused or could not be reached; the same call goes on.
        ConfigError, TargetError, RunLocked: what could not be read, or another seeding runs.
    """
    with running(context, "seed") as run, connected(target.conninfo, purpose="nasmigrate seed") as connection:
        ledger = _open_ledger(connection, context.config.killbill.api_key)
        ours = [row for row in ledger.rows.values() if row.state in ("planned", "seeded")]
        done: list[SeededRow] = []

        def record(rows: Sequence[SeededRow]) -> None:
            ledger.record(rows)
            done.extend(rows)

        with tenant(context, ledger.sent_by, create=False) as client:
            with run.phase("close", f"{len(ours)} accounts"):
                close_accounts(
                    client,
                    ours,
                    sent_by=ledger.sent_by,
                    workers=context.config.killbill.workers,
                    record=record,
                    progress=_meter(run, "close", len(ours)),
                )
            with run.phase("verify", "every account that was closed"):
                gate = closed_gate(client, done)
        return result_of(run, target, gate, made=len(done))


def check_people(context: Context, conninfo: str) -> Gate:
    """Whether everyone would fit Kill Bill, for a rehearsal without one: the mapping is checked, nothing is sent.

    Raises:
        ConfigError: the query does not give people.
        PreflightError: some do not fit; all are listed.
    """
    people = people_of(context, conninfo)
    return Gate(
        name="seed-planned",
        status="pass" if people.accounts else "inconclusive",
        detail=f"{len(people.accounts):,} people fit Kill Bill's limits; seeding them was planned, not done",
        checked=len(people.accounts),
    )


def _open_ledger(connection: psycopg.Connection, tenant_key: str) -> _Ledger:
    begin_seeding(connection)
    sent_by = sender(connection, tenant_key)
    rows = seeded_rows(connection, tenant_key)
    connection.commit()
    return _Ledger(connection=connection, tenant=tenant_key, sent_by=sent_by, rows=rows)


def _accounts(client: KillBill) -> dict[str, StoredAccount]:
    return {stored.account.external_key: stored for stored in client.accounts()}


def _send(
    run: Run,
    context: Context,
    client: KillBill,
    ledger: _Ledger,
    people: People,
    before: Mapping[str, StoredAccount],
) -> list[SeededRow]:
    """Make what is missing; what became of it."""
    settings = context.config.killbill
    work = _work(people.accounts, ledger.rows, before)
    made: list[SeededRow] = []

    def record(rows: Sequence[SeededRow]) -> None:
        ledger.record(rows)
        made.extend(rows)

    with run.phase("seed", f"{len(work):,} of {len(people.accounts):,} people"):
        ledger.plan([item.account.external_key for item in work if not item.exists])
        seed_accounts(
            client,
            work,
            sent_by=ledger.sent_by,
            held=ledger.held,
            tag=AUTO_INVOICING_OFF if settings.auto_invoicing_off else None,
            workers=settings.workers,
            record=record,
            progress=_meter(run, "seed", len(work)),
        )
    return made


def _work(
    accounts: Sequence[Account], rows: Mapping[str, SeededRow], before: Mapping[str, StoredAccount]
) -> list[Work]:
    """Everyone whom Kill Bill does not have; and whom it has, but the ledger only planned: a kill came in between."""
    work = []
    for account in accounts:
        exists, row = account.external_key in before, rows.get(account.external_key)
        if not exists or (row is not None and row.state == "planned"):
            work.append(Work(account=account, exists=exists))
    return work


def _meter(run: Run, phase: str, total: int) -> Callable[[int], None]:
    started = time.perf_counter()

    def progress(done: int) -> None:
        run.context.reporter.progress(
            Progress(
                phase=phase,
                table="accounts",
                rows_done=done,
                rows_total=total,
                elapsed=time.perf_counter() - started,
            )
        )

    return progress
