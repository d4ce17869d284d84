"""A small client of Kill Bill's REST interface: only the calls that seeding needs.

What may be sent again is: reading, setting a tag, and making the tenant, whose secret is ours. Creating an account is
sent once; when its fate is not known (no answer, 409, or the 500 that two racing requests can give), the caller looks
with `find_account` before anything else.
No message holds a secret: Kill Bill's own words are cut, redacted, and the credentials travel in headers only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx2
import stamina

from nasmigrate.core.errors import ConfigError, KillBillError
from nasmigrate.core.redaction import printable, redact
from nasmigrate.killbill.account import Account, StoredAccount, from_json, to_json

AUTO_INVOICING_OFF = "00000000-0000-0000-0000-000000000002"
"""Kill Bill's own tag definition: no invoices for the account while it has this tag."""

PAGE = 200
EXCERPT = 300
_API = "/1.0/kb"
_ALREADY_THERE = {3000, 20000}
"""Kill Bill's codes of "account exists" and "tenant exists"."""

_UNREACHABLE = "is it running? nasmigrate stack status; killbill.url in nasmigrate.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where Kill Bill is, as whom we come, and for which tenant. `created_by` is written beside what we make."""

    url: str
    user: str
    password: str = field(repr=False)
    api_key: str
    api_secret: str = field(repr=False)
    created_by: str = "nasmigrate"
    timeout: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what is no plain http(s) address.

        Raises:
            ConfigError: no scheme or host, a password in the address, or a query.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(
                "killbill.url: not an address such as http://127.0.0.1:18080", hint="leave /1.0/kb out", code="NM0541"
            )
        if parts.username or parts.password:
            raise ConfigError(
                "killbill.url: holds a user or password", hint="use killbill.user and password_file", code="NM0541"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long reading is tried again: `attempts` in all, waits in seconds growing from `first` to `longest`."""

    attempts: int = 8
    first: float = 0.25
    longest: float = 8.0


class KillBill:
    """A connection to Kill Bill, for several threads. Close it, or use it as a context."""

    def __init__(
        self, endpoint: Endpoint, *, patience: Patience | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._endpoint = endpoint
        self._http = httpx2.Client(
            base_url=endpoint.url.rstrip("/"),
            auth=(endpoint.user, endpoint.password),
            headers={"Accept": "application/json", "X-Killbill-CreatedBy": endpoint.created_by},
            timeout=endpoint.timeout,
            # No proxy or .netrc of the environment: the password goes to this address and nowhere else.
            trust_env=False,
            transport=transport,
        )
        self._tenant = {"X-Killbill-ApiKey": endpoint.api_key, "X-Killbill-ApiSecret": endpoint.api_secret}

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def create_tenant(self) -> bool:
        """Make the tenant; False when one with this key is there already, perhaps with another secret.

        It is also False when a first request was carried out and its answer lost; see `knows_the_tenant`.

        Raises:
            KillBillError: refused, or no answer, however often it was asked.
        """
        body = {"apiKey": self._endpoint.api_key, "apiSecret": self._endpoint.api_secret}
        try:
            self._patiently("POST", "/tenants", "creating the tenant", tenant=False, body=body)
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
            self._patiently("GET", "/accounts/pagination", "trying the tenant's secret", query=query)
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
        answer = self._once("POST", "/accounts", doing, body=to_json(account))
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
            answer = self._patiently("GET", "/accounts", doing, query=query)
        except KillBillError as error:
            if error.status == 404:
                return None
            raise
        return _account(_parsed(answer, doing), doing)

    def accounts(self) -> Iterator[StoredAccount]:
        """All accounts of the tenant, closed ones too, a page at a time.

        Raises:
            KillBillError: no usable answer; or the pages held another number of accounts than Kill Bill says it has.
        """
        doing = "listing the accounts"
        for document in self._pages("/accounts/pagination", doing):
            yield _account(document, doing)

    def accounts_with_tag(self, definition: str) -> frozenset[str]:
        """The accountIds that have a tag.

        Raises:
            KillBillError: no usable answer.
        """
        return frozenset(
            str(tag["objectId"])
            for tag in self._pages("/tags/pagination", "listing the tags")
            if tag.get("tagDefinitionId") == definition and tag.get("objectType") == "ACCOUNT" and "objectId" in tag
        )

    def add_tag(self, account_id: str, definition: str) -> None:
        """Give an account a tag; one that it has already is no error.

        Raises:
            KillBillError: refused, or no answer.
        """
        self._patiently("POST", f"/accounts/{account_id}/tags", "setting a tag", body=[definition])

    def is_closed(self, account_id: str) -> bool:
        """Whether an account was closed; the account itself does not say.

        Raises:
            KillBillError: no usable answer.
        """
        doing = "asking whether an account is closed"
        answer = _parsed(self._patiently("GET", f"/accounts/{account_id}/block", doing), doing)
        states = answer if isinstance(answer, list) else []
        return any(isinstance(state, Mapping) and state.get("stateName") == "CLOSE_ACCOUNT" for state in states)

    def close_account(self, account_id: str) -> None:
        """Close an account for good: Kill Bill has no way to open it again or to free its external key.

        Subscriptions end; unpaid invoices stay as they are.

        Raises:
            KillBillError: refused, or no answer.
        """
        query = {"cancelAllSubscriptions": "true", "removeFutureNotifications": "true"}
        self._patiently("DELETE", f"/accounts/{account_id}", "closing an account", query=query)

    def _pages(self, path: str, doing: str) -> Iterator[Mapping[str, object]]:
        offset: int | None = 0
        seen = 0
        total = 0
        while offset is not None:
            answer = self._patiently("GET", path, doing, query={"offset": str(offset), "limit": str(PAGE)})
            page = _parsed(answer, doing)
            total = _number(answer, "TotalNbRecords", doing) or 0
            if not isinstance(page, list):
                raise KillBillError(f"Kill Bill: {doing}: the answer is no list", status=answer.status_code)
            for document in page:
                seen += 1
                yield document
            following = _number(answer, "NextOffset", doing)
            offset = following if page and following is not None and following > offset else None
        if seen < total:
            raise KillBillError(f"Kill Bill: {doing}: {seen} came of {total} that it says it has")

    def _patiently(self, method: str, path: str, doing: str, **request: object) -> httpx2.Response:
        """A request that may be sent again, sent again while no answer or a server's error comes."""
        for attempt in stamina.retry_context(
            on=_passes,
            attempts=self._patience.attempts,
            timeout=None,
            wait_initial=self._patience.first,
            wait_max=self._patience.longest,
            wait_jitter=self._patience.first,
        ):
            with attempt:
                return self._once(method, path, doing, **request)  # type: ignore[arg-type]
        raise AssertionError("a retry context ends with a result or an error")

    def _once(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        tenant: bool = True,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> httpx2.Response:
        try:
            answer = self._http.request(
                method,
                _API + path,
                params=dict(query) if query else None,
                headers=self._tenant if tenant else None,
                json=body,
            )
        except httpx2.TimeoutException as error:
            raise KillBillError(
                f"Kill Bill: {doing}: no answer within {self._endpoint.timeout:g} s", hint=_UNREACHABLE
            ) from error
        except httpx2.HTTPError as error:
            raise KillBillError(f"Kill Bill: {doing}: {_words(str(error))}", hint=_UNREACHABLE) from error
        if answer.is_success:
            return answer
        raise _refused(answer, doing)


def _passes(error: Exception) -> bool:
    """Whether it may be gone the next time: no answer, or an error of the server."""
    return isinstance(error, KillBillError) and (error.status is None or error.status >= 500)


def _refused(answer: httpx2.Response, doing: str) -> KillBillError:
    code, words = None, ""
    try:
        document = answer.json()
    except (ValueError, UnicodeDecodeError):
        document = None  # Tomcat's own pages are HTML
    if isinstance(document, Mapping):
        code, words = document.get("code"), _words(str(document.get("message") or ""))
    hint = None
    if answer.status_code == 401:
        hint = "killbill.user and password_file, or the tenant's api_key and api_secret_file, are not Kill Bill's"
    return KillBillError(
        f"Kill Bill: {doing}: status {answer.status_code}" + (f": {words}" if words else ""),
        status=answer.status_code,
        excerpt=words or None,
        hint=hint,
        details={"killbill_code": code},
    )


def _words(text: str) -> str:
    return printable(redact(text))[:EXCERPT]


def _parsed(answer: httpx2.Response, doing: str) -> object:
    try:
        return answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise KillBillError(f"Kill Bill: {doing}: the answer is no JSON", status=answer.status_code) from error


def _account(document: object, doing: str) -> StoredAccount:
    try:
        if isinstance(document, Mapping):
            return from_json(document)
    except ValueError as error:
        raise KillBillError(f"Kill Bill: {doing}: the answer is no account: {error}") from error
    raise KillBillError(f"Kill Bill: {doing}: the answer is no account")


def _number(answer: httpx2.Response, name: str, doing: str) -> int | None:
    text = answer.headers.get(f"X-Killbill-Pagination-{name}")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise KillBillError(f"Kill Bill: {doing}: {name} is no number", status=answer.status_code) from error
