"""The client sends what it may once and reads patiently; no secret is in any of its words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.killbill_double import PASSWORD, USER, Double, killbill_double

from nasmigrate.core.errors import ConfigError, ExitCode, KillBillError
from nasmigrate.killbill.account import Account
from nasmigrate.killbill.client import AUTO_INVOICING_OFF, KillBill
from nasmigrate.killbill.rest import PAGE, Endpoint, Patience

QUICK = Patience(attempts=3, first=0, longest=0)


@pytest.fixture
def double() -> Iterator[Double]:
    with killbill_double() as running:
        yield running


def endpoint(double: Double, **changed: object) -> Endpoint:
    settings = {"user": USER, "password": PASSWORD, "api_key": "shop", "api_secret": "t0p s3cret", "timeout": 0.6}
    return Endpoint(url=double.url, **{**settings, **changed})  # type: ignore[arg-type]


@pytest.fixture
def client(double: Double) -> Iterator[KillBill]:
    with KillBill(endpoint(double), patience=QUICK) as made:
        made.create_tenant()
        yield made


def test_a_tenant_is_made_once(double: Double, client: KillBill) -> None:
    assert double.tenants == {"shop": "t0p s3cret"}
    assert client.create_tenant() is False


@pytest.mark.parametrize("status", [500, 0, -1])
def test_a_tenant_whose_answer_was_lost_is_known_as_ours(double: Double, status: int) -> None:
    """A Kill Bill that has just started may take longer than the time-out for its first request."""
    double.fail("POST", "/tenants", status, applied=True)
    with KillBill(endpoint(double), patience=QUICK) as made:
        assert made.create_tenant() is False
        assert made.knows_the_tenant()
    with KillBill(endpoint(double, api_secret="another"), patience=QUICK) as made:
        assert not made.knows_the_tenant()


def test_an_account_is_made_and_found_with_who_made_it(client: KillBill) -> None:
    account_id = client.create_account(Account(external_key="7", name="Ada"))
    found = client.find_account("7", audit=True)
    assert found is not None
    assert (found.account_id, found.account.name, found.created_by) == (account_id, "Ada", "nasmigrate")
    assert client.find_account("8") is None


def test_a_second_account_of_a_key_is_refused_with_kill_bills_word(client: KillBill) -> None:
    client.create_account(Account(external_key="7"))
    with pytest.raises(KillBillError) as raised:
        client.create_account(Account(external_key="7"))
    assert (raised.value.status, raised.value.details["killbill_code"]) == (409, 3000)
    assert raised.value.exit_code == ExitCode.EXTERNAL_TOOL


def test_all_pages_are_read(double: Double, client: KillBill) -> None:
    for number in range(PAGE + 3):
        double.put(str(number))
    assert {stored.account.external_key for stored in client.accounts()} == {str(n) for n in range(PAGE + 3)}
    assert double.count("GET", "/accounts/pagination") == 2


def test_a_tag_is_set_and_listed(client: KillBill) -> None:
    account_id = client.create_account(Account(external_key="7"))
    client.add_tag(account_id, AUTO_INVOICING_OFF)
    client.add_tag(account_id, AUTO_INVOICING_OFF)
    assert client.accounts_with_tag(AUTO_INVOICING_OFF) == {account_id}


def test_closing_shows_only_where_it_is_asked_for(client: KillBill) -> None:
    account_id = client.create_account(Account(external_key="7"))
    assert not client.is_closed(account_id)
    client.close_account(account_id)
    assert client.is_closed(account_id)
    assert client.find_account("7") is not None


@pytest.mark.parametrize("status", [500, 503, 0, -1])
def test_reading_is_tried_again(double: Double, client: KillBill, status: int) -> None:
    """After Postgres restarts Kill Bill answers 500 once, or not in time."""
    double.put("7")
    double.fail("GET", "/accounts", status, times=2)
    assert client.find_account("7") is not None
    assert double.count("GET", "/accounts") == 3


@pytest.mark.parametrize("status", [500, 0, -1])
def test_an_account_is_never_sent_twice_by_itself(double: Double, client: KillBill, status: int) -> None:
    double.fail("POST", "/accounts", status, applied=True)
    with pytest.raises(KillBillError):
        client.create_account(Account(external_key="7"))
    assert double.count("POST", "/accounts") == 1


def test_patience_ends(double: Double, client: KillBill) -> None:
    double.fail("GET", "/accounts", 500, times=9)
    with pytest.raises(KillBillError, match="status 500"):
        client.find_account("7")
    assert double.count("GET", "/accounts") == 3


def test_a_refusal_is_not_tried_again(double: Double, client: KillBill) -> None:
    double.fail("GET", "/accounts", 400, times=9)
    with pytest.raises(KillBillError, match="status 400"):
        client.find_account("7")
    assert double.count("GET", "/accounts") == 1


@pytest.mark.parametrize("changed", [{"password": "wrong"}, {"api_secret": "wrong"}])
def test_wrong_credentials_are_said_without_showing_them(
    double: Double, client: KillBill, changed: dict[str, str]
) -> None:
    with KillBill(endpoint(double, **changed), patience=QUICK) as other, pytest.raises(KillBillError) as raised:
        other.find_account("7")
    assert raised.value.status == 401
    assert "password_file" in str(raised.value.hint)


def test_no_secret_is_in_any_word(double: Double, client: KillBill) -> None:
    double.fail("GET", "/accounts", 500, times=9)
    shown = repr(endpoint(double))
    with pytest.raises(KillBillError) as raised:
        client.find_account("7")
    shown += f"{raised.value.message} {raised.value.hint} {raised.value.details}"
    for secret in (PASSWORD, "t0p s3cret", "hunter2"):
        assert secret not in shown


def test_nothing_listens() -> None:
    settings = Endpoint(url="http://127.0.0.1:9", user="a", password="b", api_key="c", api_secret="d")
    with KillBill(settings, patience=QUICK) as client, pytest.raises(KillBillError) as raised:
        client.find_account("7")
    assert raised.value.status is None
    assert "stack status" in str(raised.value.hint)


def test_a_page_that_stops_early_is_not_taken_for_all(double: Double, client: KillBill) -> None:
    """A listing cut short would make people look as if they had no account."""

    double.put("7")
    double.lost = 4
    with pytest.raises(KillBillError, match="1 came of 5"):
        list(client.accounts())


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://host", "http://", "http://u:p@host", "http://host?x=1", "http://host#x"]
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Endpoint(url=url, user="a", password="b", api_key="c", api_secret="d")
    assert "u:p" not in raised.value.message


def test_the_environments_proxy_is_not_asked(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with KillBill(endpoint(double), patience=QUICK) as client:
        assert client.create_tenant()
