"""Makes and closes accounts in Kill Bill. Whatever was in doubt is looked up before it is sent again.

Kill Bill makes 10 to 22 accounts a second on two cores, and more than four requests at once gain nothing (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasmigrate.core.errors import KillBillError
from nasmigrate.killbill.account import Account
from nasmigrate.killbill.client import KillBill
from nasmigrate.killbill.in_flight import do_all
from nasmigrate.postgres.seeded import SeededRow

ROUNDS = 3
"""How often an account is sent whose key Kill Bill, asked in between, does not know."""

RECORD_EVERY = 25
"""Accounts between two records; what was made since the last one is recognised by who made it."""

Record = Callable[[Sequence[SeededRow]], None]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One person. `exists`: Kill Bill has an account with the key, perhaps made by us and not recorded."""

    account: Account
    exists: bool = False


def seed_accounts(
    client: KillBill,
    work: Sequence[Work],
    *,
    sent_by: str,
    held: Callable[[], None],
    tag: str | None,
    workers: int,
    record: Record,
    progress: Progress,
) -> None:
    """Make every account of `work`, and give it the tag.

    Args:
        client: whose requests are sent as `sent_by`.
        work: in the order to do it.
        sent_by: who made an account, if it was us.
        held: raises if the ledger is no longer ours. Called in other threads where Kill Bill gave no clear answer:
            both of them need Postgres, and when that is gone nothing is gained by asking Kill Bill again.
        tag: a tag definition for each account we made, or None. An account that was there before is not touched.
        workers: requests in flight.
        record: see `do_all`; rows in state `seeded` or `found`.
        progress: see `do_all`.

    Raises:
        KillBillError: the first failure; what was done is recorded, and the same call goes on from there.
        Exception: that of `held`.
    """

    def one(item: Work) -> SeededRow:
        account_id, ours = _ensure(client, item, sent_by, held)
        if ours and tag is not None:
            client.add_tag(account_id, tag)
        key = item.account.external_key
        return SeededRow(external_key=key, state="seeded" if ours else "found", account_id=account_id)

    do_all(work, one, workers=workers, record=record, record_every=RECORD_EVERY, progress=progress)


def close_accounts(
    client: KillBill,
    rows: Sequence[SeededRow],
    *,
    sent_by: str,
    workers: int,
    record: Record,
    progress: Progress,
) -> None:
    """Close every account of `rows` that is ours, for good. One that was only planned is looked up first.

    Args are those of `seed_accounts`; recorded are rows in state `closed`, and `found` for accounts of others.

    Raises:
        KillBillError: the first failure; what was done is recorded, and the same call goes on from there.
    """

    def one(row: SeededRow) -> SeededRow:
        account_id = row.account_id
        if account_id is None:
            stored = client.find_account(row.external_key, audit=True)
            if stored is None or stored.created_by != sent_by:
                found = stored.account_id if stored else None
                return SeededRow(external_key=row.external_key, state="found", account_id=found)
            account_id = stored.account_id
        client.close_account(account_id)
        return SeededRow(external_key=row.external_key, state="closed", account_id=account_id)

    do_all(rows, one, workers=workers, record=record, record_every=RECORD_EVERY, progress=progress)


def _ensure(client: KillBill, work: Work, sent_by: str, held: Callable[[], None]) -> tuple[str, bool]:
    """The accountId, and whether the account is ours."""
    doubt: KillBillError | None = None
    for round_ in range(ROUNDS):
        if round_ > 0 or not work.exists:
            try:
                return client.create_account(work.account), True
            except KillBillError as error:
                # 400, 401 and the like are an answer; 409, 5xx and silence do not say whose account there is.
                if error.status is not None and error.status != 409 and error.status < 500:
                    raise
                held()
                doubt = error
        stored = client.find_account(work.account.external_key, audit=True)
        if stored is not None:
            return stored.account_id, stored.created_by == sent_by
    assert doubt is not None  # noqa: S101 - the last round ends with an account or with a doubt
    raise doubt
