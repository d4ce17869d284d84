"""Seeding makes one account per person whatever goes wrong in between, and records all it made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.killbill_double import PASSWORD, USER, Double, killbill_double

from nasmigrate.core.errors import KillBillError
from nasmigrate.killbill.account import Account
from nasmigrate.killbill.client import AUTO_INVOICING_OFF, KillBill
from nasmigrate.killbill.in_flight import do_all
from nasmigrate.killbill.rest import Endpoint, Patience
from nasmigrate.killbill.seeding import ROUNDS, Work, close_accounts, seed_accounts
from nasmigrate.postgres.seeded import SeededRow

US = "nasmigrate 0f"


@pytest.fixture
def double() -> Iterator[Double]:
    with killbill_double() as running:
        yield running


@pytest.fixture
def client(double: Double) -> Iterator[KillBill]:
    endpoint = Endpoint(
        url=double.url, user=USER, password=PASSWORD, api_key="shop", api_secret="s", created_by=US, timeout=0.6
    )
    with KillBill(endpoint, patience=Patience(attempts=3, first=0, longest=0)) as made:
        made.create_tenant()
        yield made


def work(*keys: str, exists: bool = False) -> list[Work]:
    return [Work(account=Account(external_key=key, name="Ada"), exists=exists) for key in keys]


def still_held() -> None:
    """The ledger's session is there."""


def seed(
    client: KillBill, items: Sequence[Work], *, workers: int = 2, held: Callable[[], None] = still_held
) -> dict[str, SeededRow]:
    recorded: list[SeededRow] = []
    seed_accounts(
        client,
        items,
        sent_by=US,
        held=held,
        tag=AUTO_INVOICING_OFF,
        workers=workers,
        record=recorded.extend,
        progress=lambda done: None,
    )
    assert len(recorded) == len({row.external_key for row in recorded})
    return {row.external_key: row for row in recorded}


def test_everyone_gets_an_account_and_the_tag_with_few_in_flight(double: Double, client: KillBill) -> None:
    keys = [str(number) for number in range(60)]
    recorded = seed(client, work(*keys), workers=3)
    assert {row.state for row in recorded.values()} == {"seeded"}
    assert set(double.accounts) == set(keys) == set(recorded)
    assert all(double.tags[row.account_id or ""] == {AUTO_INVOICING_OFF} for row in recorded.values())
    assert 1 < double.most_in_flight <= 3


@pytest.mark.parametrize("status", [500, 0, -1])
@pytest.mark.parametrize("applied", [True, False])
def test_a_request_whose_fate_is_unknown_is_looked_up(
    double: Double, client: KillBill, status: int, applied: bool
) -> None:
    """A 500 is also what the loser of a race gets; a time-out says nothing about what was done."""
    double.fail("POST", "/accounts", status, applied=applied)
    recorded = seed(client, work("7"))
    assert recorded["7"].state == "seeded"
    assert recorded["7"].account_id == double.accounts["7"]["accountId"]
    assert double.count("POST", "/accounts") == (1 if applied else 2)


def test_without_its_ledger_nothing_is_asked_again(double: Double, client: KillBill) -> None:
    """Postgres is gone, for Kill Bill too: the first unclear answer ends it, with the ledger's error."""

    def gone() -> None:
        raise ConnectionError("the ledger's session is gone")

    double.fail("POST", "/accounts", -1, times=9)
    with pytest.raises(ConnectionError):
        seed(client, work("7", "8", "9"), workers=1, held=gone)
    assert double.count("POST", "/accounts") == 1
    assert double.count("GET", "/accounts") == 0


def test_an_account_of_somebody_else_is_found_and_not_touched(double: Double, client: KillBill) -> None:
    account_id = double.put("7", created_by="a colleague", name="Other")
    recorded = seed(client, work("7"))
    assert (recorded["7"].state, recorded["7"].account_id) == ("found", account_id)
    assert double.accounts["7"]["name"] == "Other"
    assert not double.tags


def test_an_account_made_before_a_kill_is_recognised_and_completed(double: Double, client: KillBill) -> None:
    account_id = double.put("7", created_by=US)
    recorded = seed(client, work("7", exists=True))
    assert (recorded["7"].state, recorded["7"].account_id) == ("seeded", account_id)
    assert double.tags == {account_id: {AUTO_INVOICING_OFF}}
    assert double.count("POST", "/accounts") == 0


def test_a_kill_bill_that_keeps_failing_ends_it_and_what_was_made_is_recorded(double: Double, client: KillBill) -> None:
    recorded: list[SeededRow] = []
    seed(client, work(*[str(number) for number in range(10)]))
    double.fail("POST", "/accounts", 500, times=99)
    double.fail("GET", "/accounts", 500, times=99)
    with pytest.raises(KillBillError, match="status 500"):
        seed_accounts(
            client,
            work("a", "b", "c"),
            sent_by=US,
            held=still_held,
            tag=None,
            workers=1,
            record=recorded.extend,
            progress=lambda done: None,
        )
    assert recorded == []
    assert double.count("POST", "/accounts") == 11


def test_a_key_that_kill_bill_keeps_refusing_is_sent_a_few_times_only(double: Double, client: KillBill) -> None:
    double.fail("POST", "/accounts", 500, times=99)
    with pytest.raises(KillBillError):
        seed(client, work("7"))
    assert double.count("POST", "/accounts") == ROUNDS


def test_a_refusal_stops_the_rest_at_once(double: Double, client: KillBill) -> None:
    double.fail("POST", "/accounts", 400)
    with pytest.raises(KillBillError, match="status 400"):
        seed(client, work(*[str(number) for number in range(50)]), workers=1)
    assert double.count("POST", "/accounts") == 1


def test_undoing_closes_ours_and_no_others(double: Double, client: KillBill) -> None:
    seeded = seed(client, work("1"))["1"]
    unrecorded, others = double.put("2", created_by=US), double.put("3", created_by="a colleague")
    rows = [seeded, *(SeededRow(external_key=key, state="planned") for key in ("2", "3", "4"))]
    recorded: list[SeededRow] = []
    close_accounts(client, rows, sent_by=US, workers=2, record=recorded.extend, progress=lambda done: None)
    assert double.closed == {seeded.account_id, unrecorded}
    assert others not in double.closed
    assert {row.external_key: row.state for row in recorded} == {
        "1": "closed",
        "2": "closed",
        "3": "found",
        "4": "found",
    }


def test_an_interrupt_waits_for_what_is_in_flight_and_records_it() -> None:
    """Ctrl-C comes in the thread that waits; what the others were doing is done and must be on record."""
    recorded: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def do(item: int) -> int:
        started.set()
        assert go_on.wait(10)
        return item

    def items() -> Iterator[int]:
        yield 1
        assert started.wait(10)
        go_on.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do_all(items(), do, workers=2, record=recorded.extend, record_every=100, progress=lambda done: None)
    assert recorded == [1]


def test_outcomes_are_recorded_in_small_steps() -> None:
    steps: list[int] = []
    do_all(
        range(10),
        str,
        workers=2,
        record=lambda rows: steps.append(len(rows)),
        record_every=3,
        progress=lambda done: None,
    )
    assert sum(steps) == 10
    assert max(steps) <= 3 + 1
