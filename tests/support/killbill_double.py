"""A server that answers as Kill Bill 0.22.26 was recorded to, with faults on demand; for what the real one cannot be
made to do at a chosen moment. The real one is in tests/stack.
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

USER, PASSWORD = "admin", "p4ss word"
FIELDS = tuple(
    re.findall(
        r"\w+",
        """name firstNameLength externalKey email billCycleDayLocal currency parentAccountId isPaymentDelegatedToParent
        paymentMethodId referenceTime timeZone address1 address2 postalCode company city state country locale phone
        notes isMigrated accountBalance accountCBA""",
    )
)
ALIASES = {"Asia/Calcutta": "Asia/Kolkata", "US/Eastern": "America/New_York"}


@dataclass
class Fault:
    """What happens to the next requests of one kind: a status (0 = the connection is cut, -1 = no answer in time).

    `applied`: the request takes effect all the same.
    """

    method: str
    path: str
    status: int
    applied: bool
    times: int = 1


@dataclass
class Double:
    """The state that requests change.

    `requests` are (method, path) as they came; `lost` accounts are counted but not listed; `delay` is in seconds.
    """

    url: str = ""
    tenants: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lost: int = 0
    delay: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    in_flight: int = 0
    most_in_flight: int = 0

    def fail(self, method: str, path: str, status: int, *, applied: bool = False, times: int = 1) -> None:
        """Make the next `times` requests fail whose path ends with `path`."""
        self.faults.append(Fault(method=method, path=path, status=status, applied=applied, times=times))

    def count(self, method: str, path: str) -> int:
        """How many requests of that kind came."""
        return sum(1 for got, at in self.requests if got == method and at.endswith(path))

    def put(self, external_key: str, *, created_by: str = "somebody", **fields: Any) -> str:
        """An account that is there already; its id."""
        account = dict.fromkeys(FIELDS)
        account |= {"externalKey": external_key, "billCycleDayLocal": 0, "isPaymentDelegatedToParent": False}
        account |= {"timeZone": "UTC", "referenceTime": "2026-01-02T03:04:05.000Z", **fields}
        account["timeZone"] = ALIASES.get(account["timeZone"], account["timeZone"])
        account_id = str(uuid4())
        self.accounts[external_key] = {"accountId": account_id, **account, "createdBy": created_by}
        return account_id


@contextmanager
def killbill_double() -> Iterator[Double]:
    """Run one on a loopback port of its own."""
    double = Double()

    class Handler(_Handler):
        state = double

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # closing waits for them
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Double
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_DELETE = do_GET

    def _handle(self) -> None:
        state = self.state
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with state.lock:
            state.requests.append((self.command, parts.path))
            state.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, state.in_flight)
            fault = next(
                (each for each in state.faults if each.method == self.command and parts.path.endswith(each.path)), None
            )
            if fault is not None:
                fault.times -= 1
                if not fault.times:
                    state.faults.remove(fault)
        try:
            time.sleep(state.delay)
            if fault is None or fault.applied:
                with state.lock:
                    answer = self._answer(parts.path, parse_qs(parts.query), body)
            if fault is None:
                self._send(*answer)
            elif fault.status > 0:
                self._send(fault.status, _error(None, "org.postgresql.util.PSQLException: ERROR: password=hunter2"))
            else:
                time.sleep(1.0 if fault.status < 0 else 0)
                self.close_connection = True
                self.connection.close()
        finally:
            with state.lock:
                state.in_flight -= 1

    def _answer(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[Any, ...]:
        state, path = self.state, path.removeprefix("/1.0/kb")
        expected = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            return 401, None
        if self.command != "GET" and not self.headers.get("X-Killbill-CreatedBy"):
            return 400, None
        if path == "/tenants":
            document = json.loads(body)
            if document["apiKey"] in state.tenants:
                return 409, _error(20000, "Tenant already exists for key null")
            state.tenants[document["apiKey"]] = document["apiSecret"]
            return 201, None, {"Location": f"{state.url}/1.0/kb/tenants/{uuid4()}"}
        secret = state.tenants.get(self.headers.get("X-Killbill-ApiKey") or "")
        if secret is None or secret != self.headers.get("X-Killbill-ApiSecret"):
            return 401, "<!doctype html><title>HTTP Status 401 – Unauthorized</title>"
        if path == "/accounts" and self.command == "POST":
            return self._create(json.loads(body))
        if path == "/accounts":
            key = query["externalKey"][0]
            if key not in state.accounts:
                return 404, _error(3003, f"Account does not exist for key {key}")
            return 200, _shown(state.accounts[key], audit=query.get("audit") == ["MINIMAL"])
        if path == "/accounts/pagination":
            return _page([_shown(each, audit=False) for each in state.accounts.values()], query, more=state.lost)
        if path == "/tags/pagination":
            tags = [
                {"tagId": str(uuid4()), "objectType": "ACCOUNT", "objectId": account, "tagDefinitionId": tag}
                for account, found in state.tags.items()
                for tag in sorted(found)
            ]
            return _page(tags, query, more=0)
        account_id = path.split("/")[2]
        if self.command == "DELETE":
            state.closed.add(account_id)
            return (204,)
        if path.endswith("/tags"):
            state.tags.setdefault(account_id, set()).update(json.loads(body))
            return 201, None
        if path.endswith("/block"):
            closed = [{"blockedId": account_id, "stateName": "CLOSE_ACCOUNT", "isBlockChange": True, "type": "ACCOUNT"}]
            return 200, closed if account_id in state.closed else []
        return 404, "<!doctype html><title>HTTP Status 404 – Not Found</title>"

    def _create(self, document: dict[str, Any]) -> tuple[Any, ...]:
        key = document["externalKey"]
        unknown = set(document) - set(FIELDS)
        if unknown:
            return 400, _error(None, f'Unrecognized field "{min(unknown)}"')
        if key in self.state.accounts:
            return 409, _error(3000, f"Account already exists for key {key}")
        account_id = self.state.put(key, created_by=self.headers["X-Killbill-CreatedBy"], **_without(document))
        return 201, None, {"Location": f"{self.state.url}/1.0/kb/accounts/{account_id}"}

    def _send(self, status: int, document: Any = None, headers: dict[str, str] | None = None) -> None:
        body = (
            b""
            if document is None
            else document.encode()
            if isinstance(document, str)
            else json.dumps(document).encode()
        )
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _without(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "externalKey"}


def _shown(account: dict[str, Any], *, audit: bool) -> dict[str, Any]:
    made = {"changeType": "INSERT", "objectType": "ACCOUNT", "changedBy": account["createdBy"], "comments": None}
    shown = {name: value for name, value in account.items() if name != "createdBy"}
    return {**shown, "auditLogs": [made] if audit else []}


def _page(documents: list[Any], query: dict[str, list[str]], *, more: int) -> tuple[int, list[Any], dict[str, str]]:
    offset, limit = int(query["offset"][0]), int(query["limit"][0])
    headers = {
        "X-Killbill-Pagination-CurrentOffset": str(offset),
        "X-Killbill-Pagination-TotalNbRecords": str(len(documents) + more),
    }
    if offset + limit < len(documents):
        headers["X-Killbill-Pagination-NextOffset"] = str(offset + limit)
    return 200, documents[offset : offset + limit], headers


def _error(code: int | None, message: str) -> dict[str, Any]:
    return {"className": "java.lang.RuntimeException", "code": code, "message": message, "stackTrace": []}
