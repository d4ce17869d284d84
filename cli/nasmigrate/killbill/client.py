"""A small client of Kill Bill's REST interface: only the calls that seeding needs.

What may be sent again is: reading, setting a tag, and making the tenant, whose secret is ours. Creating an account is
sent once; when its fate is not known (no answer, 409, or the 500 that two racing requests can give), the caller looks
with `find_account` before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import httpx2

from nasmigrate.core.errors import KillBillError
from nasmigrate.killbill.account import Account, StoredAccount, from_json, to_json
from nasmigrate.killbill.rest import Endpoint, Patience, Rest, parsed

AUTO_INVOICING_OFF = "00000000-0000-0000-0000-000000000002"
"""Kill Bill's own tag definition: no invoices for the account while it has this tag."""

_ALREADY_THERE = {3000, 20000}
"""Kill Bill's codes of "account exists" and "tenant exists"."""


class KillBill:
    """A connection to Kill Bill, for several threads. Close it, or use it as a context."""

    def __init__(
        self, endpoint: Endpoint, *, patience: Patience | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._endpoint = endpoint
        self._rest = Rest(endpoint, patience=patience, transport=transport)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._rest.close()

    def create_tenant(self) -> bool:
        """Make the tenant; False when one with this key is there already, perhaps with another secret.

        It is also False when a first request was carried out and its answer lost; see `knows_the_tenant`.

        Raises:
            KillBillError: refused, or no answer, however often it was asked.
        """
        body = {"apiKey": self._endpoint.api_key, "apiSecret": self._endpoint.api_secret}
        try:
            self._rest.patiently("POST", "/tenants", "creating the tenant", tenant=False, body=body)
        except KillBillError as error:
            if error.status == 409 and error.details.get("killbill_code") in _ALREADY_THERE:
                return False
            raise
        return True

    def knows_the_tenant(self) -> bool:
        """Whether Kill Bill takes our key and secret for a tenant.

        Raises:
            KillBillError: no usable answer.
        """
        query = {"offset": "0", "limit": "1"}
        try:
            self._rest.patiently("GET", "/accounts/pagination", "trying the tenant's secret", query=query)
        except KillBillError as error:
            if error.status == 401:
                return False
            raise
        return True

    def create_account(self, account: Account) -> str:
        """Make an account, with one request; its accountId.

        Raises:
            KillBillError: refused, or its fate is not known.
        """
        doing = f"creating the account of {account.external_key!r}"
        answer = self._rest.once("POST", "/accounts", doing, body=to_json(account))
        account_id = answer.headers.get("Location", "").rstrip("/").rpartition("/")[2]
        if not account_id:
            raise KillBillError(f"Kill Bill: {doing}: no Location in the answer", status=answer.status_code)
        return account_id

    def find_account(self, external_key: str, *, audit: bool = False) -> StoredAccount | None:
        """The account with this key, None when there is none. With `audit`, also who made it.

        Raises:
            KillBillError: no usable answer, however often it was asked.
        """
        query = {"externalKey": external_key, "audit": "MINIMAL" if audit else "NONE"}
        doing = f"looking for the account of {external_key!r}"
        try:
            answer = self._rest.patiently("GET", "/accounts", doing, query=query)
        except KillBillError as error:
            if error.status == 404:
                return None
            raise
        return _account(parsed(answer, doing), doing)

    def accounts(self) -> Iterator[StoredAccount]:
        """All accounts of the tenant, closed ones too, a page at a time.

        Raises:
            KillBillError: no usable answer; or the pages held another number of accounts than Kill Bill says it has.
        """
        doing = "listing the accounts"
        for document in self._rest.pages("/accounts/pagination", doing):
            yield _account(document, doing)

    def accounts_with_tag(self, definition: str) -> frozenset[str]:
        """The accountIds that have a tag.

        Raises:
            KillBillError: no usable answer.
        """
        return frozenset(
            str(tag["objectId"])
            for tag in self._rest.pages("/tags/pagination", "listing the tags")
            if tag.get("tagDefinitionId") == definition and tag.get("objectType") == "ACCOUNT" and "objectId" in tag
        )

    def add_tag(self, account_id: str, definition: str) -> None:
        """Give an account a tag; one that it has already is no error.

        Raises:
            KillBillError: refused, or no answer.
        """
        self._rest.patiently("POST", f"/accounts/{account_id}/tags", "setting a tag", body=[definition])

    def is_closed(self, account_id: str) -> bool:
        """Whether an account was closed; the account itself does not say.

        Raises:
            KillBillError: no usable answer.
        """
        doing = "asking whether an account is closed"
        answer = parsed(self._rest.patiently("GET", f"/accounts/{account_id}/block", doing), doing)
        states = answer if isinstance(answer, list) else []
        return any(isinstance(state, Mapping) and state.get("stateName") == "CLOSE_ACCOUNT" for state in states)

    def close_account(self, account_id: str) -> None:
        """Close an account for good: Kill Bill has no way to open it again or to free its external key.

        Subscriptions end; unpaid invoices stay as they are.

        Raises:
            KillBillError: refused, or no answer.
        """
        query = {"cancelAllSubscriptions": "true", "removeFutureNotifications": "true"}
        self._rest.patiently("DELETE", f"/accounts/{account_id}", "closing an account", query=query)


def _account(document: object, doing: str) -> StoredAccount:
    try:
        if isinstance(document, Mapping):
            return from_json(document)
    except ValueError as error:
        raise KillBillError(f"Kill Bill: {doing}: the answer is no account: {error}") from error
    raise KillBillError(f"Kill Bill: {doing}: the answer is no account")
