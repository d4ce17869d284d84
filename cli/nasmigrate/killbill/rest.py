"""The requests of Kill Bill's REST interface: credentials in headers, a time limit, and which may be sent again.

No message holds a secret: Kill Bill's own words are cut, redacted, and the credentials travel in headers only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
import stamina

from nasmigrate.core.errors import ConfigError, KillBillError
from nasmigrate.core.redaction import printable, redact

PAGE = 200
EXCERPT = 300
_API = "/1.0/kb"
stamina.instrumentation.set_on_retry_hooks(())  # would write a bare line for each; the last error says what matters
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
    """How long reading is tried again: `attempts` in all, waits in seconds growing from `first` to `longest`.

    None begins more than `altogether` seconds after the first: Kill Bill without its database keeps silent until each
    attempt's own time is up.
    """

    attempts: int = 8
    first: float = 0.25
    longest: float = 8.0
    altogether: float = 60.0


class Rest:
    """Sends requests to one Kill Bill, for several threads."""

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

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def pages(self, path: str, doing: str) -> Iterator[Mapping[str, object]]:
        """Every document of a list that comes in pages.

        Raises:
            KillBillError: no usable answer; or the pages held fewer documents than Kill Bill says it has.
        """
        offset: int | None = 0
        seen = 0
        total = 0
        while offset is not None:
            answer = self.patiently("GET", path, doing, query={"offset": str(offset), "limit": str(PAGE)})
            page = parsed(answer, doing)
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

    def patiently(self, method: str, path: str, doing: str, **request: object) -> httpx2.Response:
        """A request that may be sent again, sent again while no answer or a server's error comes; see `once`.

        Raises:
            KillBillError: refused, or no answer, however often it was asked.
        """
        for attempt in stamina.retry_context(
            on=_passes,
            attempts=self._patience.attempts,
            timeout=self._patience.altogether,
            wait_initial=self._patience.first,
            wait_max=self._patience.longest,
            wait_jitter=self._patience.first,
        ):
            with attempt:
                return self.once(method, path, doing, **request)  # type: ignore[arg-type]
        raise AssertionError("a retry context ends with a result or an error")

    def once(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        tenant: bool = True,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> httpx2.Response:
        """One request, sent once.

        Args:
            method: GET, POST or DELETE.
            path: below /1.0/kb.
            doing: what an error says was being done.
            tenant: send the tenant's key and secret.
            query: after the path.
            body: sent as JSON.

        Raises:
            KillBillError: no answer in time, or another one than success.
        """
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


def parsed(answer: httpx2.Response, doing: str) -> object:
    """The JSON of an answer.

    Raises:
        KillBillError: it is none.
    """
    try:
        return answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise KillBillError(f"Kill Bill: {doing}: the answer is no JSON", status=answer.status_code) from error


def _number(answer: httpx2.Response, name: str, doing: str) -> int | None:
    text = answer.headers.get(f"X-Killbill-Pagination-{name}")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise KillBillError(f"Kill Bill: {doing}: {name} is no number", status=answer.status_code) from error
